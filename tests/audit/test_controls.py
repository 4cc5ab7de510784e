"""Controls do what they say."""

import jax
import numpy as np
import pytest
from small_audits import prepared, trained

from unlearn import surgery
from unlearn.audit import controls, shadow_models, studies


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def shadow(run):
    return studies.shadow_study(run)


@pytest.mark.slow
def test_controls_do_what_they_say(shadow):
    names = ("original", "retrain", *controls.CONTROLS)
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
        for name in ("original", "head_distill")
    }
    assert distance["head_distill"] < distance["original"]


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
