"""The one training loop: batches, step, epoch, fit.

An *objective* is `(variables, batch, key) -> (loss, variables)`: a scalar to minimise
over `variables["params"]` and the variables with their batch statistics updated. All
functions are pure: they jit, and they vmap over keys, variables, indices and floats.
"""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from unlearn import spread, stored
from unlearn.errors import InputError
from unlearn.optimizers import TRAINERS, schedule
from unlearn.problem import Batch, Examples, Model, Problem, Variables, count, rows

Objective = Callable[[Variables, Any, jax.Array], tuple[jax.Array, Variables]]


class State(NamedTuple):
    """What a training step changes."""

    variables: Variables
    opt_state: optax.OptState


class Rows(NamedTuple):
    """Index batches: what `epoch` scans over."""

    indices: jax.Array | np.ndarray  # int32[S, B]
    weights: jax.Array | np.ndarray  # float32[S, B]


# Batches


def batch_shape(size: int, batch_size: int) -> tuple[int, int]:
    """Returns (steps, batch size) of a pass over `size` examples."""
    batch_size = min(batch_size, size)
    return -(-size // batch_size), batch_size


def shuffle(
    key: jax.Array, indices: jax.Array, batch_size: int, steps: int | None = None
) -> Rows:
    """Draws random batches of `indices`.

    By default one pass: every example exactly once. A ragged last batch is filled from
    the head of the same permutation (so that batch statistics come from real examples)
    and the filling has weight 0. With `steps`, passes follow each other, each in a
    fresh order, until there are that many full batches.
    """
    size = len(indices)
    passes, (rounds, batch_size) = 1, batch_shape(size, batch_size)
    if steps is not None:
        rounds, passes = steps, -(-steps * batch_size // size)
    keys = jax.random.split(key, passes)
    orders = jax.vmap(jax.random.permutation, (0, None))(keys, indices).reshape(-1)
    total = rounds * batch_size
    order = jnp.concatenate([orders, orders[: max(0, total - len(orders))]])[:total]
    weights = (jnp.arange(total) < len(orders)).astype(jnp.float32)
    return Rows(order.reshape(rounds, batch_size), weights.reshape(rounds, batch_size))


def balanced(
    rows: Rows, problem: Problem, indices: jax.Array, power: float | jax.Array = 1.0
) -> Rows:
    """Weighs examples by (examples of the class)^-power; the mean weight is 1.

    With power 1 each class counts the same in all, with 0 each example.
    """
    counts = jnp.bincount(problem.labels[indices], length=problem.num_classes)
    of_class = jnp.maximum(counts, 1).astype(jnp.float32) ** -power
    of_class = of_class * len(indices) / jnp.sum(counts * of_class)
    weights = rows.weights * of_class[problem.labels[rows.indices]]
    return rows._replace(weights=weights)


def in_order(indices: jax.Array, batch_size: int) -> Rows:
    """Batches every example once, in the order given."""
    steps, batch_size = batch_shape(len(indices), batch_size)
    fill = steps * batch_size - len(indices)
    order = jnp.concatenate([indices, jnp.broadcast_to(indices[:1], (fill,))])
    weights = (jnp.arange(steps * batch_size) < len(indices)).astype(jnp.float32)
    return Rows(order.reshape(steps, batch_size), weights.reshape(steps, batch_size))


# Losses


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns the cross-entropy of each example, in nats: float32[B]."""
    return optax.softmax_cross_entropy_with_integer_labels(
        logits.astype(jnp.float32), labels
    )


def kl_divergence(
    teacher: jax.Array, student: jax.Array, temperature: float = 1.0
) -> jax.Array:
    """Returns T^2 KL(teacher || student) of each example's logits, in nats: [B]."""
    log_p = jax.nn.log_softmax(teacher.astype(jnp.float32) / temperature)
    log_q = jax.nn.log_softmax(student.astype(jnp.float32) / temperature)
    return temperature**2 * jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def classification(
    model: Model, *, train: bool = True, label_smoothing: float | jax.Array = 0.0
) -> Objective:
    """Makes an objective of the weighted mean cross-entropy; `train`: see `Model`.

    Of the probability of a label, `label_smoothing` goes to all classes in equal parts.
    """

    def objective(variables, batch, key):
        logits, variables = model.apply(variables, batch.inputs, train=train, key=key)
        losses = cross_entropy(logits, batch.labels)
        if isinstance(label_smoothing, jax.Array) or label_smoothing:
            even = -jax.nn.log_softmax(logits.astype(jnp.float32)).mean(-1)
            losses = (1 - label_smoothing) * losses + label_smoothing * even
        return jnp.mean(batch.weights * losses), variables

    return objective


# Steps


def descend(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: State,
    batch: Any,
    key: jax.Array,
    trainable: dict | None = None,
    parts: int = 1,
) -> tuple[State, jax.Array]:
    """Takes one gradient step.

    With `parts` the gradient of the batch is the mean of those of so many parts of it,
    one after another in the memory of one: the same but for rounding, and for batch
    statistics, which are a part's. For objectives that are means over examples.
    `trainable` is a tree of booleans like the parameters (scalars or full masks); where
    it is false, weights keep their bits whatever momentum and weight decay say. A leaf
    that is a Python or NumPy false as a whole costs no backward pass.
    """
    params = state.variables["params"]

    def loss_fn(params, variables, batch, key):
        if trainable is not None:
            params = jax.tree.map(_detach, trainable, params)
        return objective({**variables, "params": params}, batch, key)

    gradient_of = jax.value_and_grad(loss_fn, has_aux=True)
    if parts == 1:
        (loss, variables), gradient = gradient_of(params, state.variables, batch, key)
    else:

        def add(carry, part):
            variables, *total = carry
            (loss, variables), gradient = gradient_of(params, variables, *part)
            share = jax.tree.map(lambda x: x / parts, [loss, gradient])
            return (variables, *jax.tree.map(jnp.add, total, share)), None

        nothing = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
        each = in_parts(batch, parts), jax.random.split(key, parts)
        carry, _ = jax.lax.scan(add, (state.variables, *nothing), each)
        variables, loss, gradient = carry
    updates, opt_state = optimizer.update(gradient, state.opt_state, params)
    moved = optax.apply_updates(params, updates)
    if trainable is not None:
        moved = jax.tree.map(jnp.where, trainable, moved, params)
    return State({**variables, "params": moved}, opt_state), loss


def in_parts(batch: Batch, parts: int) -> Batch:
    """Splits a batch into parts of equal size, [parts, B / parts, ...].

    What is missing to that is examples again, of weight 0, and the other weights rise
    as if the parts were smaller. Of examples that follow each other, as on a device,
    every part gets some.
    """
    size = len(batch.labels)
    each = -(-size // parts)
    if each * parts > size:
        wanted = jnp.arange(each * parts, dtype=jnp.int32)
        batch = jax.tree.map(lambda x: x[wanted % size], batch)
        share = jnp.where(wanted < size, each * parts / size, 0)
        batch = batch._replace(weights=batch.weights * share)

    def cut(leaf):
        return leaf.reshape(each, parts, *leaf.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(cut, batch)


def _detach(trainable, weights):
    known = isinstance(trainable, bool | np.bool_ | np.ndarray)
    return (
        jax.lax.stop_gradient(weights) if known and not np.any(trainable) else weights
    )


def epoch(
    key: jax.Array,
    state: State,
    problem: Examples,
    rows: Rows | tuple[Rows, ...],
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    trainable: dict | None = None,
    parts: int = 1,
) -> tuple[State, jax.Array]:
    """Steps over the leading axis of `rows`; returns the state and float32[S] losses.

    `rows` is a `Rows` or a tuple of them of equal length; the objective then gets a
    `Batch` or a tuple of them.
    """

    def step(state, scanned):
        number, rows = scanned
        key_model, key_augment = jax.random.split(jax.random.fold_in(key, number))
        if isinstance(rows, Rows):
            batch = problem.batch(*rows, key=key_augment)
        else:
            keys = jax.random.split(key_augment, len(rows))
            batch = tuple(
                problem.batch(*r, key=k) for r, k in zip(rows, keys, strict=True)
            )
        more = trainable, parts
        return descend(objective, optimizer, state, batch, key_model, *more)

    if isinstance(problem, Problem):
        rows = expected(problem, rows)
    steps = len(jax.tree.leaves(rows)[0])
    return jax.lax.scan(step, state, (jnp.arange(steps, dtype=jnp.int32), rows))


def expected(problem: Problem, rows: Any) -> Any:
    """Returns `rows`, and has batches of them read ahead if they are in files."""
    if not isinstance(rows, Rows):
        return tuple(expected(problem, one) for one in rows)
    where = problem.preprocess, problem.examples
    return rows._replace(indices=stored.expecting(*where, rows.indices))


def shuffled_epoch(
    key: jax.Array,
    state: State,
    problem: Examples,
    indices: jax.Array,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    trainable: dict | None = None,
    balance: float | jax.Array = 0.0,
    parts: int = 1,
) -> tuple[State, jax.Array]:
    """Passes once over `indices` in a fresh order.

    `balance`: a power of `balanced`; `parts`: see `descend`.
    """
    key_order, key_steps = jax.random.split(key)
    rows = shuffle(key_order, indices, batch_size)
    if isinstance(balance, jax.Array) or balance:
        assert isinstance(problem, Problem)
        rows = balanced(rows, problem, indices, balance)
    args = key_steps, state, problem, rows, objective, optimizer
    return epoch(*args, trainable=trainable, parts=parts)


def start(variables: Variables, optimizer: optax.GradientTransformation) -> State:
    """Returns the state before the first step."""
    return State(variables, optimizer.init(variables["params"]))


def epoch_keys(key: jax.Array, epochs: int) -> jax.Array:
    """Makes a key an epoch, of `key` and its number: resumed runs draw the same."""
    return jax.vmap(jax.random.fold_in, (None, 0))(
        key, jnp.arange(epochs, dtype=jnp.int32)
    )


def fit(
    key: jax.Array,
    variables: Variables,
    problem: Examples,
    indices: jax.Array,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    epochs: int,
    batch_size: int,
    trainable: dict | None = None,
    balance: float | jax.Array = 0.0,
    parts: int = 1,
) -> tuple[Variables, jax.Array]:
    """Minimises `objective` over `epochs` shuffled passes; float32[E, S] losses."""

    def one(state, scanned):
        number, key_epoch = scanned
        seen = problem
        if isinstance(problem, Problem):
            seen = problem.in_epoch(key, number)
        args = key_epoch, state, seen, indices, objective, optimizer
        return shuffled_epoch(
            *args,
            batch_size=batch_size,
            trainable=trainable,
            balance=balance,
            parts=parts,
        )

    state = start(variables, optimizer)
    scanned = jnp.arange(epochs, dtype=jnp.int32), epoch_keys(key, epochs)
    state, losses = jax.lax.scan(one, state, scanned)
    return state.variables, losses


# The recipe that original and retrain share


class Recipe(NamedTuple):
    """How a model is trained from scratch; the floats may be traced."""

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.1  # the peak
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 1
    schedule: str = "cosine"
    balance: float = 0.0  # a power of `balanced`: with 1 each class counts the same
    parts: int = 1  # of a batch, one after another: for memory, see `descend`
    descent: str = "sgd"  # or "muon", see `optimizers`
    label_smoothing: float = 0.0

    def check(self, prefix: str = "") -> None:
        """Refuses rates that make no sense, and more warm-up than training.

        Raises:
          InputError: in one line; `prefix` is put before the name.
        """
        check_rates(self._asdict(), prefix)
        if self.warmup_epochs > self.epochs:
            raise InputError(
                f"{prefix}warmup_epochs is {self.warmup_epochs}, more than "
                f"{prefix}epochs, {self.epochs}: lower it, or train for longer"
            )
        if self.parts > self.batch_size:
            raise InputError(
                f"{prefix}parts is {self.parts}, more than the examples of a batch, "
                f"{prefix}batch_size={self.batch_size}: lower it"
            )

    def optimizer(self, examples: int) -> optax.GradientTransformation:
        """Makes the optimizer for a training set of that many examples."""
        steps, _ = batch_shape(examples, self.batch_size)
        rate = schedule(
            self.schedule,
            self.learning_rate,
            self.epochs * steps,
            self.warmup_epochs * steps,
        )
        make = TRAINERS[self.descent]
        return make(rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def objective(self, model: Model) -> Objective:
        """Makes the loss that is minimised."""
        return classification(model, label_smoothing=self.label_smoothing)


def check_rates(constants: Mapping[str, Any], prefix: str = "") -> None:
    """Refuses learning rates, momenta and weight decays that make no sense.

    Names may end in these words. Of traced numbers nothing can be said.

    Raises:
      InputError: the first of them; `prefix` is put before its name.
    """
    for name, value in constants.items():
        if not isinstance(value, numbers.Real):
            continue
        if name.endswith(("learning_rate", "weight_decay")):
            fits, wanted = 0 <= value < math.inf, "finite and at least 0"
        elif name.endswith("momentum"):
            fits, wanted = 0 <= value < 1, "at least 0 and below 1"
        else:
            continue
        if not fits:
            raise InputError(f"{prefix}{name} must be {wanted}; it is {value}")


def train(
    key: jax.Array,
    problem: Problem,
    indices: jax.Array,
    recipe: Recipe,
    epochs: int | None = None,
    examples: Examples | None = None,
) -> tuple[Variables, jax.Array]:
    """Trains from scratch on `indices`; returns (variables, losses float32[E, S]).

    With `epochs` it stops after so many, on the way that the whole training goes.
    Batches are those of `examples`, where they are not the problem's own.

    Raises:
      InputError: rates that make no sense (`check_rates`).
    """
    check_rates(recipe._asdict())
    key_init, key_fit = jax.random.split(key)
    variables = problem.model.init(key_init, problem.inputs(indices[:1]))
    return fit(
        key_fit,
        variables,
        problem if examples is None else examples,
        indices,
        recipe.objective(problem.model),
        recipe.optimizer(len(indices)),
        epochs=recipe.epochs if epochs is None else epochs,
        batch_size=recipe.batch_size,
        balance=recipe.balance,
        parts=recipe.parts,
    )


# Passes that change nothing


def predict(
    model: Model,
    variables: Variables,
    examples: Any,
    preprocess: Callable[[Any], Any],
    batch_size: int = 500,
    mesh: Mesh | None = None,
) -> jax.Array:
    """Returns logits float32[N, K] in evaluation mode.

    `examples` is a tree of arrays [N, ...] and `preprocess` makes inputs of its rows,
    as in a `Problem`; `mesh` is one's as well.
    """
    size, examples = count(examples), jax.tree.map(jnp.asarray, examples)
    steps, batch_size = batch_shape(size, batch_size)

    def one(chosen):
        chunk = spread.over_devices(rows(examples, chosen), mesh)
        return model.apply(variables, preprocess(chunk))[0]

    starts = batch_size * jnp.arange(steps, dtype=jnp.int32)
    places = starts[:, None] + jnp.arange(batch_size, dtype=jnp.int32)
    places = stored.expecting(preprocess, examples, jnp.minimum(places, size - 1))
    logits = jax.lax.map(one, places)
    return logits.reshape(steps * batch_size, -1)[:size].astype(jnp.float32)


def predict_set(
    problem: Problem, variables: Variables, indices: jax.Array, batch_size: int = 500
) -> jax.Array:
    """Returns logits float32[len(indices), K] of examples of the problem."""
    chosen, mesh = rows(problem.examples, indices), problem.mesh
    return predict(
        problem.model, variables, chosen, problem.preprocess, batch_size, mesh
    )
