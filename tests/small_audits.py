"""Audits of seconds: twelve models of a few targets."""

import jax
import numpy as np
from small_runs import Silent, small_config

from unlearn import audit, pipeline
from unlearn.audit import shadow_models

TINY = dict(
    models=12,
    request_models=12,
    stress_models=12,
    trained_models=12,
    chunk=6,
    targets=30,
    kept=6,
    canaries=9,
    examples=40,
)
PRIVATE = dict(epsilon=8.0, steps=4, batch_size=32, microbatch=16, learning_rate=0.1)


def audit_config(**changes):
    config = small_config(run=("finetune", "gradient_ascent"))
    with config.unlocked():
        config.audit = audit.default_audit("test")
    config.forget.count = 24
    config.audit.update(TINY | changes)
    config.audit.harder.update(models=0, count=8, requests=2, fraction=0.05)
    config.audit.layers.update(seeds=1, examples=20)
    config.audit.layers.relearning.update(steps=4, batch_size=8)
    return config


def full_config(**changes):
    """One method, with harder forget sets, and requests one after another."""
    config = audit_config(**changes)
    config.run = ("finetune",)
    config.audit.harder.update(models=12, membership=True)
    return config


def prepared(folder, count=24, **changes):
    """A run that is ready; `count`: how many examples are requested."""
    config = audit_config(**changes)
    config.forget.count = count
    return pipeline.prepare(config, folder, tuple(config.run), progress=Silent())


def trained(study, name, number):
    """The variables of one of the study's models from scratch."""
    models = shadow_models.trained_variables(study, name, number + 1)
    return jax.tree.map(lambda leaf: leaf[[number]][0], models)


def alone(study, variables, problem):
    found = shadow_models.measure(problem, variables, study.examples, study.labels)
    return np.asarray(found["margins"])
