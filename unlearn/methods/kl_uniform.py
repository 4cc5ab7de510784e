"""KL to uniform: the net is to know nothing about the forget set.

    minimise  E_f[KL(uniform || f(x))]    from the original weights

The first stage of the winner of the NeurIPS 2023 challenge (`kl_contrastive`) on its
own: one pass of SGD 0.005; Triantafillou et al., 2024,
https://arxiv.org/abs/2406.09073. A retrained net is far from uniform on most forget
examples: this forgets more than retraining does, and a long run ruins the net.
Simplified: the net stays in evaluation mode. Normalised by batches of one class alone,
an all-convolutional net did not forget that class of the digits at any learning rate.
"""

import jax.numpy as jnp

from unlearn.training import fit, kl_divergence, sgd


def kl_uniform(
    key,
    variables,
    problem,
    *,
    learning_rate=0.005,
    epochs=1,
    batch_size=64,
    momentum=0.9,
):
    """Trains the forget set to uniform outputs; `info["loss"]` is float32[E, S]."""

    def objective(variables, batch, key):
        logits, _ = problem.model.apply(variables, batch.inputs)
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
