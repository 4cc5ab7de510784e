"""NegGrad+: descend the retain loss and climb the forget loss in the same step.

    minimise  alpha E_r[CE(f(x), y)] - (1 - alpha) E_f[CE(f(x), y)]

An epoch is a pass over the retain set; forget batches are drawn alongside, pass after
pass. Kurmanji et al., "Towards Unbounded Machine Unlearning", NeurIPS 2023,
https://arxiv.org/abs/2302.09880: alpha 0.95, SGD 0.01, 10 (5) epochs. Simplified:
there is momentum, batch statistics are trained on the retain batches alone, and there
is no L2 pull to the original.
"""

import jax

from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import classification, epoch, epoch_keys, sgd, shuffle, start


@method(
    needs=("forget", "retain"),
    paper="arXiv:2302.09880",
    differs="momentum; retain batches give the statistics; no L2 to the original",
    search={"learning_rate": (1e-3, 0.2), "alpha": (0.5, 0.99)},
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
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Descends and climbs jointly; `info["loss"]` is float32[epochs, steps]."""
    descent = classification(problem.model)
    optimizer = sgd(learning_rate, momentum=momentum, weight_decay=weight_decay)

    def objective(variables, batches, key):
        retain, forget = batches
        forget_loss, _ = descent(variables, forget, key)
        retain_loss, variables = descent(variables, retain, key)
        return alpha * retain_loss - (1 - alpha) * forget_loss, variables

    def one(state, key):
        key_retain, key_forget, key_steps = jax.random.split(key, 3)
        retain = shuffle(key_retain, problem.retain, batch_size)
        steps = len(retain.indices)
        forget = shuffle(key_forget, problem.forget, forget_batch_size, steps)
        return epoch(key_steps, state, problem, (retain, forget), objective, optimizer)

    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, epoch_keys(key, epochs))
    return state.variables, {"loss": losses}
