"""Boundary shrink: each forget example is relabelled to its nearest wrong class.

    x' = x + bound sign(grad_x CE(f_0(x), y)),    y' = argmax_{c != y} f_0(x')_c
    minimise  E_f[CE(f(x), y')]    from the original weights

f_0 is the original, frozen, so y' is found once; x itself is what is trained on. Chen
et al., "Boundary Unlearning", CVPR 2023, https://arxiv.org/abs/2303.11570: bound 0.1 of
the pixel range, x' clipped to valid pixels (other inputs than standardised images have
no range: a step of bound, not clipped), 10 epochs of SGD 1e-5 at batch 64. The released
code takes the argmax over all classes, so where the step does not cross the boundary it
trains the true label (56 to 66 % of a class of the digits); the nearest wrong one, of a
class that stays, is what the paper describes. It also rounds x' to 1/255 and finds y'
anew for each augmented x. There the batch statistics move, here only with
`statistics="batch"`: normalised by batches of one class it forgets less and loses more
of the rest.
"""

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.inputs import standardisation
from unlearn.methods.labels import bar
from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import classification, cross_entropy, fit, in_order


def stepped(
    problem: Problem, inputs: jax.Array, direction: jax.Array, bound: float
) -> jax.Array:
    """Moves inputs by `bound`, clipped to valid pixels.

    Of images that the problem standardises `bound` is in units of pixels in [0, 1];
    other inputs move by `bound` itself and have no range.
    """
    known = standardisation(problem.preprocess)
    if known is None:
        return inputs + bound * direction
    mean, std = (np.asarray(x, np.float32) for x in (known.mean, known.std))
    moved = inputs + bound / std * direction
    return jnp.clip(moved, (0 - mean) / std, (1 - mean) / std)


def nearest_wrong_labels(
    variables: Variables,
    problem: Problem,
    indices: jax.Array,
    bound: float,
    *,
    batch_size: int = 256,
) -> jax.Array:
    """Finds the best wrong class one FGSM step away: int32 like `indices`.

    A class that is forgotten as a whole is none.
    """
    rows = in_order(indices, batch_size)

    def one(row):
        x, y, _ = problem.batch(*row)

        def loss(x):
            return cross_entropy(problem.model.apply(variables, x)[0], y).sum()

        x = stepped(problem, x, jnp.sign(jax.grad(loss)(x)), bound)
        logits, _ = problem.model.apply(variables, x)
        return jnp.argmax(bar(logits, y, problem), -1)

    labels = jax.lax.map(one, rows).reshape(-1)[: len(indices)]
    return labels.astype(jnp.int32)


@method(
    needs=("forget", "forget_classes"),
    paper="arXiv:2303.11570",
    differs="frozen batch statistics (theirs: statistics=batch); y' is never true, "
    "found once, without augmentation or rounding of x'; only images are clipped",
    search={"learning_rate": (1e-5, 1e-2), "bound": (0.01, 0.5)},
    inputs="continuous",
)
def boundary_shrink(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-5,
    epochs: int = 10,
    bound: float = 0.1,
    batch_size: int = 64,
    momentum: float = 0.9,
    statistics: str = "frozen",
) -> tuple[Variables, dict]:
    """Trains the forget set to its nearest wrong labels.

    `info` has `loss` (float32[epochs, steps]) and the `labels` (int32[F]).
    `statistics`: see `statistics.by_batch`.
    """
    train = by_batch(statistics)
    nearest = nearest_wrong_labels(variables, problem, problem.forget, bound)
    labels = problem.labels.at[problem.forget].set(nearest)
    variables, losses = fit(
        key,
        variables,
        problem.replace(labels=labels),
        problem.forget,
        classification(problem.model, train=train),
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses, "labels": nearest}
