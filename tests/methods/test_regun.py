"""ReGUn against steps by hand: the reference of a batch, of a class, of neither."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from references import cross_entropies, heavy_ball, kl, logits_of, softmax
from trees import assert_close, assert_equal, distance

from unlearn.errors import InputError
from unlearn.methods.regun import class_references, regun
from unlearn.training import epoch_keys, shuffle

KEY = jax.random.key(3)
FULL = dict(batch_size=100, forget_batch_size=100)  # an epoch is one step on all


def held_out_without(problem, label):
    """The same problem, its validation set without a class."""
    held_out = problem.validation
    kept = np.flatnonzero(np.asarray(held_out.labels) != label)
    return problem.replace(
        validation=held_out.replace(
            examples=held_out.examples[kept],
            labels=held_out.labels[kept],
            retain=jnp.arange(len(kept)),
        )
    )


def references(problem, params, barred=()):
    """One class after another, in NumPy."""
    held_out = problem.validation
    logits = logits_of(held_out, params, jnp.arange(len(held_out.labels)))
    answers = np.asarray(logits, np.float64).copy()
    answers[:, list(barred)] = -np.inf
    answers, labels = softmax(answers), np.asarray(held_out.labels)
    chosen = [labels == c if (labels == c).any() else labels >= 0 for c in range(3)]
    return np.stack([answers[rows].mean(0) for rows in chosen])


def wanted_by(kind, problem, params):
    own = references(problem, params)[np.asarray(problem.labels)[problem.forget]]
    if kind == "class":
        return own
    return np.broadcast_to(own.mean(0), own.shape)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "missing"), [("batch", None), ("class", 0)])
def test_three_steps_by_hand(problem, variables, kind, missing):
    """Direction and scale of the KL, the weights, and what stays what it was at first.

    The control: the other kind of reference is another loss.
    """
    problem = problem if missing is None else held_out_without(problem, missing)
    rate, alpha, params = 0.1, 0.3, variables["params"]
    kinds = {kind: wanted_by(kind, problem, params) for kind in ("batch", "class")}

    def loss(params, kind=kind):
        p = jax.nn.softmax(logits_of(problem, params, problem.forget))
        repaired = cross_entropies(problem, params, problem.retain).mean()
        return (1 - alpha) * kl(kinds[kind], p).mean() + alpha * repaired

    gradient = jax.grad(loss)
    fn, seen = case(
        "regun",
        problem,
        learning_rate=rate,
        epochs=3,
        alpha=alpha,
        reference=kind,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    steps = [heavy_ball(params, [gradient] * n, rate) for n in range(4)]
    expected = [loss(p) for p in steps[:3]]
    np.testing.assert_allclose(info["loss"][:, 0], expected, 1e-5)
    assert_close(after["params"], steps[3], 1e-5, 1e-5)
    others = [loss(params, kind) for kind in kinds]
    assert abs(others[0] - others[1]) > 1e-2
    labels = np.asarray(problem.labels)[problem.forget]
    assert info["without_reference"] == np.sum(labels == missing)


@pytest.mark.slow
def test_a_batch_of_one_has_the_reference_of_its_class(problem, variables):
    def after(kind):
        options = dict(learning_rate=0.05, reference=kind, forget_batch_size=1)
        fn, seen = case("regun", problem, **options)
        return fn(KEY, variables, seen)[0]

    assert_close(after("batch"), after("class"))


@pytest.mark.slow
def test_the_filling_of_a_ragged_batch_counts_for_nothing(problem, variables):
    """Neither in the loss nor in the reference: 7 examples in batches of 4."""
    params = variables["params"]
    options = dict(learning_rate=0.0, alpha=0.0, epochs=1, forget_batch_size=4)
    fn, seen = case("regun", problem, **options)
    _, info = fn(KEY, variables, seen)
    rows = shuffle(jax.random.split(epoch_keys(KEY, 1)[0], 3)[0], problem.forget, 4)
    expected, with_filling = [], []
    for size, indices in zip((4, 3), rows.indices, strict=True):
        own = references(problem, params)[np.asarray(problem.labels)[indices]]
        q = softmax(np.asarray(logits_of(problem, params, indices)))[:size]
        expected.append(kl(own[:size].mean(0), q).sum() / 4)
        with_filling.append(kl(own.mean(0), q).sum() / 4)
    np.testing.assert_allclose(info["loss"][0], expected, 1e-4)
    assert abs(with_filling[1] - expected[1]) > 1e-3


def test_references_are_mean_answers(problem, variables):
    found, counts = class_references(problem, variables)
    np.testing.assert_allclose(found, references(problem, variables["params"]), 1e-5)
    np.testing.assert_array_equal(counts, np.bincount(problem.validation.labels))
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    assert (found.argmax(-1) == np.arange(3)).all()


@pytest.mark.slow
def test_forgotten_classes_are_in_no_reference(class_problem, variables):
    found, _ = class_references(class_problem, variables)
    expected = references(class_problem, variables["params"], barred=[1])
    np.testing.assert_allclose(found, expected, 1e-5)
    assert (found[:, 1] == 0).all()
    fn, seen = case("regun", class_problem, learning_rate=0.1, epochs=10)
    after, info = fn(KEY, variables, seen)
    before, now = (
        softmax(np.asarray(logits_of(seen, v["params"], seen.forget)))[:, 1].mean()
        for v in (variables, after)
    )
    assert np.isfinite(info["loss"]).all()
    assert now < 0.3 < before


@pytest.mark.slow
def test_f_comes_nearer_to_the_reference_and_r_stays(problem, variables):
    """And alpha weighs the two."""

    wanted = wanted_by("batch", problem, variables["params"])
    fn, seen = case("regun", problem, learning_rate=0.05, epochs=20, **FULL)

    def distances(params):
        p = jax.nn.softmax(logits_of(problem, params, problem.forget))
        repaired = cross_entropies(problem, params, problem.retain).mean()
        return float(kl(wanted, p).mean()), float(repaired)

    start, _ = distances(variables["params"])
    (much, harm), (little, care) = (
        distances(fn(KEY, variables, seen, alpha=alpha)[0]["params"])
        for alpha in (0.1, 0.9)
    )
    assert much < start / 2 and much < little / 2
    assert care < harm / 2


@pytest.mark.slow
def test_batch_statistics_are_of_the_forget_then_of_the_retain_batch(
    norm_problem, norm_variables
):
    options = dict(learning_rate=0.0, epochs=1, **FULL)
    fn, seen = case("regun", norm_problem, **options)
    expected = norm_variables
    for indices in (norm_problem.forget, norm_problem.retain):
        inputs = norm_problem.inputs(indices)
        _, expected = norm_problem.model.apply(expected, inputs, train=True)
    assert_close(fn(KEY, norm_variables, seen)[0], expected, 1e-5, 1e-6)
    assert distance(expected["batch_stats"], norm_variables["batch_stats"]) > 1e-2
    fn, seen = case("regun", norm_problem, **options, statistics="frozen")
    assert_equal(fn(KEY, norm_variables, seen)[0], norm_variables)


def test_what_is_refused(problem, variables):
    with pytest.raises(InputError, match="needs a validation set, whose answers"):
        regun(KEY, variables, problem.replace(validation=None))
    with pytest.raises(InputError, match="unknown reference 'mean': choose from batch"):
        regun(KEY, variables, problem, reference="mean")
