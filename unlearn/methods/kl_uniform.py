"""KL to uniform: the net is to know nothing about the forget set.

    minimise  E_f[KL(uniform || f(x))]    from the original weights

The first stage of the winner of the NeurIPS 2023 challenge (`kl_contrastive`) on its
own: one pass of SGD 0.005; Triantafillou et al., 2024,
https://arxiv.org/abs/2406.09073. A retrained net is far from uniform on most forget
examples: this forgets more than retraining does, and a long run ruins the net. There
the batch statistics move (`statistics="batch"`). Normalised by batches of one class
alone, an all-convolutional net did not forget that class of the digits at any rate.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import fit, kl_divergence


@method(
    needs=("forget",),
    paper="NeurIPS 2023 challenge, arXiv:2406.09073",
    differs="the first stage alone; frozen batch statistics (theirs: statistics=batch)",
    search={"learning_rate": (1e-5, 0.1)},
)
def kl_uniform(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.005,
    epochs: int = 1,
    batch_size: int = 64,
    momentum: float = 0.9,
    statistics: str = "frozen",
) -> tuple[Variables, dict]:
    """Trains the forget set to uniform outputs; `info["loss"]` is float32[E, S].

    `statistics`: see `statistics.by_batch`.
    """
    model, train = problem.model, by_batch(statistics)

    def objective(variables, batch, key):
        logits, variables = model.apply(variables, batch.inputs, train=train, key=key)
        kl = kl_divergence(jnp.zeros_like(logits), logits)
        return jnp.mean(batch.weights * kl), variables

    variables, losses = fit(
        key,
        variables,
        problem,
        problem.forget,
        objective,
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
