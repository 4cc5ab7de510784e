"""UNDO: weights go a part of the way to a fresh start, and are distilled back.

    theta <- (1 - share) theta + share theta_new        theta_new: fresh random weights
    minimise  E_r[(1 - labels) KL(p || f(x)) + labels CE(f(x), y)]    p: the original

The paper distils: `labels` 0. `share` 0 is self-distillation, 1 is distilling a fresh
net. With `labels` 1 no answer of the original is used, only its weights, and the ends
are fine-tuning and retraining: how many layers go how far for how many epochs is one
family between doing nothing and retraining. With `layers` only so many of the last
layers go; all are trained after.
Batch statistics go the same part of the way. Lee et al., "Distillation Robustifies
Unlearning", NeurIPS 2025, https://arxiv.org/abs/2506.06278, for language models: there
the teacher was unlearned by another method (here: a chain, as `neggrad_plus+undo`),
and the noise is 0.1 times initial weights.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.cf_k import last_layers
from unlearn.methods.registry import method
from unlearn.methods.taught import taught
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import fresh, select
from unlearn.training import batch_shape, cross_entropy, fit, kl_divergence


@method(
    needs=("retain",),
    paper="arXiv:2506.06278",
    differs="noise is of the size of initial weights; labels can stand beside the "
    "distillation or in its place; the teacher is the model given, unlearned or not",
    search={"learning_rate": (1e-2, 1.0), "share": (0.05, 0.95)},
)
def undo(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.05,
    epochs: int = 5,
    share: float = 0.6,
    layers: int = 0,
    labels: float = 0.0,
    temperature: float = 1.0,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup_epochs: int = 1,
) -> tuple[Variables, dict]:
    """Mixes with fresh weights, repairs; `info["loss"]` is float32[epochs, steps].

    Raises:
      InputError: `layers` are given, and the model has no `activations`.
    """
    key_fresh, key_fit = jax.random.split(key)
    model, answered = problem.model, taught(problem, variables, problem.retain)

    def mix(old, new):
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return old  # a counter: of averages, of which the larger part is old
        return ((1 - share) * old + share * new).astype(old.dtype)

    mixed = jax.tree.map(mix, variables, fresh(key_fresh, problem))
    if layers:
        mixed = select(last_layers(problem, variables, layers), mixed, variables)

    def objective(variables, batch, key):
        inputs, wanted = batch.inputs
        logits, variables = model.apply(variables, inputs, train=True, key=key)
        soft = kl_divergence(wanted, logits, temperature)
        hard = cross_entropy(logits, batch.labels)
        losses = (1 - labels) * soft + labels * hard
        return jnp.mean(batch.weights * losses), variables

    steps, _ = batch_shape(len(problem.retain), batch_size)
    warmup = warmup_epochs * steps
    rate = schedule("cosine", learning_rate, epochs * steps, warmup)
    variables, losses = fit(
        key_fit,
        mixed,
        answered,
        problem.retain,
        objective,
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
