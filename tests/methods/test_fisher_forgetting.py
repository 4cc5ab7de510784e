"""Fisher forgetting against its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from dense import expected_fisher, unflattened
from trees import assert_close, assert_equal

from unlearn import curvature


@pytest.mark.slow
def test_fisher_forgetting_draws_from_the_formula(class_problem, variables):
    """Mean and deviation of every weight over many keys."""
    alpha, retain = 1e-5, np.asarray(class_problem.retain)
    diagonal = expected_fisher(class_problem, variables, retain)
    trees = variables["params"], unflattened(diagonal, variables["params"])
    exact = curvature.expected_fisher_diagonal(variables, class_problem, retain)
    assert_close(exact, trees[1], 1e-3, 1e-8)
    fn, seen = case("fisher_forgetting", class_problem, alpha=alpha)
    keys = jax.random.split(jax.random.key(0), 3000)
    after = jax.jit(jax.vmap(lambda key: fn(key, variables, seen)[0]["params"]))(keys)
    for layer in ("trunk", "head"):
        for name in ("kernel", "bias"):
            mean, f = (np.asarray(tree[layer][name]) for tree in trees)
            variance = alpha * np.minimum(
                1 / (f + 1e-8), 100 if layer == "head" else 1e3
            )
            if name == "kernel":
                variance = np.repeat(variance.mean(0, keepdims=True), len(f), 0)
            if layer == "head":
                mean = mean * np.array([1, 0, 1])
                variance[..., 1] = 1e-4
            if layer == "head" or name == "bias":
                variance = variance * 10
            draws, deviation = np.asarray(after[layer][name]), np.sqrt(variance)
            np.testing.assert_allclose(draws.std(0), deviation, rtol=0.08)
            assert np.all(np.abs(draws.mean(0) - mean) < 5 * deviation / 3000**0.5)


@pytest.mark.slow
def test_fisher_forgetting_treats_head_rows_of_forgotten_classes_only(
    class_problem, variables
):
    fn, seen = case("fisher_forgetting", class_problem)
    nothing, empty = None, jnp.zeros(0, jnp.int32)
    by_class, without, none = (
        fn(jax.random.key(3), variables, seen.replace(forget_classes=classes))[0]
        for classes in (jnp.array([1]), nothing, empty)
    )
    assert_equal(without, none)
    assert_equal(by_class["params"]["trunk"], without["params"]["trunk"])
    for name in ("kernel", "bias"):
        one, other = (np.asarray(v["params"]["head"][name]) for v in (by_class, none))
        np.testing.assert_array_equal(one[..., [0, 2]], other[..., [0, 2]])
        assert np.all(one[..., 1] != other[..., 1])
    before = np.asarray(variables["params"]["head"]["kernel"])[:, 1]
    kept, erased = (v["params"]["head"]["kernel"][:, 1] for v in (none, by_class))
    assert np.linalg.norm(kept - before) < 0.3 * np.linalg.norm(before)
    assert np.linalg.norm(erased) < 0.3 * np.linalg.norm(before)


def test_fisher_forgetting_erases_no_class_in_random_forgetting(problem, variables):
    """Published code erased the last class when none was named."""
    fn, seen = case("fisher_forgetting", problem, alpha=1e-9)
    assert not len(seen.forget_classes)
    after, _ = fn(jax.random.key(3), variables, seen)
    old, new = (np.asarray(v["params"]["head"]["kernel"]) for v in (variables, after))
    assert np.abs(old).max(0).min() > 0.1
    np.testing.assert_allclose(new, old, atol=1e-2)
