"""NegGrad+: descend the retain loss and climb the forget loss in the same step.

    minimise  alpha (E_r[CE(f(x), y)] + l2 |theta - theta_0|^2 / 2)
              - (1 - alpha) E_f[CE(f(x), y)]

An epoch is a pass over the retain set; forget batches are drawn alongside, pass after
pass. Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023,
https://arxiv.org/abs/2302.09880: alpha 0.95, plain SGD 0.01 without momentum or weight
decay, 10 (5) epochs. Batch statistics are those of the retain batch, then of the forget
batch, as in the released training loop; the released notebooks keep the net in
evaluation mode and pull it to the original: `statistics="frozen"`, l2 5e-4 (large
scale) or 0.1 (small scale). They also repeat one order of forget batches in an epoch.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import classification, epoch, epoch_keys, shuffle, start


@method(
    needs=("forget", "retain"),
    paper="arXiv:2302.09880",
    differs="forget batches follow each other in fresh orders, all full; the "
    "notebooks' variant: statistics=frozen and l2",
    search={"learning_rate": (1e-3, 1.0), "alpha": (0.5, 0.99)},
    ascends=True,
)
def neggrad_plus(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 5,
    alpha: float = 0.95,
    batch_size: int = 256,
    forget_batch_size: int = 256,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    l2: float = 0.0,
    statistics: str = "batch",
) -> tuple[Variables, dict]:
    """Descends and climbs jointly; `info["loss"]` is float32[epochs, steps].

    `statistics`: see `statistics.by_batch`.
    """
    descent = classification(problem.model, train=by_batch(statistics))
    original = variables["params"]
    optimizer = sgd(learning_rate, momentum=momentum, weight_decay=weight_decay)

    def objective(variables, batches, key):
        retain, forget = batches
        key_retain, key_forget = jax.random.split(key)
        moved = jax.tree.map(jnp.subtract, variables["params"], original)
        pull = l2 / 2 * sum(jnp.sum(x**2) for x in jax.tree.leaves(moved))
        retain_loss, variables = descent(variables, retain, key_retain)
        forget_loss, variables = descent(variables, forget, key_forget)
        loss = alpha * (retain_loss + pull) - (1 - alpha) * forget_loss
        return loss, variables

    def one(state, key):
        key_retain, key_forget, key_steps = jax.random.split(key, 3)
        retain = shuffle(key_retain, problem.retain, batch_size)
        steps = len(retain.indices)
        forget = shuffle(key_forget, problem.forget, forget_batch_size, steps)
        return epoch(key_steps, state, problem, (retain, forget), objective, optimizer)

    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, epoch_keys(key, epochs))
    return state.variables, {"loss": losses}
