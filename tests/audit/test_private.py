"""The row of a private training: nothing is done to it, and its epsilon is attacked."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from small_audits import alone, audit_config, prepared

from unlearn import audit
from unlearn.audit import frontier, shadow_models, studies
from unlearn.audit.controls import CONTROLS
from unlearn.errors import InputError
from unlearn.privacy import dp_sgd
from unlearn.report import schema
from unlearn.report.frontier_page import Interval, Point

PRIVATE = dict(epsilon=8.0, steps=4, batch_size=32, microbatch=16, learning_rate=0.1)


@pytest.fixture
def accounted(monkeypatch):
    """In place of jax-privacy: as much noise as there are examples, over 100."""
    asked = []

    def noise_for(budget, examples, recipe):
        asked.append((budget, examples, recipe))
        return examples / 100

    monkeypatch.setattr(dp_sgd, "noise_for", noise_for)
    monkeypatch.setattr(dp_sgd, "require", lambda: None)
    return asked


def test_each_model_is_a_private_training_with_everyone(tmp_path, accounted):
    run = prepared(tmp_path, private=PRIVATE)
    study = studies.fixed_study("private", run, np.arange(10), 12)
    found = shadow_models.measured(study, "dp_sgd").margins[3]
    recipe = dp_sgd.Recipe(4, 32, 0.1, momentum=0.9, clip=0.5, microbatch=16)
    everyone = np.concatenate([study.forget[3], study.retain[3]])
    assert set(accounted) == {(dp_sgd.Budget(8.0, 1e-5), len(everyone), recipe)}
    key = shadow_models._keys(study, "dp_sgd")[3]
    noise = len(everyone) / 100
    rows = jnp.asarray(everyone)
    variables, _ = dp_sgd.train(key, run.problem, rows, recipe, noise)
    expected = alone(study, variables, run.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_it_is_added_to_a_finished_audit(tmp_path, accounted):
    """As one more control, its epsilon beside what attacks show of it."""
    before = audit.run(audit_config(), tmp_path / "x").facts
    facts = audit.run(audit_config(private=PRIVATE), tmp_path / "x").facts
    schema.check(json.loads((tmp_path / "x" / "report.json").read_text()))
    names = [model["name"] for model in facts["models"]]
    known = ["original", "retrain", *CONTROLS, "dp_sgd"]
    assert names == [*known, "finetune", "gradient_ascent"]
    rows = {model["name"]: model for model in facts["models"]}
    assert rows["dp_sgd"]["kind"] == "control" and rows["dp_sgd"]["stress"]
    for model in before["models"]:
        assert rows[model["name"]]["leak"] == model["leak"]
    (epsilon,) = [table for table in facts["tables"] if table["id"] == "epsilon"]
    cells = {row["model"]: row["cells"] for row in epsilon["rows"]}
    assert cells["dp_sgd"]["certified"]["value"] == 8.0
    assert "certified" not in cells["finetune"]
    with pytest.raises(InputError, match=r"audit.private.epsilon: 8.0 there, 3.0 now"):
        audit.run(audit_config(private=PRIVATE | {"epsilon": 3.0}), tmp_path / "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epsilon=-1.0), "audit.private: epsilon must be above 0"),
        (dict(epsilon=np.inf), "audit.private: epsilon must be above 0 and finite"),
        (dict(delta=0.9), "audit.private: .* delta between 0 and"),
        (dict(clip=-1.0), "audit.private: clip must be above 0"),
        (dict(batch_size=0), "audit.private: batch_size must be from"),
        (dict(learning_rate=0.0), "audit.private.learning_rate must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, accounted, changes, message):
    with pytest.raises(InputError, match=message):
        audit.run(audit_config(private=PRIVATE | changes), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_promised_of_a_class(tmp_path, accounted):
    config = audit_config(private=PRIVATE)
    config.forget.update(kind="class", classes=(1,), count=0)
    with pytest.raises(InputError, match="promises nothing of a whole class: leave"):
        audit.run(config, tmp_path / "x")


def test_it_is_no_rival_on_the_frontier():
    def point(name, kind, cost, leak, lost):
        around = [Interval(x, x - 0.01, x + 0.01) for x in (leak, lost)]
        return Point(name, kind, cost, cost, {"single": around[0]}, around[1], 0.9)

    method = point("method", "method", 0.1, 0.6, -0.02)
    private = point("dp_sgd", "private", 0.0, 0.5, 0.0)
    assert frontier.standing(private, [method, private], "single") == ""
    assert frontier.standing(method, [method, private], "single") == "uncontested"
    beaten = private._replace(name="retrain_short", kind="retraining")
    assert frontier.standing(method, [method, beaten], "single") == "behind"
