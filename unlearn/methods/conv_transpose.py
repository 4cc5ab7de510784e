"""Transposed convolutions (CT): fifth in the NeurIPS 2023 challenge.

    every k x k convolution kernel W[i, j] becomes W[j, i]
    minimise  E_r[CE(f(x), y)]    from there

What the filters look for is turned over the diagonal: the details are lost, the scale
of every weight is kept, and fine-tuning finds the way back without the forget set. In a
net without convolutions the first dense layer on a square image is turned likewise: its
kernel is one filter a unit, as large as the image. Described in Triantafillou et al.,
https://arxiv.org/abs/2406.09073; the name is that of Cadet et al.,
https://arxiv.org/abs/2410.01276. Constants: 3 epochs of SGD 0.001 at batch 64, cosine
decay by the epoch. They are for thousands of steps, and small data has few: on random
digits (19 steps an epoch) they end at 62 % validation accuracy, 16 times the rate and
three times the epochs at 97 %, as retraining does. So give both.
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.optimizers import by_epoch, schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import at, replace, weighted_layers
from unlearn.training import batch_shape, classification, fit


def transpose(problem: Problem, variables: Variables) -> dict:
    """Returns the parameters with all square filters transposed.

    Raises:
      InputError: there is none.
    """
    params = variables["params"]

    def square(w):
        return w.ndim == 4 and w.shape[0] == w.shape[1] > 1

    if any(w.ndim == 4 for w in jax.tree.leaves(params)):
        if any(square(w) for w in jax.tree.leaves(params)):
            return jax.tree.map(
                lambda w: jnp.swapaxes(w, 0, 1) if square(w) else w, params
            )
    else:
        path = weighted_layers(problem, variables)[0]
        height, width, channels = problem.input_spec.continuous_shape(3)

        def transpose(w):
            if w.ndim != 2:
                return w
            images = w.reshape(height, width, channels, -1)
            return jnp.swapaxes(images, 0, 1).reshape(w.shape)

        layer = at(params, path)
        sizes = [len(w) for w in jax.tree.leaves(layer) if w.ndim == 2]
        if height == width > 1 and sizes == [height * width * channels]:
            return replace(params, path, jax.tree.map(transpose, layer))
    raise InputError(
        "conv_transpose needs square k x k filters, k > 1, or a dense layer on square "
        "images; this net has neither: choose another method"
    )


@method(
    needs=("retain",),
    paper="NeurIPS 2023 challenge, arXiv:2406.09073",
    differs="in dense nets the first layer is turned",
    search={"learning_rate": (3e-4, 0.2)},
    inputs="images",
)
def conv_transpose(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-3,
    epochs: int = 3,
    batch_size: int = 64,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Transposes and fine-tunes; `info["loss"]` is float32[epochs, steps].

    Raises:
      InputError: no filter can be transposed.
    """
    steps, _ = batch_shape(len(problem.retain), batch_size)
    rate = by_epoch(schedule("cosine", learning_rate, epochs * steps), steps)
    variables, losses = fit(
        key,
        {**variables, "params": transpose(problem, variables)},
        problem,
        problem.retain,
        classification(problem.model),
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
