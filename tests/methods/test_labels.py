"""New labels of forgotten examples: never the own, never one of a forgotten class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import tiny_data
from references import linear_model

from unlearn import make_problem
from unlearn.methods import boundary_shrink, delete, random_labels
from unlearn.methods.labels import bar, wrong_labels

KEY = jax.random.key(3)


def relabelled(problem, labels, classes, forget_classes):
    problem = problem.replace(
        labels=jnp.array(labels, jnp.int32),
        forget=jnp.arange(len(labels)),
        forget_classes=jnp.array(forget_classes, jnp.int32),
        num_classes=classes,
    )
    return np.asarray(wrong_labels(KEY, problem))


def test_wrong_labels_are_neither_own_nor_forgotten_and_uniform(problem):
    labels = np.repeat(np.arange(5), 3000)
    for forgotten in ([], [1], [0, 3]):
        wrong = relabelled(problem, labels, 5, forgotten)
        for c in range(5):
            allowed = sorted(set(range(5)) - {c} - set(forgotten))
            counts = np.bincount(wrong[labels == c], minlength=5)
            assert counts.sum() == counts[allowed].sum()
            np.testing.assert_allclose(
                counts[allowed] / 3000, 1 / len(allowed), atol=0.04
            )


def test_bar_keeps_the_ratios_of_what_stays(problem):
    """Against a softmax over the classes that stay alone."""
    logits = np.random.default_rng(0).normal(size=(4, 5))
    labels = jnp.array([0, 1, 4, 2])
    barred = bar(logits, labels, problem.replace(forget_classes=jnp.array([0, 3])))
    for row, own, found in zip(logits, labels, jax.nn.softmax(barred), strict=True):
        stay = [c for c in range(5) if c not in (0, 3, int(own))]
        expected = np.zeros(5)
        expected[stay] = np.exp(row[stay]) / np.exp(row[stay]).sum()
        np.testing.assert_allclose(found, expected, 1e-5)


def two_classes_forgotten(**options):
    """Classes 1 and 2 of four are forgotten; a linear net that tells all four apart."""
    images, labels = tiny_data(60, classes=4, balanced=True)
    problem = make_problem(
        images,
        labels,
        np.isin(labels, (1, 2)),
        linear_model(4),
        num_classes=4,
        **options,
    )
    kernel = 3 * np.repeat(np.eye(4), 4, axis=0).astype(np.float32)
    head = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(4)}
    return problem, {"params": {"head": head}}


@pytest.mark.parametrize("classes", [(), (1, 2)])
@pytest.mark.slow
def test_boundary_shrink_shrinks_to_no_forgotten_class(classes):
    problem, variables = two_classes_forgotten(forget_classes=classes)
    fn, seen = case("boundary_shrink", problem, epochs=1, bound=0.3)
    labels = fn(KEY, variables, seen)[1]["labels"]
    assert bool(np.isin(labels, (1, 2)).any()) == (not classes)


@pytest.mark.parametrize("method", [delete, boundary_shrink])
@pytest.mark.parametrize("classes", [(), (1, 2)])
@pytest.mark.slow
def test_a_forgotten_class_is_not_learnt_for_another(method, classes):
    """Of two classes forgotten at once neither takes the examples of the other."""
    problem, variables = two_classes_forgotten(forget_classes=classes)
    fn, seen = case(method.__name__, problem, epochs=60, learning_rate=0.1)
    after, _ = fn(KEY, variables, seen)
    inputs = problem.inputs(problem.forget)
    q = jax.nn.softmax(problem.model.apply(after, inputs)[0])
    left = float(q[:, 1:3].sum(-1).mean())
    assert (left < 0.1) if classes else (left > 0.15)


@pytest.mark.parametrize("name", ["random_labels", "salun", "amnesiac_relabel"])
@pytest.mark.slow
def test_relabelling_draws_no_forgotten_class(name):
    """Trained on its forget set alone, the net learns but the labels it is given."""
    problem, variables = two_classes_forgotten(forget_classes=(1, 2))
    few = problem.replace(retain=problem.retain[:1])
    fn, seen = case(name, few, epochs=80, learning_rate=0.2)
    after, _ = fn(KEY, variables, seen)
    q = jax.nn.softmax(problem.model.apply(after, few.inputs(few.forget))[0])
    assert q[:, 1:3].max() < 0.1


@pytest.mark.slow
def test_without_classes_named_every_wrong_label_is_drawn(problem, variables):
    """Random forgetting bars the own label alone."""
    assert len(problem.forget_classes) == 0
    many = problem.replace(forget=jnp.repeat(problem.forget[:1], 200))
    own = int(problem.labels[problem.forget[0]])
    assert set(np.unique(wrong_labels(KEY, many))) == {0, 1, 2} - {own}
    assert random_labels(KEY, variables, problem, epochs=1)[1]["loss"].ndim == 2
