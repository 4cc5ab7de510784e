"""Logistic heads, one a class against the rest, all at once in float64 on the host.

    L_k(w) = sum_i log(1 + exp(-y_ik w.x_i)) + (l2 / 2) |w|^2 + b_k.w

Steps are solved by conjugate gradients, which take products of Hessians with vectors;
those are two passes over the features for all heads together. The preconditioner is the
Hessian of curvature c, that of the mean example: c X^T X + l2, the same for all heads,
so that few steps suffice whatever l2 is. Or, on request and where features are few, the
Hessian of each head at some weights is kept, with its inverse, and what is removed is
subtracted from it: a step by that reads no features at all. Features are float32 and
become float64 in blocks.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg

BLOCK = 2048
"""Rows of features at a time, where products are large."""

SMALL = 2**18
"""Multiplications of a product for which OpenBLAS wakes no other threads."""


ROUNDING = 1e-13
"""Of sums of products in float64, relative, with room to spare."""

EXACT = 1e-7
"""What a step may miss of the gradient, relative; the bound counts it."""

MOST_NUMBERS = 2**22
"""Of the inverses of all heads' Hessians: more are not made."""


class Kept(NamedTuple):
    """Each head's Hessian at some weights, less what was removed since."""

    fitted: np.ndarray  # float64[K, D]: the weights there
    hessian: np.ndarray  # float64[K, D, D]
    inverse: np.ndarray  # float64[K, D, D], about
    norms: np.ndarray  # float64[K]: of the Hessians before anything was subtracted


class Objective(NamedTuple):
    """The objective of all heads; rows of zeros do not count."""

    features: np.ndarray  # float32[N, D]
    labels: np.ndarray  # int[N]
    gram: np.ndarray  # float64[D, D]: X^T X
    l2: float  # times the number of examples
    noise: np.ndarray | float = 0.0  # float64[K, D]: b


def blocks(features: np.ndarray, columns: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields rows of features, as a slice and as float64, for products with `columns`.

    Products with few columns are bound by memory, and threads, which wait for each
    other, made them up to five times slower; blocks are then as small as to need none.
    """
    size = SMALL // max(1, features.shape[1] * columns)
    size = size if size >= 8 else BLOCK
    for start in range(0, len(features), size):
        rows = slice(start, start + size)
        yield rows, features[rows].astype(np.float64)


def gram(features: np.ndarray) -> np.ndarray:
    """Returns X^T X: float64[D, D]."""
    total = np.zeros((features.shape[1],) * 2)
    for _, x in blocks(features, BLOCK):
        total += x.T @ x
    return total


def spectral_norm(gram: np.ndarray) -> float:
    """Returns an upper bound on the norm of X, by X^T X, tight to 1e-9."""
    last = len(gram) - 1
    top = scipy.linalg.eigh(gram, eigvals_only=True, subset_by_index=[last, last])
    return float(np.sqrt(max(top[0], 0.0) * (1 + 1e-9)))


def gradients(
    weights: np.ndarray, objective: Objective, heads: np.ndarray | None = None
) -> np.ndarray:
    """Returns the gradient of the objective of each head: float64[K, D].

    `heads` are the classes that `weights` is of; default: all.
    """
    heads = np.arange(len(weights)) if heads is None else heads
    noise = objective.noise
    noise = noise[heads] if isinstance(noise, np.ndarray) else noise
    total = np.zeros(weights.T.shape)
    for rows, x in blocks(objective.features, len(heads)):
        signs = np.where(objective.labels[rows, None] == heads, 1.0, -1.0)
        wrong = 1 / (1 + np.exp(np.clip(signs * (x @ weights.T), -500, 500)))
        total += x.T @ (signs * wrong)
    return objective.l2 * weights + noise - total.T


def residuals(weights: np.ndarray, objective: Objective) -> np.ndarray:
    """Returns an upper bound on the length of each head's gradient, with rounding."""
    lengths = np.linalg.norm(gradients(weights, objective), axis=1)
    terms = len(objective.features) + objective.l2 * np.linalg.norm(weights, axis=1)
    return lengths + ROUNDING * (terms + np.linalg.norm(objective.noise))


def curvatures(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Returns the second derivative of each example's loss: float64[N, K]."""
    margins = [x @ weights.T for _, x in blocks(features, len(weights))]
    return (1 - np.tanh(np.concatenate(margins) / 2) ** 2) / 4


def hessian_products(
    curvature: np.ndarray, objective: Objective, vectors: np.ndarray
) -> np.ndarray:
    """Returns the Hessian of each head times its vector: float64[K, D].

    Args:
      curvature: float64[N, K], of `curvatures`.
      objective: what the Hessian is of.
      vectors: float64[K, D].
    """
    total = np.zeros(vectors.T.shape)
    for rows, x in blocks(objective.features, len(vectors)):
        total += x.T @ (curvature[rows] * (x @ vectors.T))
    return objective.l2 * vectors + total.T


def keep_hessians(weights: np.ndarray, objective: Objective) -> Kept | None:
    """Computes the Hessian of each head and its inverse; None if they are too large."""
    count, size = weights.shape
    if count * size**2 > MOST_NUMBERS:
        return None
    curvature = curvatures(weights, objective.features)
    hessians = np.zeros((count, size, size))
    for rows, x in blocks(objective.features, size):
        for head in range(count):
            hessians[head] += x.T @ (curvature[rows, head, None] * x)
    hessians += objective.l2 * np.eye(size)
    norms = np.trace(hessians, axis1=1, axis2=2)
    return Kept(weights, hessians, np.linalg.inv(hessians), norms)


def take_out(
    kept: Kept | None, objective: Objective, rows: np.ndarray, l2: float
) -> Kept | None:
    """Subtracts the terms of examples (Woodbury), or computes all anew; None of None.

    Args:
      objective: of what stays.
      rows: float32[M, D], the features of what goes.
      l2: their part of the penalty, which the inverse keeps: it is a little too small.
    """
    if kept is None:
        return None
    if len(rows) > rows.shape[1]:
        return keep_hessians(kept.fitted, objective)
    scales = np.sqrt(curvatures(kept.fitted, rows)).T[:, :, None]
    sides = scales * rows.astype(float)  # [K, M, D]
    hessian = kept.hessian - sides.swapaxes(1, 2) @ sides
    hessian -= l2 * np.eye(rows.shape[1])
    images = sides @ kept.inverse
    inner = np.eye(len(rows)) - images @ sides.swapaxes(1, 2)
    try:
        more = images.swapaxes(1, 2) @ np.linalg.solve(inner, images)
    except np.linalg.LinAlgError:
        return keep_hessians(kept.fitted, objective)
    inverse = kept.inverse + more
    if not np.isfinite(inverse).all():
        return keep_hessians(kept.fitted, objective)
    return kept._replace(hessian=hessian, inverse=inverse)


def kept_steps(kept: Kept, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solves H s = right for each head's kept Hessian.

    Returns s float64[K, D], and an upper bound on |H s - right|, rounding included.
    """

    def product(matrices, vectors):
        return np.matmul(matrices, vectors[:, :, None])[:, :, 0]

    enough = EXACT * np.linalg.norm(right, axis=1)
    steps, rest = np.zeros_like(right), right
    for _ in range(5):  # the inverse is not exact
        steps = steps + product(kept.inverse, rest)
        rest = right - product(kept.hessian, steps)
        if np.all(np.linalg.norm(rest, axis=1) <= enough):
            break
    else:
        exact = np.linalg.pinv(kept.hessian, hermitian=True)
        steps = product(exact, right)
        rest = right - product(kept.hessian, steps)
    rest = np.linalg.norm(rest, axis=1)
    sizes = kept.norms * np.linalg.norm(steps, axis=1) + np.linalg.norm(right, axis=1)
    return steps, rest + ROUNDING * sizes


def newton_steps(
    weights: np.ndarray,
    objective: Objective,
    right: np.ndarray,
    tolerance: float = EXACT,
    most: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    """Solves H s = right for the Hessian H of each head at `weights`.

    Returns s float64[K, D], and an upper bound on |H s - right| of each head, rounding
    included. It is about `tolerance` |right|, unless `most` steps do not suffice.
    """
    curvature = curvatures(weights, objective.features)
    penalty = objective.l2 * np.eye(len(objective.gram))
    inverse = np.linalg.inv(curvature.mean() * objective.gram + penalty)
    steps, rest = np.zeros_like(right), right.copy()
    enough = tolerance * np.linalg.norm(right, axis=1)
    direction = prepared = rest @ inverse
    product = np.sum(rest * prepared, axis=1)
    for _ in range(most):
        moving = np.linalg.norm(rest, axis=1) > enough
        if not moving.any():
            break
        image = hessian_products(curvature, objective, direction)
        along = np.sum(direction * image, axis=1)
        length = np.where(moving, product / np.where(moving, along, 1.0), 0.0)[:, None]
        steps, rest = steps + length * direction, rest - length * image
        prepared, before = rest @ inverse, product
        product = np.sum(rest * prepared, axis=1)
        turn = np.where(moving, product / np.where(moving, before, 1.0), 0.0)
        direction = prepared + turn[:, None] * direction
    # What is left is not computed anew: rounding is that of products, of norm |H| |s|.
    norm = objective.l2 + np.trace(objective.gram) / 4
    sizes = norm * np.linalg.norm(steps, axis=1) + np.linalg.norm(right, axis=1)
    return steps, np.linalg.norm(rest, axis=1) + ROUNDING * sizes


def lengths(gram: np.ndarray, spectral: float, vectors: np.ndarray) -> np.ndarray:
    """Returns an upper bound on |X v| for each of float64[K, D].

    Args:
      gram: X^T X, from which examples may have been subtracted.
      spectral: at least |X|_2 before any was: rounding is of that size.
    """
    squares = np.sum(vectors @ gram * vectors, axis=1)
    rounding = ROUNDING * len(gram) * spectral**2 * np.sum(vectors**2, axis=1)
    return np.sqrt(np.maximum(squares, 0.0) + rounding)


def solve(
    objective: Objective, start: np.ndarray, tolerance: float = 1e-10, most: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Finds each head's minimum by Newton steps, halved until its gradient is shorter.

    Args:
      start: float64[K, D], where it begins; from 0 if that is no numbers.
      tolerance: of the length of each head's gradient.

    Returns weights float64[K, D] and an upper bound on the length of each head's
      gradient there.
    """
    weights = np.array(start) if np.isfinite(start).all() else np.zeros(start.shape)
    slopes = gradients(weights, objective)
    heads = np.arange(len(weights))  # that still move
    for _ in range(most):
        heads = heads[np.linalg.norm(slopes[heads], axis=1) >= tolerance]
        if not len(heads):
            break
        steps, _ = newton_steps(weights[heads], objective, slopes[heads], 1e-3)
        moved = line_search(weights, slopes, steps, heads, objective)
        heads = heads[moved]
    return weights, residuals(weights, objective)


def line_search(
    weights: np.ndarray,
    slopes: np.ndarray,
    steps: np.ndarray,
    heads: np.ndarray,
    objective: Objective,
) -> np.ndarray:
    """Moves `heads` by minus their steps, or half, or a quarter, ..., in place.

    Returns bool[len(heads)]: false where rounding lets none make the gradient shorter.
    """
    length, waiting = 1.0, np.arange(len(heads))
    while len(waiting) and length > 1e-6:
        these = heads[waiting]
        tried = weights[these] - length * steps[waiting]
        slope = gradients(tried, objective, these)
        old = np.linalg.norm(slopes[these], axis=1)
        better = np.linalg.norm(slope, axis=1) < (1 - length / 4) * old
        weights[these[better]], slopes[these[better]] = tried[better], slope[better]
        waiting, length = waiting[~better], length / 2
    return ~np.isin(np.arange(len(heads)), waiting)
