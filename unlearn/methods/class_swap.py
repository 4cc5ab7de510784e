"""Class swap: the weights that carry a class learn another one in its place.

    score  = F_f / (F_r + 0.01 mean F_r)   F: diagonal Fisher information on f and on r
    m      = 1[ the score is among the largest `fraction` ]
    minimise  E_{f and r}[CE(f(x), y')] + penalty / 2 |m * theta|^2   over m * theta
    y'     = target for x in f, y for x in r

Found: the weights that matter to the forgotten class and little to the others. They are
penalised, so that what carried the class shrinks, and trained so that its examples are
taken for `target`; all other weights and the batch statistics keep their bits (the net
runs in evaluation mode). A retrained model spreads the class over several others: where
that matters, this is not the method. No paper: the swap of MNIST's 6 for 3 is described
in the project; the ratio is that of SSD (Foster et al., AAAI 2024,
https://arxiv.org/abs/2308.07707), the mask that of SalUn (Fan et al., ICLR 2024,
https://arxiv.org/abs/2310.12508). Constants are ours, for a small CNN on MNIST.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from unlearn.curvature import fisher_diagonal
from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import largest
from unlearn.training import batch_shape, classification, fit, predict_set


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="none; parts of arXiv:2308.07707 and arXiv:2310.12508",
    differs="its parts; the combination is in no paper",
    search={
        "learning_rate": (1e-3, 0.3),
        "penalty": (1e-5, 0.1),
        "fraction": (0.02, 0.5),
    },
    scope="class",
)
def class_swap(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.05,
    epochs: int = 2,
    fraction: float = 0.1,
    penalty: float = 1e-3,
    target: int = -1,
    fisher_examples: int = 1000,
    batch_size: int = 128,
    momentum: float = 0.9,
) -> tuple[Variables, dict]:
    """Trains the found weights; `info` has `loss`, `target` and the `trained` share.

    `target` is the class in place of the forgotten ones; -1: the retained class that
    the model holds for the most likely on the forget set. `fisher_examples` are drawn
    from each set to find the weights.

    Raises:
      InputError: there is no such target, or it is a forgotten class. The latter cannot
        be known while the problem is traced.
    """
    check_target(problem, target)
    key_find, key_fit = jax.random.split(key)
    mask = carriers(key_find, variables, problem, fraction, examples=fisher_examples)
    new = likeliest(variables, problem) if target < 0 else jnp.int32(target)
    swapped = problem.replace(labels=problem.labels.at[problem.forget].set(new))
    fitting = classification(problem.model, train=False)

    def objective(variables, batch, key):
        loss, variables = fitting(variables, batch, key)
        found = jax.tree.map(jnp.multiply, mask, variables["params"])
        norm = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(found))
        return loss + penalty / 2 * norm, variables

    indices = jnp.concatenate([problem.forget, problem.retain])
    steps, _ = batch_shape(len(indices), batch_size)
    rate = schedule("cosine", learning_rate, epochs * steps)
    variables, losses = fit(
        key_fit,
        variables,
        swapped,
        indices,
        objective,
        sgd(rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
        trainable=mask,
    )
    trained = jnp.mean(ravel_pytree(mask)[0].astype(jnp.float32))
    return variables, {"loss": losses, "trained": trained, "target": new}


def check_target(problem: Problem, target: int) -> None:
    """Refuses a target that is no class that stays, see `class_swap`.

    Raises:
      InputError: it is none.
    """
    if not -1 <= target < problem.num_classes:
        raise InputError(
            f"class_swap.target must be a class, 0..{problem.num_classes - 1}, "
            f"or -1 for the likeliest; it is {target}"
        )
    gone = problem.forget_classes
    if not isinstance(gone, Tracer) and target in np.asarray(gone):
        raise InputError(
            f"class_swap.target is {target}, a class to be forgotten: choose one that "
            "stays, or -1 for the likeliest"
        )


def carriers(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    fraction: float,
    *,
    examples: int = 1000,
) -> dict:
    """Returns a mask: true for the `fraction` of weights that most carry the class."""
    of_forget, of_retain = (
        fisher_diagonal(
            variables, problem, jax.random.permutation(k, indices)[:examples]
        )
        for k, indices in zip(
            jax.random.split(key), (problem.forget, problem.retain), strict=True
        )
    )
    floor = 0.01 * jnp.mean(ravel_pytree(of_retain)[0])
    scores = jax.tree.map(lambda f, r: f / (r + floor), of_forget, of_retain)
    return largest(scores, fraction)


def likeliest(variables: Variables, problem: Problem) -> jax.Array:
    """Returns the retained class of largest mean probability on the forget set."""
    logits = predict_set(problem, variables, problem.forget)
    mean = jnp.mean(jax.nn.softmax(logits), 0).at[problem.forget_classes].set(-1.0)
    return jnp.argmax(mean).astype(jnp.int32)
