"""Noisy fine-tuning: clipped steps on the retain set, in noise, with a certificate.

    theta <- a + clip(theta - a, radius)
    theta <- a + rho (theta - a) - rate clip(grad E_r[CE], clip) + N(0, sigma^2)
             `noisy_steps` times, with rho^noisy_steps = kept
    then minimise  E_r[CE(f(x), y)]  without noise

(epsilon, delta): whoever sees the result, and not the weights on the way, can hardly
tell it from that of the same steps after a training that never had the forget set,
however large that is. Sigma is what `noisy_steps` proves enough, of any net; what comes
after the noise sees retained data alone and costs nothing. Constants that were chosen
by looking at the forget set are not counted. The key must be secret: who knows it knows
the noise. Koloskova et al., "Certified Unlearning for Neural Networks", 2025,
https://arxiv.org/abs/2506.06985. There weights decay towards 0; here towards `a`, new
weights drawn from the key, from which a net learns faster than from nearly 0.

It is retraining from a noisy start: at epsilon 1 a weight gets noise of 3.7 times D,
at 8 of .60 times, and for that to be less than what weights are drawn with, hardly a
hundredth of the way from `a` may be kept. Batch statistics are begun anew.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from unlearn.methods import noisy_steps as noisy
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.training import batch_shape, classification, fit

Number = float | jax.Array


@method(
    needs=("retain",),
    paper="arXiv:2506.06985",
    differs="decays towards new weights, not 0; noise by shifted interpolation, not "
    "Rényi divergences; batches; warm-up, cosine decay and momentum after it",
    search={"learning_rate": (1e-2, 1.0), "noisy_learning_rate": (1e-5, 1e-2)},
    certifies=True,
)
def noisy_finetune(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    epsilon: float = 8.0,
    delta: float = 1e-5,
    noisy_steps: int = 10,
    noisy_learning_rate: float = 1e-3,
    radius: float = 10.0,
    kept: float = 1e-3,
    clip: float = 1.0,
    learning_rate: float = 0.05,
    epochs: int = 5,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup_epochs: int = 1,
) -> tuple[Variables, dict]:
    """Takes the noisy steps, then trains on retained data.

    Returns `info` with `certificate` (float32[2]: epsilon and delta), `sigma` (of a
    step), `noise` (standard deviation of all of it in a weight at the end of the noisy
    steps) and `loss` (float32[epochs, steps]) of the epochs after them.

    Raises:
      InputError: constants out of range.
    """
    key_fresh, *keys = jax.random.split(key, 3)
    return hide_and_train(
        keys,
        variables["params"],
        problem.model.init(key_fresh, problem.inputs(problem.retain[:1])),
        problem,
        noisy.Steps(noisy_steps, kept, noisy_learning_rate, clip, radius),
        (epsilon, delta),
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        momentum=momentum,
        weight_decay=weight_decay,
        warmup_epochs=warmup_epochs,
    )


def hide_and_train(
    keys: Iterable[jax.Array],
    params: dict,
    towards: Variables,
    problem: Problem,
    plan: noisy.Steps,
    certificate: tuple[noisy.Number, noisy.Number],
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    momentum: float,
    weight_decay: float,
    warmup_epochs: int,
) -> tuple[Variables, dict]:
    """Takes the noisy steps from `params`, then trains; returns what the method does.

    Args:
      keys: of the noisy steps, and of the training.
      towards: variables that depend on no data; `a`, and the batch statistics.
      certificate: epsilon and delta.
    """
    plan.check(*certificate)
    key_noisy, key_fit = keys
    objective = classification(problem.model)
    sigma = noisy.sigma_for(plan, *certificate)
    args = problem, objective, plan, sigma, batch_size
    params = noisy.take(key_noisy, params, towards, *args)
    steps, _ = batch_shape(len(problem.retain), batch_size)
    unlearned, losses = fit(
        key_fit,
        {**towards, "params": params},
        problem,
        problem.retain,
        objective,
        sgd(
            schedule("cosine", learning_rate, epochs * steps, warmup_epochs * steps),
            momentum=momentum,
            weight_decay=weight_decay,
        ),
        epochs=epochs,
        batch_size=batch_size,
    )
    return unlearned, {
        "certificate": jnp.asarray(certificate, jnp.float32),
        "sigma": sigma,
        "noise": plan.noise_at_end(sigma),
        "loss": losses,
    }
