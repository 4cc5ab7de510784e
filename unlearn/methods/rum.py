"""RUM: what was memorised most is forgotten most, and last; what was not, is let be.

    f by the original's p(y | x), the surest first, in thirds: low, middle, high
    low:     nothing
    middle:  fine-tune on r and high            theta <- finetune(theta; r + high)
    high:    SalUn of high, keeping r           theta <- salun(theta; high, r)

An example that a model trained without it would know as well needs no forgetting, and
one that is known by heart alone needs it most. In each step what is not unlearned yet
is retained. Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS
2024, https://arxiv.org/abs/2406.01257: nothing, fine-tuning, SalUn is the choice that
the paper found best on CIFAR-10 and CIFAR-100; there memorisation is estimated by
thousands of models, or by confidence over the epochs of the training.
"""

from typing import Any

import jax
import jax.numpy as jnp

from unlearn.methods.finetune import finetune
from unlearn.methods.registry import method
from unlearn.methods.salun import salun
from unlearn.problem import Problem, Variables
from unlearn.training import cross_entropy, predict_set


def by_memorisation(problem: Problem, variables: Variables) -> tuple[jax.Array, ...]:
    """Splits the forget set in thirds, what the model is surest of first.

    The last has what the number leaves over, so that it is never empty.
    """
    logits = predict_set(problem, variables, problem.forget)
    losses = cross_entropy(logits, problem.labels[problem.forget])
    order, third = problem.forget[jnp.argsort(losses)], len(problem.forget) // 3
    return order[:third], order[third : 2 * third], order[2 * third :]


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2406.01257",
    differs="memorisation by the original's loss after training; thirds of any forget "
    "set, not of one that was chosen by memorisation",
    search={
        "learning_rate": (1e-3, 1.0),
        "forget_learning_rate": (1e-4, 0.2),
        "alpha": (0.3, 30.0),
    },
)
def rum(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    forget_learning_rate: float = 0.013,
    forget_epochs: int = 5,
    fraction: float = 0.5,
    alpha: float = 1.0,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Forgets by thirds; `info["loss"]` is that of SalUn, float32[epochs, steps].

    `epochs` and `learning_rate` are those of fine-tuning. Of fewer than three examples
    all are forgotten by SalUn.
    """
    key_middle, key_high = jax.random.split(key)
    _, middle, high = by_memorisation(problem, variables)
    shared: dict[str, Any] = {
        "batch_size": batch_size,
        "momentum": momentum,
        "weight_decay": weight_decay,
    }
    if len(middle):
        retain = jnp.concatenate([problem.retain, high])
        variables, _ = finetune(
            key_middle,
            variables,
            problem.replace(forget=middle, retain=retain),
            learning_rate=learning_rate,
            epochs=epochs,
            **shared,
        )
    variables, info = salun(
        key_high,
        variables,
        problem.replace(forget=high),
        learning_rate=forget_learning_rate,
        epochs=forget_epochs,
        fraction=fraction,
        alpha=alpha,
        **shared,
    )
    return variables, {"loss": info["loss"]}
