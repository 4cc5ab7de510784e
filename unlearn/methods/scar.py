"""SCAR: forgotten features move to another class's; answers to surrogates stay.

    mu_k, S_k = mean and covariance of t(phi_0(x)), x of r and of class k
    d_k(x) = z' S_k^-1 z,   z = unit(t(phi(x))) - unit(mu_k)
    y*(x)  = argmin_{k != y} d_k(x),  with the original's phi
    minimise  l_f E_f[a_y d_{y*(x)}(x)] + l_s E_s[KL(f_0(s) / T || f(s))]

phi is the input of the head, t(v) = sign(v) |v|^delta. Of the retain set only mu and S
are used, in evaluation mode; what keeps the model is distillation on surrogate inputs
s, which need not be of the data. Each S_k is shrunk twice, by g times its mean variance
on the diagonal and g' times its mean covariance beside it, and scaled to a correlation.
Forgetting a class, the original's logit of it is the smallest there is, and surrogates
that the original takes for it are left out; of a random request a_y is the accuracy on
forgotten examples of the class, or 0 below .8. An epoch is a pass over f; each forget
batch meets `surrogate_steps` batches of surrogates, one step each. Training ends with
the first epoch but two after which the accuracy on f is at most `target_accuracy`: .01
for a class; for random forgetting give the original's accuracy on unseen data.

Bonato et al., "Is Retain Set All You Need in Machine Unlearning? Restoring Performance
of Unlearned Models with Out-Of-Distribution Images", ECCV 2024,
https://arxiv.org/abs/2404.12922. Constants of the released code: l_f 1, l_s 5, T 1,
delta .5, g and g' 3, Adam 5e-4, batch 1,024, 30 epochs at most; its surrogates are
10,000 images of ImageNet, or standard normal noise, which is what is drawn here unless
others are given. That code counts classes without the forgotten ones and compares them
with labels that count them, keeps y* by the place in a shuffled batch, and finds the
accuracy after every step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.duck import unit
from unlearn.methods.noise import WithNoise
from unlearn.methods.registry import method
from unlearn.optimizers import adam
from unlearn.problem import Problem, Variables
from unlearn.surgery import feature_model, features
from unlearn.training import (
    batch_shape,
    epoch,
    epoch_keys,
    in_order,
    kl_divergence,
    predict,
    predict_set,
    shuffle,
    start,
)

SURE = 0.8  # accuracy on a class's forgotten examples, from which they are moved
LEAST_EPOCHS = 2
TINY = 1e-4  # the power has no slope at 0, where activations are


class Classes(NamedTuple):
    """Where the retained examples of each class lie."""

    means: jax.Array  # float32[K, D], of length 1
    inverses: jax.Array  # float32[K, D, D]
    there: jax.Array  # bool[K]: two examples or more, as a covariance needs

    def distances(self, embeddings: jax.Array, delta: float | jax.Array) -> jax.Array:
        """Returns d_k of embeddings [B, D] that are not yet t's: float32[B, K]."""
        away = unit(power(embeddings, delta))[:, None] - self.means
        return jnp.einsum("bkd,kde,bke->bk", away, self.inverses, away)


def power(values: jax.Array, delta: float | jax.Array) -> jax.Array:
    """Returns sign(v) |v|^delta, of a finite slope at 0."""
    return jnp.sign(values) * ((jnp.abs(values) + TINY) ** delta - TINY**delta)


def classes_of(
    variables: Variables,
    problem: Problem,
    *,
    delta: float | jax.Array,
    shrinkage: float | jax.Array,
    between: float | jax.Array,
) -> Classes:
    """Returns mu and S^-1 of each class's retained examples, see above."""
    below = problem.replace(model=feature_model(problem.model))
    values = power(predict_set(below, variables, problem.retain), delta)
    labels = problem.labels[problem.retain]
    count = problem.num_classes
    sizes = jnp.zeros(count, jnp.float32).at[labels].add(1)
    sums = jnp.zeros((count, values.shape[1]), jnp.float32).at[labels].add(values)
    means = sums / jnp.maximum(sizes, 1)[:, None]

    def add(total, row):
        away = (values[row.indices] - means[labels[row.indices]]) * row.weights[:, None]
        outer = away[:, :, None] * away[:, None]
        return total.at[labels[row.indices]].add(outer), None

    places = jnp.arange(len(labels), dtype=jnp.int32)
    none = jnp.zeros((*means.shape, means.shape[1]), jnp.float32)
    squares, _ = jax.lax.scan(add, none, in_order(places, 32))
    covariances = squares / jnp.maximum(sizes - 1, 1)[:, None, None]
    return Classes(
        unit(means),
        # Not a batch: those of two devices of a CPU can wait for each other for ever.
        jax.lax.map(lambda s: inverse(s, shrinkage, between), covariances),
        sizes > 1,
    )


def inverse(
    covariance: jax.Array, shrinkage: float | jax.Array, between: float | jax.Array
) -> jax.Array:
    """Shrinks a covariance [D, D] twice, scales it to a correlation and inverts it."""
    same = jnp.eye(len(covariance), dtype=covariance.dtype)
    for _ in range(2):
        variance = jnp.mean(jnp.diagonal(covariance))
        others = covariance * (1 - same)
        mean = jnp.sum(others) / jnp.maximum(jnp.sum(others != 0), 1)
        covariance += shrinkage * variance * same + between * mean * (1 - same)
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 1e-12))
    return jnp.linalg.pinv(covariance / jnp.outer(scale, scale), hermitian=True)


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2404.12922",
    differs="surrogates are noise unless given; an example's own target; the accuracy "
    "is found once an epoch",
    search={"learning_rate": (1e-5, 1e-2), "surrogate_weight": (0.1, 100.0)},
    inputs="continuous",
)
def scar(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 5e-4,
    epochs: int = 30,
    forget_weight: float = 1.0,
    surrogate_weight: float = 5.0,
    temperature: float = 1.0,
    delta: float = 0.5,
    shrinkage: float = 3.0,
    between: float = 3.0,
    target_accuracy: float = 0.01,
    surrogates: int = 2000,
    surrogate_steps: int = 6,
    batch_size: int = 1024,
    forget_batch_size: int = 1024,
    surrogate: Any = None,
) -> tuple[Variables, dict]:
    """Moves the forget features to other classes', and distils on surrogates.

    Args:
      surrogate: float32[M, ...], what the model is applied to (standardised images);
        None: `surrogates` of standard normal noise.

    Returns `info` with `loss` (float32[epochs, steps]) and `forget_accuracy`
    (float32[epochs]), both repeated after the end, the number of `epochs` that ran, and
    the class aimed at for each forget example, `targets` (int32[F]; K: none).

    Raises:
      InputError: the model has no `activations`; surrogates of another shape.
    """
    key_noise, key_epochs = jax.random.split(key)
    model = problem.model
    shape = problem.input_spec.continuous_shape()
    if surrogate is None:
        surrogate = jax.random.normal(key_noise, (surrogates, *shape), jnp.float32)
    if surrogate.shape[1:] != shape:
        raise InputError(
            f"surrogates are {list(surrogate.shape[1:])} each, and the model takes "
            f"{list(shape)}: give what it is applied to"
        )
    answers, usable = taught(variables, problem, surrogate)
    classes = classes_of(
        variables, problem, delta=delta, shrinkage=shrinkage, between=between
    )
    below = problem.replace(model=feature_model(model))
    far = classes.distances(predict_set(below, variables, problem.forget), delta)
    own = problem.labels[problem.forget]
    barred = ~classes.there | jax.nn.one_hot(own, problem.num_classes, dtype=bool)
    targets = jnp.argmin(jnp.where(barred, jnp.inf, far), -1)
    targets = jnp.where(barred.all(-1), problem.num_classes, targets).astype(jnp.int32)
    aims = jnp.zeros_like(problem.labels).at[problem.forget].set(targets)
    paired = WithNoise(
        problem.replace(labels=jnp.arange(len(problem.labels), dtype=jnp.int32)),
        surrogate,
        jnp.arange(len(surrogate), dtype=jnp.int32),
    )
    optimizer = adam(learning_rate)

    def objective(variables, batches, key, sure):
        forget, kept = batches  # their labels are numbers of rows
        key_forget, key_kept = jax.random.split(key)
        embeddings, _, variables = features(
            model, variables, forget.inputs, train=True, key=key_forget
        )
        logits, variables = model.apply(
            variables, kept.inputs, train=True, key=key_kept
        )
        chosen = jax.nn.one_hot(aims[forget.labels], problem.num_classes)
        pull = jnp.sum(chosen * classes.distances(embeddings, delta), -1)
        weights = forget.weights * sure[problem.labels[forget.labels]]
        weight = kept.weights * usable[kept.labels]
        divergence = kl_divergence(answers[kept.labels] / temperature, logits)
        keep = jnp.sum(weight * divergence) / jnp.maximum(jnp.sum(weight), 1)
        return (
            forget_weight * jnp.mean(weights * pull) + surrogate_weight * keep,
            variables,
        )

    steps = batch_shape(len(problem.forget), forget_batch_size)[0] * surrogate_steps

    def train(key, state, sure):
        key_forget, key_kept, key_steps = jax.random.split(key, 3)
        forget = shuffle(key_forget, problem.forget, forget_batch_size)
        forget = jax.tree.map(lambda x: jnp.repeat(x, surrogate_steps, axis=0), forget)
        kept = shuffle(key_kept, paired.indices, batch_size, steps)

        def aimed(variables, batches, key):
            return objective(variables, batches, key, sure)

        state, losses = epoch(
            key_steps, state, paired, (forget, kept), aimed, optimizer
        )
        logits = predict_set(problem, state.variables, problem.forget)
        right = (jnp.argmax(logits, -1) == own).astype(jnp.float32)
        return state, losses.astype(jnp.float32), right

    def one(carry, scanned):
        number, key = scanned
        state, _, right = carry
        ended = (jnp.mean(right) <= target_accuracy) & (number > LEAST_EPOCHS)
        sure = jnp.where(number > 0, sureness(problem, right), 1.0)
        carry = jax.lax.cond(ended, lambda: carry, lambda: train(key, state, sure))
        return carry, (carry[1], jnp.mean(carry[2]), ended)

    state = start(variables, optimizer)
    carry = state, jnp.zeros(steps, jnp.float32), jnp.ones(len(own), jnp.float32)
    scanned = jnp.arange(epochs, dtype=jnp.int32), epoch_keys(key_epochs, epochs)
    (state, _, _), (losses, accuracies, ended) = jax.lax.scan(one, carry, scanned)
    return state.variables, {
        "loss": losses,
        "forget_accuracy": accuracies,
        "epochs": jnp.sum(~ended, dtype=jnp.int32),
        "targets": targets,
    }


def taught(
    variables: Variables, problem: Problem, surrogate: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the original's answers to surrogates, and which of them are used.

    float32[M, K] and float32[M], see above.
    """
    answers = predict(problem.model, variables, surrogate, lambda rows: rows)
    gone = problem.forget_classes
    if not gone.size:
        return answers, jnp.ones(len(answers), jnp.float32)
    usable = ~jnp.isin(jnp.argmax(answers, -1), gone)
    least = jnp.min(jnp.where(usable[:, None], answers, jnp.inf))
    forgotten = jnp.isin(jnp.arange(answers.shape[1]), gone)
    answers = jnp.where(forgotten & usable[:, None], least, answers)
    return answers, usable.astype(jnp.float32)


def sureness(problem: Problem, right: jax.Array) -> jax.Array:
    """Returns a_y for every class, of which forgotten examples are right: [K]."""
    if problem.forget_classes.size:
        return jnp.ones(problem.num_classes, jnp.float32)
    own = problem.labels[problem.forget]
    none = jnp.zeros(problem.num_classes, jnp.float32)
    accuracy = none.at[own].add(right) / jnp.maximum(none.at[own].add(1), 1)
    return jnp.where(accuracy < SURE, 0.0, accuracy)
