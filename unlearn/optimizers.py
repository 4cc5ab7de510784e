"""Optimisers as the field's constants mean them, and learning rates by step."""

import jax
import jax.numpy as jnp
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


REST = 1 / 12  # of the learning rate of `muon`, for what is no filter


def muon(
    learning_rate: Rate, *, momentum: float = 0.6, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Makes Muon on the filters of convolutions, and Adam on everything else.

    Jordan et al., 2024, https://kellerjordan.github.io/posts/muon, as it trains
    CIFAR-10 (cifar10-airbench): a filter bank [H, W, C, K] is a matrix [HWC, K] that is
    scaled to the norm sqrt(K) and then moved by `learning_rate` times the orthogonal
    factor of its Nesterov momentum. That suits convolutions before a normalisation,
    whose scale is without effect. Everything else gets Adam at a twelfth of the rate
    (.02 at .24), and `weight_decay` as decoupled decay of that rate.
    """

    def kinds(params):
        return jax.tree.map(
            lambda leaf: "filters" if leaf.ndim == 4 else "rest", params
        )

    def of_rest(step):
        rate = learning_rate(step) if callable(learning_rate) else learning_rate
        return rate * REST

    filters = optax.chain(
        optax.trace(momentum, nesterov=True),
        _orthogonalized(),
        optax.scale_by_learning_rate(learning_rate),
        _at_norm(),
    )
    rest = optax.adamw(of_rest, b1=0.85, b2=0.99, weight_decay=weight_decay)
    return optax.partition({"filters": filters, "rest": rest}, kinds)


def _orthogonalized() -> optax.GradientTransformation:
    return optax.stateless(lambda updates, _: jax.tree.map(orthogonal_factor, updates))


def _at_norm() -> optax.GradientTransformation:
    """Adds to a step what takes a filter bank [H, W, C, K] to the norm sqrt(K)."""

    def one(update, params):
        norm = jnp.sqrt(jnp.sum(jnp.square(params)) + 1e-12)
        return update + (jnp.sqrt(params.shape[-1]) / norm - 1) * params

    return optax.stateless_with_tree_map(one)


def orthogonal_factor(filters: jax.Array, steps: int = 3) -> jax.Array:
    """Returns nearly U V^T of a filter bank U S V^T, seen as a matrix [HWC, K].

    Newton-Schulz steps by the quintic of Muon, in bfloat16: singular values end between
    about 0.5 and 1.5 where they are not tiny at first, which does as well as 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = filters.reshape(-1, filters.shape[-1])
    x = (x / (jnp.linalg.norm(x) + 1e-7)).astype(jnp.bfloat16)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.T if tall else x
    return x.astype(filters.dtype).reshape(filters.shape)


TRAINERS = {"sgd": sgd, "muon": muon}


SCHEDULES = ("constant", "cosine", "linear", "step")


def schedule(
    kind: str, learning_rate: float, steps: int, warmup: int = 0
) -> optax.Schedule:
    """Makes a learning rate by step: linear warm-up to the peak, then by `kind`.

    `constant`; `cosine` and `linear` to 0 at `steps`; `step`: a tenth after 1/2 and
    again after 3/4 of the steps (182 epochs with milestones 91 and 136 in the
    literature).
    """
    if kind == "cosine":
        after = optax.cosine_decay_schedule(learning_rate, max(1, steps - warmup))
    elif kind == "step":
        milestones = {steps // 2 - warmup: 0.1, 3 * steps // 4 - warmup: 0.1}
        after = optax.piecewise_constant_schedule(learning_rate, milestones)
    elif kind == "linear":
        after = optax.linear_schedule(learning_rate, 0.0, max(1, steps - warmup))
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
