"""Masked small gradients (MSG): second in the NeurIPS 2023 challenge.

    s = |grad E_r'[CE(theta_0)] - grad E_f[CE(theta_0)]|        r' from r, as large as f
    the fraction of each convolution with the smallest s starts anew
    minimise  E_r[CE(f(x), y)],   gradients of the other convolution weights times 0.1

Weights that both sets pull the same way, or not at all, tell them apart least and are
given up; the rest of the convolutions learns slowly, everything else at full speed.
Biases, normalisations and the head keep their values; without convolutions all
kernels count as such. Cadet et al., "Deep Unlearn", https://arxiv.org/abs/2410.01276;
the challenge: Triantafillou et al., https://arxiv.org/abs/2406.09073. Constants: 30 %,
5 epochs of SGD 0.001 at batch 64, the rate rising linearly over the first half of the
epochs and falling after. Simplified: gradients in evaluation mode (the released code's
batch statistics drift while it scores); new weights from the model's own initialiser.
"""

import jax
import jax.numpy as jnp
import optax

from unlearn.curvature import mean_gradient
from unlearn.methods.registry import method
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import fresh, largest, select
from unlearn.training import batch_shape, classification, fit


def filters(params: dict) -> dict:
    """Returns booleans: true for convolution kernels, or all kernels if none is one."""
    rank = 4 if any(w.ndim == 4 for w in jax.tree.leaves(params)) else 2
    return jax.tree.map(lambda w: w.ndim >= rank, params)


def small_gradients(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    fraction: float,
    *,
    batch_size: int = 64,
) -> dict:
    """Returns masks: true for the `fraction` of each filter with the smallest score."""
    objective = classification(problem.model, train=False)
    some = jax.random.permutation(key, problem.retain)[: len(problem.forget)]
    of_retain, of_forget = (
        mean_gradient(objective, variables, problem, indices, batch_size)
        for indices in (some, problem.forget)
    )

    def smallest(chosen, retain, forget):
        if not chosen:
            return jnp.zeros(retain.shape, bool)
        return largest(-jnp.abs(retain - forget), fraction)

    return jax.tree.map(smallest, filters(variables["params"]), of_retain, of_forget)


@method(
    needs=("forget", "retain"),
    paper="NeurIPS 2023 challenge, arXiv:2406.09073",
    differs="scores in evaluation mode; the model's own initialiser; dense nets: all "
    "kernels",
    search={"learning_rate": (3e-4, 0.1), "fraction": (0.05, 0.95)},
)
def masked_small_gradients(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-3,
    epochs: int = 5,
    fraction: float = 0.3,
    slow: float = 0.1,
    batch_size: int = 64,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Starts weights anew and fine-tunes, the kept filters by `slow` gradients.

    Returns `info` with `loss`, float32[epochs, steps], and the `renewed` share of all
    parameters.
    """
    key_some, key_fresh, key_fit = jax.random.split(key, 3)
    params = variables["params"]
    anew = small_gradients(
        key_some, variables, problem, fraction, batch_size=batch_size
    )
    start = select(anew, fresh(key_fresh, problem)["params"], params)
    pace = jax.tree.map(
        lambda filter, mask: jnp.where(mask, 1.0, slow) if filter else 1.0,
        filters(params),
        anew,
    )
    steps, _ = batch_shape(len(problem.retain), batch_size)
    peak = (epochs + 1) // 2

    def rate(step):
        number = step // steps + 1
        falling = (epochs + 1 - number) / (epochs + 1 - peak)
        return learning_rate * jnp.minimum(number / peak, falling)

    optimizer = optax.chain(
        optax.stateless(lambda gradient, _: jax.tree.map(jnp.multiply, gradient, pace)),
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
    )
    after, losses = fit(
        key_fit,
        {**variables, "params": start},
        problem,
        problem.retain,
        classification(problem.model),
        optimizer,
        epochs=epochs,
        batch_size=batch_size,
    )
    total = sum(w.size for w in jax.tree.leaves(params))
    renewed = sum(jnp.sum(mask) for mask in jax.tree.leaves(anew)) / total
    return after, {"loss": losses, "renewed": renewed}
