"""What several methods share: a class is forgotten, statistics and labels are left."""

import jax
import numpy as np
import pytest
from cases import case
from conftest import NormNet, tiny_problem, trained
from references import accuracies, logits_of
from trees import assert_equal, distance

from unlearn.errors import InputError
from unlearn.models import from_linen

KEY = jax.random.key(3)


@pytest.mark.parametrize("name", ["boundary_shrink", "boundary_expand", "kl_uniform"])
@pytest.mark.slow
def test_a_class_is_forgotten_without_the_retain_set(name, class_problem, variables):
    fn, seen = case(name, class_problem, learning_rate=0.1, epochs=10)
    after, _ = fn(KEY, variables, seen)

    def accuracy(indices):
        logits, _ = class_problem.model.apply(after, class_problem.inputs(indices))
        return np.mean(np.argmax(logits, -1) == class_problem.labels[indices])

    assert accuracy(class_problem.forget) < 0.1
    assert accuracy(class_problem.retain) > 0.7


OF_THE_FORGET_SET = (
    *("boundary_shrink", "boundary_expand", "delete", "gradient_ascent", "kl_uniform"),
)


@pytest.mark.parametrize("name", [*OF_THE_FORGET_SET, "lipschitz"])
@pytest.mark.slow
def test_one_forgotten_example_leaves_the_batch_statistics(name, norm_variables):
    problem = tiny_problem(from_linen(NormNet()), forget=1)
    fn, seen = case(name, problem, learning_rate=0.1)
    after, _ = fn(KEY, norm_variables, seen)
    assert_equal(after["batch_stats"], norm_variables["batch_stats"])
    assert distance(after["params"], norm_variables["params"]) > 1e-4


@pytest.mark.parametrize("name", OF_THE_FORGET_SET)
@pytest.mark.slow
def test_batch_statistics_follow_the_forget_set_if_asked(
    name, norm_problem, norm_variables
):
    """The running mean nears that of the forget set, which is one full batch here."""
    sizes = dict(batch_size=40, epochs=3, learning_rate=0.0)
    fn, seen = case(name, norm_problem, statistics="batch", **sizes)
    after, _ = fn(KEY, norm_variables, seen)
    first = norm_variables["params"]["Dense_0"]
    x = np.asarray(norm_problem.inputs(norm_problem.forget))
    mean = (x.reshape(len(x), -1) @ first["kernel"] + first["bias"]).mean(0)
    old, new = (
        v["batch_stats"]["BatchNorm_0"]["mean"] for v in (norm_variables, after)
    )
    np.testing.assert_allclose(new, 0.9**3 * old + (1 - 0.9**3) * mean, 1e-4, 1e-5)


@pytest.mark.parametrize("name", [*OF_THE_FORGET_SET, "neggrad_plus"])
def test_unknown_statistics_are_refused(name, problem, variables):
    with pytest.raises(InputError, match="unknown statistics 'eval': .* frozen, batch"):
        case(name, problem, statistics="eval")[0](KEY, variables, problem)


@pytest.mark.slow
def test_lfssd_and_bad_teacher_read_no_labels(problem, variables):
    for name in ("lfssd", "bad_teacher"):
        fn, seen = case(name, problem)
        other = seen.replace(labels=(seen.labels + 1) % 3)
        assert_equal(fn(KEY, variables, seen)[0], fn(KEY, variables, other)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, settings",
    [
        ("amnesiac_relabel", dict(learning_rate=0.02, epochs=20)),
        ("delete", dict(learning_rate=0.1, epochs=20)),
        ("duck", dict(learning_rate=0.02, epochs=10, forget_batch_size=16)),
        ("sfron", dict(learning_rate=0.05, epochs=10)),
    ],
)
def test_a_class_is_forgotten(name, settings, class_problem, variables):
    def accuracy(variables):
        logits = logits_of(class_problem, variables["params"], class_problem.forget)
        return np.mean(np.argmax(logits, -1) == 1)

    fn, seen = case(name, class_problem, **settings)
    after, _ = fn(KEY, variables, seen)
    assert accuracy(variables) > 0.7
    assert accuracy(after) < 0.4


TINY_GKT = dict(rounds=30, batch_size=16, latent=8, width=16)


@pytest.fixture(scope="module")
def well_trained(class_problem):
    return trained(class_problem, epochs=20)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, constants",
    [
        ("emmn", dict(images=32, epochs=2, repair_epochs=20, repair_rate=1e-2)),
        (
            "gkt",
            dict(
                TINY_GKT,
                fresh_layers=1,
                student_steps=10,
                threshold=0.05,
                learning_rate=1e-2,
            ),
        ),
    ],
)
def test_the_class_is_forgotten_and_the_others_are_not(
    name, constants, class_problem, well_trained
):
    fn, seen = case(name, class_problem, **constants)
    after, _ = fn(jax.random.key(0), well_trained, seen)
    retained, forgotten = accuracies(class_problem, well_trained)
    assert retained > 0.8 and forgotten > 0.8
    retained, forgotten = accuracies(class_problem, after)
    assert forgotten < 0.15 and retained > 0.7
