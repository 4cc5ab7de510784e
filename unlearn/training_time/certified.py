"""Certified removal: Newton steps on a convex head, hidden by noise in its objective.

    L_b(w; D) = sum_i log(1 + exp(-y_i w.x_i)) + (l2 n / 2) |w|^2 + b.w,  b ~ N(0, s^2)
    removal of U from D:  w += H^-1 Delta,  H = Hessian of L_b(w; D - U),
                          Delta = gradient of the terms of U at w
    residual |grad L_b(w; D - U)| grows by at most  gamma / 2 |X|_2 |s| |X s|
    for s = H^-1 Delta; for a step s by a Hessian G at other weights v, by at most
                          |G s - Delta| + gamma |X|_2 (|w - v| + |s| / 2) |X s|
    (epsilon, delta) holds while the residual stays within  s epsilon / c,
                          c = sqrt(2 log(1.5 / delta))

Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020,
https://arxiv.org/abs/1911.03030: theorem 3 and the data-dependent bound for batches;
the rows of X have at most norm 1. There gamma is 1/4 and not halved; here it is the
largest change of the curvature of the logistic loss, 1 / (6 sqrt(3)), and the mean of
that along the step. One head a class against the rest, as in the paper; the heads share
one Gaussian mechanism: b and the residual are those of all heads together, so the
bounds of the heads add up as a root of squares and (epsilon, delta) is for the model.
The solver's own residual, b included, is the first entry in the budget. Where a removal
would pass the budget, the heads are solved on, from where they are and with the noise
that they have, and the budget is whole again; or, with `past_budget="refuse"`, the
removal is refused. Not with new noise: whether the budget is spent depends on b, and
the theorem is of noise that was not chosen by what it led to (a refusal tells of it as
well). The Gaussian mechanism is proven for epsilon <= 1.

What is certified: the mechanism above, for requests that do not depend on the noise,
which stays secret: publish the weights (`for_serving`), not the state. The noise is
that of a key, a counter of fits, the training set and the constants, so that none comes
twice: the key must be secret and used for nothing else. In operation leave it out
(`fit(None, ...)`) or take `secret_key()`; experiments that must be repeatable derive it
from a seed, and whoever knows the seed knows the noise.
Not covered: whoever saw the version before. The two together tell what was removed; the
certificate is for those who see only the later one.
The features must not depend on what is removed: `variables` is a frozen extractor,
trained on data that nobody can ask to have erased. Features of a net that was trained
on these very examples remember them, and the certificate then covers the head only.
Without `variables` the features are the standardised pixels, each image scaled to norm
1, and it covers the whole classifier, its mean and standard deviation being constants.

In float64 on the host (`logistic`): float32 would swamp the bounds. X^T X is kept and
what is removed is subtracted from it. |X|_2 is that of the last fit: a removal only
makes it smaller, and its exact value costs more than all else. `prepare` makes many
removals one after another cheaper.
"""

import dataclasses
import functools
import hashlib
import json
import math
import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from unlearn import surgery
from unlearn.errors import InputError
from unlearn.problem import Model, Problem, Variables
from unlearn.training_time import common, logistic

LIPSCHITZ = 1 / (6 * math.sqrt(3))
"""Of the second derivative of the logistic loss: the largest value of its third."""


WIDEST = 20_000  # features: 3.2 GB a head

NEARLY = 1e-3
"""Of the budget: what heads that are solved on may leave of it, each."""


class Settings(NamedTuple):
    """The constants of `fit` that `forget` needs."""

    epsilon: float
    delta: float
    sigma: float
    l2: float
    past_budget: str


class Head(NamedTuple):
    """Linear classifiers, one a class against the rest."""

    weights: np.ndarray  # float64[K, D]
    noise: np.ndarray  # float64[K, D]: b
    bounds: np.ndarray  # float64[K]: the residual of each head is no larger
    gram: np.ndarray  # float64[D, D]: X^T X of the active examples
    spectral: np.ndarray  # float64[1]: |X|_2 is no larger


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "bits",
        "features",
        "variables",
        "active",
        "key_bits",
        "fits",
        "kept",
        "problem",
    ],
    meta_fields=["settings"],
)
@dataclasses.dataclass(frozen=True)
class State:
    """A model fitted, with what is left of its budget."""

    bits: Head  # its float64 as pairs of uint32: nothing on its way can round them
    features: np.ndarray | None  # float32[N, D]; rows of removed examples are 0
    variables: dict | None  # the frozen extractor
    active: np.ndarray  # bool[N]: in the training set
    key_bits: np.ndarray | None  # uint32[.]: of the noise, secret
    fits: np.ndarray  # int32[]: how often the heads were fitted
    kept: logistic.Kept | None  # of `prepare`; not saved
    problem: Problem
    settings: Settings

    @property
    def head(self) -> Head:
        return Head(*(np.asarray(x).view(np.float64) for x in self.bits))


def secret_key() -> jax.Array:
    """Draws a key of 128 bits that nobody can guess, from the operating system."""
    bits = np.frombuffer(os.urandom(16), np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(bits), impl="rbg")


def fit(
    key: jax.Array | None,
    problem: Problem,
    *,
    indices: ArrayLike | None = None,
    variables: Variables | None = None,
    epsilon: float = 1.0,
    delta: float = 1e-4,
    sigma: float = 1.0,
    l2: float = 1e-2,
    past_budget: str = "retrain",
) -> State:
    """Fits the heads on frozen features, with a random linear term in the objective.

    Args:
      key: of the noise; it must be secret. None: `secret_key()`.
      problem: its examples, less `forget` and the like.
      indices: of the examples to train on; default: all.
      variables: of the frozen extractor; default: the features are the inputs.
      epsilon, delta: of the certificate.
      sigma: standard deviation of the noise.
      l2: the penalty, an example.
      past_budget: "retrain" or "refuse": what happens past the budget.

    Raises:
      InputError: constants out of range, inputs that are not floats, or a model that
        has no `activations`.
    """
    constants = map(float, (epsilon, delta, sigma, l2))
    settings = Settings(*constants, past_budget)
    check_settings(settings)
    problem, active = common.training_set(problem, indices)
    check_inputs(problem, variables)
    features = extract(problem, variables, problem.examples)
    features = np.where(active[:, None], features, 0)
    check_width(features)
    state = State(
        to_bits(*np.zeros((3, 0, 0)), logistic.gram(features), np.zeros(1)),
        features,
        variables,
        active,
        common.key_bits(secret_key() if key is None else key),
        np.zeros((), np.int32),
        None,
        problem,
        settings,
    )
    return train(state)


def check_settings(settings: Settings) -> None:
    """Refuses constants that make no sense.

    Raises:
      InputError: in one line.
    """
    epsilon, delta, sigma, l2, past_budget = settings
    if not 0 < epsilon <= 1:
        raise InputError(f"epsilon must lie in (0, 1]; it is {epsilon}")
    if not 0 < delta < 1:
        raise InputError(f"delta must lie in (0, 1); it is {delta}")
    if not (0 < sigma < math.inf and 0 < l2 < math.inf):
        raise InputError(
            f"sigma and l2 must be positive and finite; they are {sigma} and {l2}"
        )
    if past_budget not in ("refuse", "retrain"):
        raise InputError(f"unknown past_budget {past_budget!r}: refuse, retrain")


def check_width(features: np.ndarray) -> None:
    """Refuses more features than a head can have a Hessian of.

    Raises:
      InputError: in one line.
    """
    width = features.shape[1]
    if width > WIDEST:
        raise InputError(
            f"{width:,} features need {8 * width**2 / 1e9:.0f} GB a head: give a net "
            "that makes fewer (variables, or model.weights), or smaller images"
        )


def forget(key: Any, state: State, indices: ArrayLike) -> tuple[State, dict]:
    """Takes a Newton step a head, for all of `indices` at once.

    `info`: the accumulated `residual_bound`, the `budget` it must not pass, the share
    of it that is `spent`, and whether the heads were solved on (`retrained`). `key` is
    unused: the noise is that of the fit.

    Raises:
      InputError: see `common.check_request`; the state is `for_serving`; or the removal
        would pass the budget.
    """
    del key
    if state.features is None:
        raise InputError(
            "this state is for serving: it predicts and cannot forget; use the state "
            "that it was made of"
        )
    indices = common.check_request(state.active, indices)
    settings, allowed = state.settings, budget(state.settings)
    state, removed = without(state, indices)
    moved = step(state, removed)
    passed = not total(moved) <= allowed  # a bound that is no number is none
    if passed and settings.past_budget == "refuse":
        raise InputError(
            f"this removal takes the residual to {total(moved):.3g}, past the budget "
            f"of {allowed:.3g} for epsilon {settings.epsilon:g}: train again without "
            'these examples, or fit with past_budget="retrain"'
        )
    state = solve(moved, moved.head.noise, NEARLY * allowed) if passed else moved
    bound = total(state)
    info = {
        "residual_bound": np.float64(bound),
        "budget": np.float64(allowed),
        "spent": np.float64(bound / allowed),
        "retrained": np.bool_(passed),
    }
    return state, info


def prepare(state: State) -> State:
    """Returns a state that forgets faster, for many requests one after another.

    It keeps each head's Hessian, unless these are too large: a removal then reads no
    features, where it would read all fifteen times or so, and the bounds grow faster,
    the farther the heads have come from where they were; when they are solved on the
    Hessians are made anew. These are of the heads as they are now, which are kept with
    them, and float64 on the host: a state that is stored must not have them
    (`unlearn.requests.states` leaves them out), nor one that goes through `jit`.
    """
    kept = logistic.keep_hessians(state.head.weights, objective(state))
    return dataclasses.replace(state, kept=kept)


def predict(state: State, examples: Any) -> jax.Array:
    """Returns the scores of the heads: float32[N, K]."""
    features = extract(state.problem, state.variables, examples)
    return jnp.asarray(features @ state.head.weights.T, jnp.float32)


def for_serving(state: State) -> State:
    """Returns the state less noise, key and features: it predicts, cannot forget."""
    bits = to_bits(state.head.weights, *np.zeros((4, 0, 0)))
    return dataclasses.replace(
        state, bits=bits, features=None, key_bits=None, kept=None
    )


def budget(settings: Settings) -> float:
    """Returns the largest residual that the noise hides."""
    return settings.sigma * settings.epsilon / np.sqrt(2 * np.log(1.5 / settings.delta))


# The heads


def without(state: State, indices: np.ndarray) -> tuple[State, logistic.Objective]:
    """Returns the state less examples, its heads as they are, and their terms."""
    settings, features = state.settings, np.array(state.features)
    active, head = np.array(state.active), state.head
    removed = features[indices]
    own = removed.astype(np.float64)
    features[indices], active[indices] = 0, False
    terms = logistic.Objective(
        removed,
        np.asarray(state.problem.labels)[indices],
        own.T @ own,
        settings.l2 * len(indices),
    )
    bits = to_bits(*head._replace(gram=head.gram - terms.gram))
    state = dataclasses.replace(state, bits=bits, features=features, active=active)
    kept = logistic.take_out(state.kept, objective(state), removed, terms.l2)
    return dataclasses.replace(state, kept=kept), terms


def step(state: State, removed: logistic.Objective) -> State:
    """Takes a Newton step against the terms removed, and adds to the bounds."""
    head, kept = state.head, state.kept
    right = logistic.gradients(head.weights, removed)
    if kept is None:
        steps, missed = logistic.newton_steps(head.weights, objective(state), right)
        apart = np.zeros(len(steps))
    else:
        steps, missed = logistic.kept_steps(kept, right)
        apart = np.linalg.norm(head.weights - kept.fitted, axis=1)
    along = logistic.lengths(head.gram, head.spectral.item(), steps)
    apart += np.linalg.norm(steps, axis=1) / 2
    bounds = head.bounds + missed + LIPSCHITZ * head.spectral * apart * along
    head = head._replace(weights=head.weights + steps, bounds=bounds)
    return dataclasses.replace(state, bits=to_bits(*head))


def total(state: State) -> float:
    """Returns the bound on the residual of all heads together."""
    return float(np.linalg.norm(state.head.bounds))


def objective(state: State, noise: np.ndarray | float = 0.0) -> logistic.Objective:
    """Returns the objective of the active examples."""
    return logistic.Objective(
        np.asarray(state.features),
        np.asarray(state.problem.labels),
        state.head.gram,
        state.settings.l2 * np.sum(state.active),
        noise,
    )


def train(state: State) -> State:
    """Fits heads to the active examples with fresh noise."""
    classes, size = state.problem.num_classes, len(state.head.gram)
    fits = np.array(state.fits + 1, np.int32)
    nothing = state.head._replace(weights=np.zeros((classes, size)))
    state = dataclasses.replace(state, bits=to_bits(*nothing))
    solved = solve(state, draw_noise(state, (classes, size)))
    return dataclasses.replace(solved, fits=fits)


def solve(state: State, noise: np.ndarray, tolerance: float = 1e-10) -> State:
    """Solves the heads on the active examples; the bounds start anew.

    `tolerance` is of the length of each head's gradient.

    Raises:
      InputError: what the solver leaves is past the budget.
    """
    head, allowed = state.head, budget(state.settings)
    weights, bounds = logistic.solve(objective(state, noise), head.weights, tolerance)
    own = np.linalg.norm(bounds)
    if not own <= allowed:
        raise InputError(
            f"the fit stops at a residual of {own:.3g}, which alone is past the budget "
            f"of {allowed:.3g}: take a larger sigma or l2"
        )
    spectral = np.array([logistic.spectral_norm(head.gram)])
    bits = to_bits(weights, noise, bounds, head.gram, spectral)
    state = dataclasses.replace(state, bits=bits)
    return state if state.kept is None else prepare(state)


def draw_noise(state: State, shape: tuple[int, ...]) -> np.ndarray:
    """Draws a fit's noise: another for each key, fit, data set and constants."""
    assert state.key_bits is not None
    purpose = json.dumps(
        [np.asarray(state.key_bits).tolist(), int(state.fits), *state.settings[:4]]
    )
    who = np.packbits(np.asarray(state.active)).tobytes()
    data = hashlib.sha256(np.ascontiguousarray(state.features).data)
    data.update(np.asarray(state.problem.labels, np.int64)[state.active].tobytes())
    seed = purpose.encode() + who + data.digest()
    return state.settings.sigma * normals(seed, shape)


def normals(seed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Draws standard normals from SHAKE-256: from some, the others cannot be guessed.

    Generators made for simulation can be: whoever knows the data but for one example
    knows much of the noise.
    """
    stream = hashlib.shake_256(seed).digest(8 * math.prod(shape))
    uniform = (np.frombuffer(stream, "<u8") >> np.uint64(12)).astype(np.float64)
    return ndtri((uniform + 0.5) / 2**52).reshape(shape)


def to_bits(*head: np.ndarray) -> Head:
    """Views float64 as pairs of uint32."""
    return Head(*(np.ascontiguousarray(x).view(np.uint32) for x in head))


# Features


def check_inputs(problem: Problem, variables: Variables | None) -> None:
    """Refuses to take as features what are no numbers on a scale, such as token ids."""
    if variables is None:
        try:
            problem.input_spec.continuous_shape()
        except InputError as error:
            raise InputError(
                f"certified {error}: give the `variables` of a frozen extractor, or "
                "convert numbers on a scale to floats"
            ) from error


def extract(problem: Problem, variables: Variables | None, examples: Any) -> np.ndarray:
    """Returns float32[N, D], no row longer than 1: inputs of the head, or pixels."""
    model = _extractor(problem.model, variables is None)
    made = common.predict(model, variables, examples, problem.preprocess)
    rows = np.asarray(made, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    shorter = (1 - 1e-6) / np.maximum(norms, 1e-12)  # rounding may lengthen it again
    return (rows * shorter).astype(np.float32)


@functools.cache
def _extractor(model: Model, pixels: bool) -> Model:
    """Makes a model whose logits are features."""

    def apply(variables, inputs):
        return inputs.reshape(len(inputs), -1), variables

    return Model(model.init, apply) if pixels else surgery.feature_model(model)
