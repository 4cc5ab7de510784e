"""Gradient ascent on the forget set.

    maximise  E_f[CE(f(x), y)]

Nothing holds the loss back, so the learning rate decides between no forgetting and a
ruined model. Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020,
https://arxiv.org/abs/1911.04933 ("negative gradient"); Thudi et al., EuroS&P 2022.
Constants: 5 epochs at batch 256; learning rates of 1e-4 to 1e-3 for ResNet-18 on
CIFAR-10. SalUn's code for it (https://arxiv.org/abs/2310.12508) adds a weight decay of
5e-4 and moves the batch statistics, `statistics="batch"` here.
"""

import jax

from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import classification, fit


@method(
    needs=("forget",),
    paper="arXiv:1911.04933",
    differs="frozen batch statistics (theirs: statistics=batch); no weight decay",
    search={"learning_rate": (1e-5, 1.0)},
    ascends=True,
)
def gradient_ascent(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-4,
    epochs: int = 5,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    statistics: str = "frozen",
) -> tuple[Variables, dict]:
    """Climbs the forget loss; `info["loss"]`, float32[epochs, steps], is minus it.

    `statistics`: see `statistics.by_batch`.
    """
    descent = classification(problem.model, train=by_batch(statistics))

    def ascent(variables, batch, key):
        loss, variables = descent(variables, batch, key)
        return -loss, variables

    variables, losses = fit(
        key,
        variables,
        problem,
        problem.forget,
        ascent,
        sgd(learning_rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
