"""Shadow models of a problem: what the attacks on single examples compare.

    shadows = train_shadows(key, problem, recipe, models=48)
    margins = shadow_margins(key, shadows, "finetune", epochs=3)
    unseen = shadow_margins(key, shadows, "finetune", of=test, epochs=3)
    attacks = attack_all(margins, shadows.states, unseen)
    attacks[strongest(attacks)].auc, set_level(margins, shadows.states)

with `attack_all` and `strongest` of `metrics.strongest`, and `metrics.set_level`. An
attack asks of each target example whether an unlearned model has ever seen it. Every
target is, at random, never seen by a third of the models (OUT), kept by a third
(RETAIN) and to be forgotten by a third (FORGET). The *original* (nothing was done) must
be seen through: if it is not, the examples leave no trace and nothing can be shown; the
models *retrained* must not be, and say what chance finds. Mislabelled examples leave
the deepest trace. In memory and without a run's folder; `unlearn.audit` does the same,
and more, for the runs of the pipeline.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn import methods, parallel, training
from unlearn.errors import InputError
from unlearn.forget_sets import check_forget_indices
from unlearn.metrics import lira, roc
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.problem import Problem, Variables, rows, withhold

LEAST = 9  # models: three of each state, which the attacks need


class Shadows(NamedTuple):
    """S models of one problem, and what each of them is requested to forget."""

    problem: Problem
    recipe: training.Recipe
    targets: np.ndarray  # int[T], indices into the examples
    states: np.ndarray  # int[S, T]: OUT, RETAIN or FORGET
    forget: np.ndarray  # int32[S, T / 3]
    retain: np.ndarray  # int32[S, R]: a third of the targets, and all other examples
    variables: Variables  # of the originals, on the host: [S, ...] each
    early: dict[int, Variables]  # the same after so many epochs


def train_shadows(
    key: jax.Array,
    problem: Problem,
    recipe: training.Recipe,
    *,
    models: int = 48,
    targets: ArrayLike | None = None,
    early: Sequence[int] = (),
) -> Shadows:
    """Draws the states of the targets and trains the originals on RETAIN and FORGET.

    Args:
      key: of the states and of the training.
      problem: its forget and retain set are replaced.
      recipe: how each model is trained.
      models: S, at least 9; of every three each target has each state once.
      targets: int[T], T divisible by 3; default: the problem's forget set.
      early: epochs of the training whose weights are kept too, for methods that
        rewind; each is that part of the training once more.

    Raises:
      InputError: too few models, targets that are not examples or not divisible by 3;
        an early epoch that the recipe does not have.
    """
    if models < LEAST:
        raise InputError(f"models must be at least {LEAST}; it is {models}")
    for epoch in early:
        if not 0 <= epoch <= recipe.epochs:
            raise InputError(
                f"early must have epochs from 0 to {recipe.epochs}, those of the "
                f"recipe; it has {epoch}"
            )
    size = len(problem.labels)
    targets = check_forget_indices(
        np.asarray(problem.forget if targets is None else targets), size
    )
    if spare := len(targets) % 3:
        advice = f"leave out {spare}" if len(targets) > 3 else f"add {3 - spare}"
        raise InputError(
            f"the targets must be divisible by 3, a third for each state; there are "
            f"{len(targets)}: {advice}"
        )
    key_states, key_train = jax.random.split(key)
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key_states)))
    states = balanced_states(draw, models, len(targets))
    others = np.setdiff1d(np.arange(size), targets)
    forget = np.stack([targets[row == FORGET] for row in states])
    kept = [np.concatenate([targets[row == RETAIN], others]) for row in states]
    problem = problem.replace(forget_classes=jnp.zeros(0, jnp.int32))
    shadows = Shadows(
        problem,
        recipe,
        targets,
        states,
        forget.astype(np.int32),
        np.stack(kept).astype(np.int32),
        {},
        {},
    )
    indices = np.concatenate([shadows.forget, shadows.retain], axis=1)
    keys = jax.random.split(key_train, models)
    models = keys, indices
    variables, _ = parallel.map_models(trainer(recipe), models, problem)
    kept_early = {
        epoch: parallel.map_models(trainer(recipe, epoch), models, problem)[0]
        for epoch in early
    }
    return shadows._replace(variables=variables, early=kept_early)


def shadow_margins(
    key: jax.Array,
    shadows: Shadows,
    name: str,
    *,
    of: tuple[Any, ArrayLike] | None = None,
    **constants: Any,
) -> np.ndarray:
    """Answers every model's request and returns the margins of the targets after it.

    Args:
      key: of the method; every model has one of its own.
      name: of a method, or `original`: nothing is done. `retrain` follows the recipe of
        the originals unless constants are given.
      of: examples and labels int[Z] whose margins are returned instead: unseen ones,
        such as a test set, are the population of RMIA. With the same key and constants
        it is the same models that answer.
      constants: keyword arguments of the method.

    Returns: float32[S, T] or [S, Z], the logit-scaled confidence in the label of each
      target (`metrics.lira.margins`), for `metrics.lira.u_lira` and the other attacks.

    Raises:
      InputError: an unknown method, or one that cannot take the problem.
    """
    if name != "original" and name not in methods.METHODS:
        raise InputError(
            f"unknown method {name!r}: original, {', '.join(methods.METHODS)}"
        )
    if name != "original" and methods.METHODS[name].scope == "class":
        raise InputError(
            f"{name} forgets whole classes, and shadow models forget single examples: "
            "choose another method"
        )
    if name in methods.METHODS and "early" in methods.METHODS[name].needs:
        epoch = constants.get("epoch", method_default(name, "epoch"))
        epochs = methods.METHODS[name].early_epochs({"epoch": epoch})
        missing = [one for one in epochs if one not in shadows.early]
        if missing:
            raise InputError(
                f"{name} needs the originals after epoch {missing[0]}, and these "
                f"shadow models keep {sorted(shadows.early) or 'none'}: train them "
                f"with early={epochs}, or choose another epoch"
            )
    if name == "retrain":
        constants = shadows.recipe._asdict() | constants
    fn = _answerer(name, tuple(sorted(constants.items())))
    problem, targets = shadows.problem, shadows.targets
    keys = jax.random.split(key, len(shadows.states))
    if of is None:
        of = rows(problem.examples, targets), problem.labels[targets]
    margins, _ = parallel.map_models(
        fn,
        (keys, shadows.variables, shadows.forget, shadows.retain, shadows.early),
        problem,
        of[0],
        jnp.asarray(of[1]),
    )
    return margins


def attacked(
    shadows: Shadows,
    margins: np.ndarray,
    attack: Callable[[np.ndarray, np.ndarray], np.ndarray] = lira.u_lira,
    **options: Any,
) -> roc.Audit:
    """Attacks by one attack: forgotten or never seen? `auc` is 0.5 for a guess.

    No single attack is always the strongest: see `metrics.strongest`.

    Args:
      margins: float[S, T], of `shadow_margins`.
      attack: `(margins, states) -> scores`.
      options: of `metrics.roc.evaluate`.
    """
    states = shadows.states
    scores = attack(np.asarray(margins, np.float64), states)
    return roc.evaluate(scores, states == FORGET, states == OUT, **options)


def balanced_states(
    draw: np.random.Generator,
    models: int,
    targets: int,
    roles: Sequence[int] = (OUT, RETAIN, FORGET),
) -> np.ndarray:
    """Draws int[models, targets], the state of each target in each model.

    Of as many models as there are `roles` each target has each role once; every model
    has an equal part of the targets in each.

    With states drawn independently, examples that are easier to be called members may
    be so more often, which attacks would take for a leak.
    """
    kinds, states = np.array(roles), []
    for _ in range(-(-models // len(kinds))):
        first = draw.permutation(np.arange(targets) % len(kinds))
        states += [kinds[(first + shift) % len(kinds)] for shift in range(len(kinds))]
    return np.stack(states[:models])


def measure(
    problem: Problem, variables: Variables, examples: Any, labels: jax.Array
) -> dict[str, jax.Array]:
    """Computes margins float32[M] and predictions int32[M] of one model."""
    logits = training.predict(problem.model, variables, examples, problem.preprocess)
    own = labels[:, None] == jnp.arange(logits.shape[-1])
    others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)
    margins = jnp.sum(jnp.where(own, logits, 0), axis=-1) - others
    return {"margins": margins, "predictions": jnp.argmax(logits, axis=-1)}


@functools.lru_cache(maxsize=16)
def trainer(recipe: training.Recipe, epochs: int | None = None) -> Callable:
    """Returns `((key, indices), problem) -> variables`, trained from scratch.

    With `epochs` it stops after so many of the recipe's. The same arguments give the
    same function, so that what was compiled is found again.
    """

    def train(model, problem):
        key, indices = model
        return training.train(key, problem, indices, recipe, epochs)[0]

    return train


@functools.lru_cache(maxsize=16)
def measured_trainer(recipe: training.Recipe, epochs: int | None = None) -> Callable:
    """Returns what trains a model from scratch and measures it.

    `((key, indices), problem, examples, labels) -> dict`: what `measure` returns, and
    the `variables`. With `epochs` it stops after so many of the recipe's.
    """

    train_alone = trainer(recipe, epochs)

    def train(model, problem, examples, labels):
        variables = train_alone(model, problem)
        return {"variables": variables} | measure(problem, variables, examples, labels)

    return train


def method_default(name: str, option: str) -> Any:
    """Returns the default of a method's constant."""
    return inspect.signature(methods.METHODS[name].fn).parameters[option].default


@functools.lru_cache(maxsize=64)
def _answerer(name: str, constants: tuple) -> Callable:
    def answer(model, problem, examples, labels):
        key, variables, forget, retain, early = model
        if name != "original":
            info = methods.METHODS[name]
            seen = problem.replace(forget=forget, retain=retain, early=early)
            seen = withhold(seen, info.needs)
            variables, _ = info.fn(key, variables, seen, **dict(constants))
        return measure(problem, variables, examples, labels)["margins"]

    return answer
