"""The row of a private training: nothing is done to it, and its epsilon is attacked.

It is added to a finished audit in `test_run.py`.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from small_audits import PRIVATE, alone, audit_config, prepared

from unlearn import audit
from unlearn.audit import frontier, shadow_models, studies
from unlearn.errors import InputError
from unlearn.privacy import dp_sgd
from unlearn.report.frontier_page import Interval, Point


@pytest.mark.slow
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
