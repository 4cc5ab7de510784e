"""Gradient ascent on the forget set.

    maximise  E_f[CE(f(x), y)]

Nothing holds the loss back, so the learning rate decides between no forgetting and a
ruined model. Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020,
https://arxiv.org/abs/1911.04933 ("negative gradient"); Thudi et al., EuroS&P 2022.
Constants: 5 epochs; learning rates of 1e-4 to 1e-3 for ResNet-18 on CIFAR-10.
"""

import jax

from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.training import classification, fit, sgd


@method(
    needs=("forget",), paper="arXiv:1911.04933", search={"learning_rate": (1e-5, 1.0)}
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
) -> tuple[Variables, dict]:
    """Climbs the forget loss; `info["loss"]`, float32[epochs, steps], is minus it."""
    descent = classification(problem.model)

    def ascent(variables, batch, key):
        loss, variables = descent(variables, batch, key)
        return -loss, variables

    variables, losses = fit(
        key,
        variables,
        problem,
        problem.forget,
        ascent,
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
