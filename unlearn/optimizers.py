"""Optimisers as the field's constants mean them, and learning rates by step."""

import jax
import optax

from unlearn.errors import InputError

Rate = float | jax.Array | optax.Schedule


def sgd(
    learning_rate: Rate, *, momentum: float = 0.9, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Makes SGD as the field's constants mean it: L2 on all parameters, then momentum.

    As in PyTorch, `weight_decay * params` is added to the gradient before momentum, so
    that weights shrink by learning_rate * weight_decay / (1 - momentum) a step, and
    biases and normalisations shrink too. `learning_rate` is a number or a schedule;
    all floats may be traced.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def adam(
    learning_rate: Rate, *, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Makes Adam with L2: `weight_decay * params` is part of the gradient it scales.

    Kingma & Ba, https://arxiv.org/abs/1412.6980; decoupled decay is `optax.adamw`.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_adam(),
        optax.scale_by_learning_rate(learning_rate),
    )


OPTIMIZERS = {"sgd": sgd, "adam": adam}


SCHEDULES = ("constant", "cosine", "step")


def schedule(
    kind: str, learning_rate: float, steps: int, warmup: int = 0
) -> optax.Schedule:
    """Makes a learning rate by step: linear warm-up to the peak, then by `kind`.

    `constant`; `cosine` to 0 at `steps`; `step`: a tenth after 1/2 and again after 3/4
    of the steps (182 epochs with milestones 91 and 136 in the literature).
    """
    if kind == "cosine":
        after = optax.cosine_decay_schedule(learning_rate, max(1, steps - warmup))
    elif kind == "step":
        milestones = {steps // 2 - warmup: 0.1, 3 * steps // 4 - warmup: 0.1}
        after = optax.piecewise_constant_schedule(learning_rate, milestones)
    elif kind == "constant":
        after = optax.constant_schedule(learning_rate)
    else:
        raise InputError(f"unknown schedule {kind!r}: {', '.join(SCHEDULES)}")
    if not warmup:
        return after

    def rise(step):
        return learning_rate * (step + 1) / warmup

    return optax.join_schedules([rise, after], [warmup])


def by_epoch(rate: optax.Schedule, steps: int) -> optax.Schedule:
    """Holds a learning rate for `steps` steps, an epoch: set once at its beginning."""
    return lambda step: rate(step // steps * steps)
