"""What is particular to the class swap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import trained
from trees import assert_close, assert_equal, flat

from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.methods.class_swap import carriers, likeliest


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem)


@pytest.fixture(scope="module")
def norm_variables(norm_class_problem):
    return trained(norm_class_problem)


found = jax.jit(carriers, static_argnames="examples")


def per_example_fisher(problem, variables, indices):
    def loss(params, i):
        logits = problem.model.apply({"params": params}, problem.inputs(i[None]))[0]
        return -jax.nn.log_softmax(logits)[0, problem.labels[i]]

    gradients = jax.vmap(jax.grad(loss), (None, 0))(variables["params"], indices)
    return flat(jax.tree.map(lambda g: jnp.mean(g**2, 0), gradients))


@pytest.mark.slow
def test_swap_finds_what_matters_to_the_class_alone(class_problem, variables):
    of_forget, of_retain = (
        per_example_fisher(class_problem, variables, indices)
        for indices in (class_problem.forget, class_problem.retain)
    )
    score = of_forget / (of_retain + 0.01 * of_retain.mean())
    mask = flat(found(jax.random.key(0), variables, class_problem, 0.25))
    assert mask.sum() == round(0.25 * score.size)
    assert score[mask].min() >= score[~mask].max() * (1 - 1e-4)
    assert flat(found(jax.random.key(0), variables, class_problem, 1.0)).all()


@pytest.mark.slow
def test_swap_keeps_the_bits_of_all_other_weights(norm_class_problem, norm_variables):
    """Momentum and penalty included, and the batch statistics; the found ones move."""
    settings = dict(fraction=0.3, penalty=0.1, epochs=3)
    fn, seen = case("class_swap", norm_class_problem, fisher_examples=42, **settings)
    after, info = fn(jax.random.key(0), norm_variables, seen)
    assert_equal(after["batch_stats"], norm_variables["batch_stats"])
    mask = flat(found(jax.random.key(7), norm_variables, seen, 0.3))
    old, new = flat(norm_variables["params"]), flat(after["params"])
    np.testing.assert_array_equal(new[~mask], old[~mask])
    assert np.mean(new[mask] != old[mask]) > 0.9
    np.testing.assert_allclose(info["trained"], mask.mean(), rtol=1e-6)


@pytest.mark.slow
def test_swap_is_a_step_down_the_penalised_loss_of_the_swapped_labels(
    class_problem, variables
):
    rate, penalty = 0.1, 0.3
    fn, seen = case(
        "class_swap",
        class_problem,
        target=2,
        learning_rate=rate,
        penalty=penalty,
        fraction=0.5,
        epochs=1,
        batch_size=42,
        fisher_examples=42,
    )
    after, info = fn(jax.random.key(0), variables, seen)
    labels = jnp.where(class_problem.labels == 1, 2, class_problem.labels)

    def loss(params):
        inputs = class_problem.inputs(jnp.arange(42))
        logits = class_problem.model.apply({"params": params}, inputs)[0]
        return -jax.nn.log_softmax(logits)[jnp.arange(42), labels].mean()

    mask = found(jax.random.key(7), variables, seen, 0.5)
    gradient = jax.grad(loss)(variables["params"])
    expected = jax.tree.map(
        lambda m, p, g: jnp.where(m, p - rate * (g + penalty * p), p),
        mask,
        variables["params"],
        gradient,
    )
    assert_close(after["params"], expected)
    assert info["target"] == 2


@pytest.mark.slow
def test_swap_puts_the_target_in_place_of_the_class(class_problem, variables):
    constants = dict(fraction=0.5, epochs=30, fisher_examples=42)
    for target in (0, 2):
        fn, seen = case("class_swap", class_problem, target=target, **constants)
        after, _ = fn(jax.random.key(0), variables, seen)
        inputs = class_problem.inputs(jnp.arange(42))
        taken = np.argmax(class_problem.model.apply(after, inputs)[0], -1)
        labels = np.asarray(class_problem.labels)
        assert np.mean(taken[labels == 1] == target) > 0.9
        assert np.mean((taken == labels)[labels != 1]) > 0.9


def test_swap_takes_the_likeliest_class_by_default(class_problem, variables):
    inputs = class_problem.inputs(class_problem.forget)
    logits = np.asarray(class_problem.model.apply(variables, inputs)[0])
    share = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).mean(0)
    assert likeliest(variables, class_problem) == max(0, 2, key=lambda c: share[c])
    with pytest.raises(InputError, match="0..2"):
        case("class_swap", class_problem, target=3)[0](
            jax.random.key(0), variables, class_problem
        )


def test_swap_does_not_put_the_class_in_its_own_place(class_problem, variables):
    with pytest.raises(InputError, match="target is 1, a class to be forgotten"):
        METHODS["class_swap"].fn(
            jax.random.key(0), variables, class_problem, target=1, epochs=1
        )
