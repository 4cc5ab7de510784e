"""Noisy rewinding: back to an early epoch, clipped steps in noise, on without f.

    theta <- theta_e        the original's weights after `epoch` epochs of its training
    theta <- a + clip(theta - a, radius)                    a: what that started from
    theta <- a + rho (theta - a) - rate clip(grad E_r[CE], clip) + N(0, sigma^2)
             `noisy_steps` times, with rho^noisy_steps = kept
    then minimise  E_r[CE(f(x), y)]  without noise

(epsilon, delta) as of `noisy_finetune`, which goes from the end of the training: early
weights are nearer to their start, so that a smaller radius cuts less of them off and
less noise hides the rest. Mu & Klabjan, "Rewind-to-Delete", 2024,
https://arxiv.org/abs/2409.09778, add noise once, at the end, of a size that follows
from how smooth the loss is, which of a net is not known; the steps are those of
Koloskova et al., "Certified Unlearning for Neural Networks", 2025,
https://arxiv.org/abs/2506.06985, which need to know nothing.

What the training started from depends on no data. The early weights do: see `rewind`.
"""

import jax

from unlearn.methods import noisy_steps as noisy
from unlearn.methods.noisy_finetune import hide_and_train
from unlearn.methods.registry import method
from unlearn.methods.rewind import early_weights
from unlearn.problem import Problem, Variables


@method(
    needs=("retain", "early", "start"),
    paper="arXiv:2409.09778",
    differs="noise in clipped steps before the epochs (as `noisy_finetune`), not once "
    "after them: their bound needs to know how smooth the loss is",
    search={"learning_rate": (1e-2, 1.0), "noisy_learning_rate": (1e-5, 1e-2)},
    certifies=True,
)
def noisy_rewind(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    epoch: int = 1,
    epsilon: float = 8.0,
    delta: float = 1e-5,
    noisy_steps: int = 10,
    noisy_learning_rate: float = 1e-3,
    radius: float = 2.0,
    kept: float = 5e-3,
    clip: float = 1.0,
    learning_rate: float = 0.05,
    epochs: int = 5,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warmup_epochs: int = 1,
) -> tuple[Variables, dict]:
    """Rewinds, takes the noisy steps, then trains on retained data.

    Returns `info` as `noisy_finetune` does.

    Raises:
      InputError: constants out of range; `problem.early` has no weights of that epoch
        or of the start, 0.
    """
    del variables
    early, start = (early_weights(problem, e, "noisy_rewind") for e in (epoch, 0))
    return hide_and_train(
        jax.random.split(key),
        early["params"],
        start,
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
