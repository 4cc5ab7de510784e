"""Certified removal: Newton steps on a convex head, hidden by noise in its objective.

    L_b(w; D) = sum_i log(1 + exp(-y_i w.x_i)) + (l2 n / 2) |w|^2 + b.w,  b ~ N(0, s^2)
    removal of U from D:  w += H^-1 Delta,  H = Hessian of L_b(w; D - U),
                          Delta = gradient of the terms of U at w
    residual |grad L_b(w; D - U)| grows by at most 1/4 |X|_2 |H^-1 Delta| |X H^-1 Delta|
    (epsilon, delta) holds while the residual stays within  s epsilon / c,
                          c = sqrt(2 log(1.5 / delta))

Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020,
https://arxiv.org/abs/1911.03030: theorem 3 and the data-dependent bound for batches;
the rows of X have at most norm 1, gamma = 1/4. One head a class against the rest, as in
the paper; the heads share one Gaussian mechanism: b and the residual are those of all
heads together, so the bounds of the heads add up as a root of squares and (epsilon,
delta) is for the model. The solver's own residual, b included, is the first entry in
the budget. A removal past the budget is refused, or, with `past_budget="retrain"`,
answered by a new fit with new noise. The Gaussian mechanism is proven for epsilon <= 1.

What is certified: the mechanism above, for requests that do not depend on the noise,
which stays secret: publish the weights, not the state.
The features must not depend on what is removed: `variables` is a frozen extractor,
trained on data that nobody can ask to have erased. Features of a net that was trained
on these very examples remember them, and the certificate then covers the head only.
Without `variables` the features are the standardised pixels, each image scaled to norm
1, and it covers the whole classifier, its mean and standard deviation being constants.

In NumPy on the host: the residual is compared with bounds that float32 would swamp.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn import surgery
from unlearn.errors import InputError
from unlearn.problem import Model, Problem, Variables
from unlearn.training_time import common

LIPSCHITZ = 0.25
"""Of the second derivative of the logistic loss, as in the paper."""


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


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["bits", "features", "variables", "active", "problem"],
    meta_fields=["settings"],
)
@dataclasses.dataclass(frozen=True)
class State:
    """A model fitted, with what is left of its budget."""

    bits: Head  # its float64 as pairs of uint32: nothing on its way can round them
    features: np.ndarray  # float32[N, D]; rows of removed examples are 0
    variables: dict | None  # the frozen extractor
    active: np.ndarray  # bool[N]: in the training set
    problem: Problem
    settings: Settings

    @property
    def head(self) -> Head:
        return Head(*(np.asarray(x).view(np.float64) for x in self.bits))


def fit(
    key: jax.Array,
    problem: Problem,
    *,
    indices: ArrayLike | None = None,
    variables: Variables | None = None,
    epsilon: float = 1.0,
    delta: float = 1e-4,
    sigma: float = 1.0,
    l2: float = 1e-2,
    past_budget: str = "refuse",
) -> State:
    """Fits the heads on frozen features, with a random linear term in the objective.

    Raises:
      InputError: constants out of range, or a model that has no `activations`.
    """
    if not 0 < epsilon <= 1:
        raise InputError(f"epsilon must lie in (0, 1]; it is {epsilon}")
    if not 0 < delta < 1:
        raise InputError(f"delta must lie in (0, 1); it is {delta}")
    if sigma <= 0 or l2 <= 0:
        raise InputError(f"sigma and l2 must be positive; they are {sigma} and {l2}")
    if past_budget not in ("refuse", "retrain"):
        raise InputError(f"unknown past_budget {past_budget!r}: refuse, retrain")
    problem, active = common.training_set(problem, indices)
    settings = Settings(epsilon, delta, sigma, l2, past_budget)
    features = extract(problem, variables, problem.images) * active[:, None]
    unfitted = to_bits(*np.zeros((3, problem.num_classes, 0)))
    return train(key, State(unfitted, features, variables, active, problem, settings))


def forget(key: jax.Array, state: State, indices: ArrayLike) -> tuple[State, dict]:
    """Takes a Newton step a head, for all of `indices` at once.

    `info`: the accumulated `residual_bound`, the `budget` it must not pass, the share
    of it that is `spent`, and whether the heads were `retrained`. `key` is for that
    alone.

    Raises:
      InputError: see `common.check_request`; or the removal would pass the budget.
    """
    indices = common.check_request(state.active, indices)
    settings, features = state.settings, np.array(state.features)
    active = np.array(state.active)
    removed = features[indices].astype(np.float64)
    features[indices], active[indices] = 0, False
    state = dataclasses.replace(state, features=features, active=active)
    features = features.astype(np.float64)
    signs = one_against_rest(state.problem)
    spectral = np.sqrt(np.linalg.eigvalsh(features.T @ features)[-1])
    weights, noise, bounds = (x.copy() for x in state.head)
    l2, l2_removed = settings.l2 * active.sum(), settings.l2 * len(indices)
    for k, w in enumerate(state.head.weights):
        of_removed = gradient(w, removed, signs[k, indices], l2_removed, 0.0)
        step = np.linalg.solve(hessian(w, features, l2), of_removed)
        weights[k] += step
        lengths = np.linalg.norm(step) * np.linalg.norm(features @ step)
        bounds[k] += LIPSCHITZ * spectral * lengths
    allowed, bound = budget(settings), np.linalg.norm(bounds)
    retrained = bool(bound > allowed)
    if not retrained:
        state = dataclasses.replace(state, bits=to_bits(weights, noise, bounds))
    elif settings.past_budget == "retrain":
        state = train(key, state)
        bound = np.linalg.norm(state.head.bounds)
    else:
        raise InputError(
            f"this removal takes the residual to {bound:.3g}, past the budget of "
            f"{allowed:.3g} for epsilon {settings.epsilon:g}: train again without "
            'these examples, or fit with past_budget="retrain"'
        )
    info = {
        "residual_bound": np.float64(bound),
        "budget": np.float64(allowed),
        "spent": np.float64(bound / allowed),
        "retrained": np.bool_(retrained),
    }
    return state, info


def predict(state: State, images: jax.Array) -> jax.Array:
    """Returns the scores of the heads: float32[N, K]."""
    features = extract(state.problem, state.variables, images)
    return jnp.asarray(features @ state.head.weights.T, jnp.float32)


def budget(settings: Settings) -> float:
    """Returns the largest residual that the noise hides."""
    return settings.sigma * settings.epsilon / np.sqrt(2 * np.log(1.5 / settings.delta))


# The head


def gradient(
    w: np.ndarray,
    features: np.ndarray,
    signs: np.ndarray,
    l2: float,
    noise: np.ndarray | float,
) -> np.ndarray:
    """Returns the gradient of the objective, a sum over examples plus both terms."""
    wrong = 1 / (1 + np.exp(np.clip(signs * (features @ w), -500, 500)))
    return -features.T @ (signs * wrong) + l2 * w + noise


def hessian(w: np.ndarray, features: np.ndarray, l2: float) -> np.ndarray:
    """Returns the Hessian of the objective: float64[D, D]."""
    half = np.tanh(features @ w / 2)
    curvature = (1 - half**2) / 4
    return (features.T * curvature) @ features + l2 * np.eye(len(w))


def solve(
    features: np.ndarray,
    signs: np.ndarray,
    l2: float,
    noise: np.ndarray,
    steps: int = 100,
) -> tuple[np.ndarray, float]:
    """Finds the minimum by Newton steps, halved until the gradient is shorter."""
    w = np.zeros(features.shape[1])
    slope = gradient(w, features, signs, l2, noise)
    for _ in range(steps):
        step, length = np.linalg.solve(hessian(w, features, l2), slope), 1.0
        while length > 1e-6:
            tried = gradient(w - length * step, features, signs, l2, noise)
            if np.linalg.norm(tried) < (1 - length / 4) * np.linalg.norm(slope):
                break
            length /= 2
        else:
            break  # as close as rounding lets it
        w, slope = w - length * step, tried
        if np.linalg.norm(slope) < 1e-10:
            break
    return w, float(np.linalg.norm(slope))


def train(key: jax.Array, state: State) -> State:
    """Fits heads to the active examples with fresh noise; the bounds start anew."""
    settings = state.settings
    features = np.asarray(state.features, np.float64)
    shape = state.problem.num_classes, features.shape[1]
    noise = settings.sigma * common.random(common.key_bits(key)).normal(size=shape)
    l2 = settings.l2 * np.sum(state.active)
    signs = one_against_rest(state.problem)
    heads = [solve(features, s, l2, b) for s, b in zip(signs, noise, strict=True)]
    weights, bounds = map(np.array, zip(*heads, strict=True))
    return dataclasses.replace(state, bits=to_bits(weights, noise, bounds))


def to_bits(*head: np.ndarray) -> Head:
    """Views float64 as pairs of uint32."""
    return Head(*(x.view(np.uint32) for x in head))


def one_against_rest(problem: Problem) -> np.ndarray:
    """Returns 1 for examples of each class and -1 for others: float64[K, N]."""
    own = np.arange(problem.num_classes)[:, None] == np.asarray(problem.labels)
    return np.where(own, 1.0, -1.0)


# Features


def extract(
    problem: Problem, variables: Variables | None, images: jax.Array
) -> np.ndarray:
    """Returns float32[N, D], no row longer than 1: inputs of the head, or pixels."""
    model = _extractor(problem.model, variables is None)
    mean, std = problem.mean, problem.std
    rows = np.asarray(common.predict(model, variables, images, mean, std), np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    shorter = (1 - 1e-6) / np.maximum(norms, 1e-12)  # rounding may lengthen it again
    return (rows * shorter).astype(np.float32)


@functools.cache
def _extractor(model: Model, pixels: bool) -> Model:
    """Makes a model whose logits are features."""

    def apply(variables, inputs):
        return inputs.reshape(len(inputs), -1), variables

    return Model(model.init, apply) if pixels else surgery.feature_model(model)
