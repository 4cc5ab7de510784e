"""DELETE: distil the original without the true class into the forget set.

    p(x) = softmax(f_0(x) with the logit of y at -infinity)
    minimise  E_f[KL(p(x) || softmax f(x))]    from the original weights

The masked target has no mass on the true class (that is what forgets) and keeps the
ratios between all others (that is what retains, with no retain data at all). f_0 is the
original, in evaluation mode, never updated. Zhou et al., "Decoupled Distillation to
Erase", CVPR 2025, https://arxiv.org/abs/2503.23751: SGD 1e-3 with momentum 0.9, 20
epochs at batch 128 for ResNet-18 on CIFAR-10. Batch statistics are trained along, as
there, on forget examples alone.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import fit, kl_divergence, sgd


def without_class(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Masks logits so that their softmax is 0 at `labels`: finite, so 0 log 0 is 0."""
    true = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.where(true, -1e9, logits.astype(jnp.float32))


@method(
    needs=("forget",), paper="arXiv:2503.23751", search={"learning_rate": (1e-5, 1e-2)}
)
def delete(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-3,
    epochs: int = 20,
    batch_size: int = 128,
    momentum: float = 0.9,
) -> tuple[Variables, dict]:
    """Distils on the forget set; `info["loss"]` is float32[epochs, steps]."""
    teacher, model = variables, problem.model

    def distill(variables, batch, key):
        wanted = without_class(model.apply(teacher, batch.inputs)[0], batch.labels)
        logits, variables = model.apply(variables, batch.inputs, train=True, key=key)
        loss = jnp.mean(batch.weights * kl_divergence(wanted, logits))
        return loss, variables

    variables, losses = fit(
        key,
        variables,
        problem,
        problem.forget,
        distill,
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
