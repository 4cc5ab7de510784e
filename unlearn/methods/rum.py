"""RUM: what was memorised most is forgotten most, and last; what was not, is let be.

    f by the original's p(y | x), the surest first, in thirds: low, medium, high
    low:     nothing
    medium:  fine-tune on r and high            theta <- finetune(theta; r + high)
    high:    SalUn of high, keeping r           theta <- salun(theta; high, r)

An example that a model trained without it would know as well needs no forgetting, and
one that is known by heart alone needs it most. In each step what is not unlearned yet
is retained. Zhao et al., "What makes unlearning hard and what to do about it", NeurIPS
2024, https://arxiv.org/abs/2406.01257: nothing, fine-tuning, SalUn is the choice that
the paper found best on CIFAR-10 and CIFAR-100; `low`, `medium` and `high` name others.
There memorisation is estimated by thousands of models, or by confidence over the epochs
of the training.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.registry import METHODS, method
from unlearn.problem import Problem, Variables
from unlearn.training import cross_entropy, predict_set

NOTHING = "none"
NEEDS = ("forget", "retain", "forget_classes", "validation")


def by_memorisation(problem: Problem, variables: Variables) -> tuple[jax.Array, ...]:
    """Splits the forget set in thirds, what the model is surest of first.

    The last has what the number leaves over, so that it is never empty.
    """
    logits = predict_set(problem, variables, problem.forget)
    losses = cross_entropy(logits, problem.labels[problem.forget])
    order, third = problem.forget[jnp.argsort(losses)], len(problem.forget) // 3
    return order[:third], order[third : 2 * third], order[2 * third :]


def usable() -> list[str]:
    """Names by what a third can be forgotten: nothing, or a method that fits."""
    fit = [
        name
        for name, info in METHODS.items()
        if set(info.needs) <= set(NEEDS)
        and info.scope == "both"
        and info.kind != "exact"  # what was forgotten before would be for nothing
        and name != "rum"
    ]
    return [NOTHING, *fit]


@method(
    needs=NEEDS,
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
    low: str = NOTHING,
    medium: str = "finetune",
    high: str = "salun",
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
    """Forgets by thirds; `info["loss"]` is that of the last method, if it tells one.

    Args:
      low, medium, high: by what a third is forgotten, one of `usable`. Of fewer than
        three examples all are high.
      learning_rate, epochs: of methods that do not see the forget set.
      forget_learning_rate, forget_epochs: of those that do.
      fraction, alpha: SalUn's. `batch_size`, `momentum` and `weight_decay` are those
        of every method that has them; all else is as methods have it by default.

    Raises:
      InputError: a method that there is not, or that needs more than is seen here.
    """
    of_salun = {"fraction": fraction, "alpha": alpha}
    shared: dict[str, Any] = {
        "batch_size": batch_size,
        "momentum": momentum,
        "weight_decay": weight_decay,
    }
    gentle = shared | {"learning_rate": learning_rate, "epochs": epochs}
    strong = shared | {"learning_rate": forget_learning_rate, "epochs": forget_epochs}

    def constants_of(name):
        given = strong if "forget" in METHODS[name].needs else gentle
        given = given | of_salun if name == "salun" else given
        taken = inspect.signature(METHODS[name].fn).parameters
        return {key: value for key, value in given.items() if key in taken}

    chosen = {"low": low, "medium": medium, "high": high}
    for third, name in chosen.items():
        if name not in usable():
            raise InputError(
                f"rum cannot forget by {name!r}, as {third} says: choose from "
                f"{', '.join(usable())}"
            )
    key_medium, key_high = jax.random.split(key)
    keys = jax.random.fold_in(key, 0), key_medium, key_high
    thirds, info = by_memorisation(problem, variables), {}
    for i, name in enumerate(chosen.values()):
        if name == NOTHING or not len(thirds[i]):
            continue
        later, total = thirds[i + 1 :], problem.total_retain
        part = problem.replace(
            forget=thirds[i],
            retain=jnp.concatenate([problem.retain, *later]),
            total_retain=None if total is None else total + sum(map(len, later)),
        )
        constants = constants_of(name)
        variables, info = METHODS[name].fn(keys[i], variables, part, **constants)
    return variables, {"loss": info["loss"]} if "loss" in info else {}
