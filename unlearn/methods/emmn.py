"""Error-maximising and -minimising noise: unlearning a class without any data.

    impair:  minimise  E_max[CE(f(x), c)] + E_min[CE(f(x), y)]
    repair:  minimise  E_mix[T^2 KL_T(g(x) || f(x))],  g = the original without logit c

The noise is made with the original (see `noise`): for each forgotten class c images on
which it errs, labelled c; for every class y images that it takes for y. `impair` is the
paper: one training on the noise for c and for the retained classes. It teaches c on
images that nobody has, and by itself does not forget: c is predicted more often, and
the other classes suffer. `repair` is ours: distillation from the original with the
forgotten logits left out, on images mixed from two of the error-minimising ones,
x = u x1 + (1 - u) x2, those of c among them. A high temperature pushes logit c far
below the others, so that it stays there on real images.

Chundawat et al., "Zero-Shot Machine Unlearning", IEEE TIFS 2023,
https://arxiv.org/abs/2201.05629: 80 noise images a class, Adam 0.1 for 25 steps to
maximise and 30 to minimise; 2 epochs of Adam 1e-4 at batch 4. `repair_epochs=0`,
`images=80`, `batch_size=4` and those steps give the paper's method. Fewer steps to
minimise leave the images more varied and forget better on real ones. The constants of
the repair were chosen on MNIST and the scikit-learn digits.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.noise import (
    WithNoise,
    error_maximizing_noise,
    error_minimizing_noise,
)
from unlearn.methods.registry import method
from unlearn.optimizers import adam
from unlearn.problem import Problem, Variables
from unlearn.training import classification, fit, kl_divergence


@method(
    needs=("forget_classes",),
    paper="arXiv:2201.05629",
    differs="its repair by masked distillation is ours (none with repair_epochs=0); "
    "so are images, batch_size and min_steps",
    search={"repair_rate": (1e-4, 1e-2), "temperature": (2.0, 30.0)},
    scope="class",
    inputs="continuous",
)
def emmn(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-4,
    epochs: int = 2,
    repair_rate: float = 1e-3,
    repair_epochs: int = 20,
    temperature: float = 10.0,
    images: int = 64,
    batch_size: int = 64,
    noise_rate: float = 0.1,
    max_steps: int = 25,
    min_steps: int = 5,
    penalty: float = 0.1,
) -> tuple[Variables, dict]:
    """Impairs, then repairs, on `images` noise images a class.

    All images of all classes are held, about four times. Returns `info` with `loss`
    (float32[epochs, steps], of the impairment) and, if there is a repair, `repair_loss`
    (float32[repair_epochs, steps]).
    """
    teacher, model, forget = variables, problem.model, problem.forget_classes
    key_max, key_min, key_impair, key_repair = jax.random.split(key, 4)
    is_forgotten = jnp.isin(jnp.arange(problem.num_classes), forget)
    forgotten_last = jnp.argsort(is_forgotten).astype(jnp.int32)
    labels = jnp.repeat(forgotten_last, images)
    of_retained = len(labels) - images * len(forget)
    # The impairment needs no minimising noise of the forgotten, the repair does.
    minimizing = error_minimizing_noise(
        key_min,
        variables,
        problem,
        labels if repair_epochs else labels[:of_retained],
        learning_rate=noise_rate,
        steps=min_steps,
    )
    maximizing = error_maximizing_noise(
        key_max,
        variables,
        problem,
        labels[of_retained:],
        learning_rate=noise_rate,
        steps=max_steps,
        penalty=penalty,
    )
    impairing = jnp.concatenate([minimizing[:of_retained], maximizing])
    noise = WithNoise(problem, impairing, labels)
    variables, losses = fit(
        key_impair,
        variables,
        noise,
        noise.indices,
        classification(model),
        adam(learning_rate),
        epochs=epochs,
        batch_size=batch_size,
    )
    if not repair_epochs:
        return variables, {"loss": losses}

    def distill(variables, batch, key):
        key_mix, key_model = jax.random.split(key)
        inputs = mixed(key_mix, batch.inputs)
        wanted = without(model.apply(teacher, inputs)[0], is_forgotten)
        logits, variables = model.apply(variables, inputs, train=True, key=key_model)
        losses = kl_divergence(wanted, logits, temperature)
        return jnp.mean(batch.weights * losses), variables

    noise = WithNoise(problem, minimizing, labels)
    variables, repair_losses = fit(
        key_repair,
        variables,
        noise,
        noise.indices,
        distill,
        adam(repair_rate),
        epochs=repair_epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses, "repair_loss": repair_losses}


def mixed(key: jax.Array, inputs: jax.Array) -> jax.Array:
    """Mixes each image with another one of the batch, in random shares."""
    key_order, key_share = jax.random.split(key)
    others = jax.random.permutation(key_order, inputs)
    share = jax.random.uniform(
        key_share, (len(inputs), *[1] * (inputs.ndim - 1)), inputs.dtype
    )
    return share * inputs + (1 - share) * others


def without(logits: jax.Array, forgotten: jax.Array) -> jax.Array:
    """Masks logits [B, K] so that classes where `forgotten[K]` have no probability."""
    return jnp.where(forgotten, -1e9, logits)
