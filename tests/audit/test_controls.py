"""Controls do what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_audits import prepared, trained

from unlearn import surgery
from unlearn.audit import controls, shadow_models, studies
from unlearn.methods.matching import Matching
from unlearn.training import predict_set


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("studies"), matching={"epochs": 20})


@pytest.fixture(scope="module")
def shadow(run):
    return studies.shadow_study(run)


@pytest.mark.slow
def test_controls_do_what_they_say(shadow):
    names = ("original", "retrain", *controls.CONTROLS, controls.MATCHING)
    models = {name: shadow_models.measured(shadow, name) for name in names}
    original = models["original"]
    np.testing.assert_array_equal(models["no_op"].margins, original.margins)
    constant = models["constant_margin"]
    assert constant.margins.max() == controls.MARGIN
    assert len(np.unique(constant.margins)) <= 2
    np.testing.assert_array_equal(constant.predictions, original.predictions)
    right = original.predictions == np.asarray(shadow.labels)
    np.testing.assert_array_equal(constant.margins > 0, right)
    assert len(np.unique(models["collapsed"].margins)) == 1
    distance = {
        name: np.mean((models[name].margins - models["retrain"].margins) ** 2)
        for name in ("original", "head_distill", controls.MATCHING)
    }
    assert distance["head_distill"] < distance["original"]
    assert distance[controls.MATCHING] < distance["original"] / 3


@pytest.mark.slow
def test_head_distill_changes_the_head_only(shadow):
    first, other = (trained(shadow, name, 0) for name in ("original", "retrain"))
    problem = shadow.problem.replace(forget=shadow.forget[0], retain=shadow.retain[0])
    after = controls.head_distill(first, problem, other, iterations=1)
    head = surgery.head(problem, first)
    for path in surgery.weighted_layers(problem, first):
        before, now = (surgery.at(v["params"], path) for v in (first, after))
        same = all(
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True)
        )
        assert same == (path != head)


def check_margins_are_those_of_the_logits(classes):
    """Of right and wrong answers, as the audits would see the control's logits."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (50, classes)).astype(np.float32)
    labels = rng.integers(0, classes, 50)
    wanted = true_margins(controls.control_logits("constant_margin", logits), labels)
    seen = shadow_models.Measured(true_margins(logits, labels), logits.argmax(-1), 0.0)
    found = controls.constant_margin(seen, labels, classes)
    assert 0 < np.sum(found.margins > 0) < 50
    np.testing.assert_allclose(found.margins, wanted, rtol=1e-5)
    if classes == 10:
        assert found.margins.min() == pytest.approx(-7.203, abs=1e-3)


def true_margins(logits, labels):
    own = np.eye(logits.shape[-1], dtype=bool)[labels]
    others = np.where(own, -np.inf, logits)
    return logits[own] - np.logaddexp.reduce(others, axis=-1)


def test_logits_of_controls():
    logits = np.random.default_rng(0).normal(0, 3, (20, 4)).astype(np.float32)
    labels = logits.argmax(-1)
    found = controls.control_logits("constant_margin", logits)
    assert (found.argmax(-1) == labels).all() and found.dtype == np.float32
    others = np.where(np.eye(4, dtype=bool)[labels], -np.inf, found)
    margins = found.max(-1) - np.logaddexp.reduce(others, axis=-1)
    np.testing.assert_allclose(margins, controls.MARGIN, rtol=1e-5)
    for classes in (3, 10):
        check_margins_are_those_of_the_logits(classes)
    assert not controls.control_logits("collapsed", logits).any()
    assert controls.control_logits("no_op", logits) is logits
    with pytest.raises(ValueError, match="head_distill"):
        controls.control_logits("head_distill", logits)


@pytest.mark.slow
def test_matching_takes_the_steps_of_adam_towards_the_teachers_logits(
    problem, variables
):
    """With all retained examples in one batch: the loop written out."""
    teacher = jax.tree.map(lambda x: 0.8 * x + 0.1, variables)
    how = Matching(3, ratio=99, batch_size=99, learning_rate=0.02, decay_rate=0.5)
    found = controls.oracle_matching(
        jax.random.key(0), variables, problem, teacher, how
    )
    seen = jnp.concatenate([problem.forget, problem.retain])
    answers = predict_set(problem, teacher, seen)

    def loss_fn(params):
        logits = predict_set(problem, {**variables, "params": params}, seen)
        return jnp.mean((logits - answers) ** 2)

    params = variables["params"]
    mean = square = jax.tree.map(jnp.zeros_like, params)
    for step, rate in enumerate((0.02, 0.01, 0.005), 1):
        gradient = jax.grad(loss_fn)(params)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g**2, square, gradient)
        whole, part = 1 - 0.9**step, 1 - 0.999**step
        params = jax.tree.map(
            lambda p, m, s: p - rate * m / whole / (jnp.sqrt(s / part) + 1e-8),  # noqa: B023
            params,
            mean,
            square,
        )
    for got, wanted in zip(
        jax.tree.leaves(found["params"]), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-5)


def test_matching_draws_so_many_retained_examples(problem, variables):
    """A batch is no longer than the forget set and twice as many."""
    asked = []
    model = problem.model

    def apply(variables, inputs, **options):
        if options.get("train"):
            asked.append(len(inputs))
        return model.apply(variables, inputs, **options)

    counted = problem.replace(model=model._replace(apply=apply))
    how = Matching(1, ratio=2, batch_size=99)
    controls.oracle_matching(jax.random.key(0), variables, counted, variables, how)
    assert set(asked) == {3 * len(problem.forget)}
