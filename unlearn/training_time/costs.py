"""What SISA requests cost against training one model anew, in examples times epochs.

A request removes examples drawn at random. Many may be answered at once, or one by one
as they come; full retraining then also happens once, or once a request. No model is
trained here: `expected_cost` is a formula, `simulated_cost` counts.
"""

from collections.abc import Sequence

import numpy as np

from unlearn.errors import InputError
from unlearn.training_time import common
from unlearn.training_time.sisa import assign
from unlearn.training_time.slice_training import slice_epochs


def expected_cost(
    size: int,
    requests: int,
    *,
    shards: int,
    slices: int,
    epochs: int,
    one_by_one: bool = False,
) -> float:
    """Returns the mean cost over random requests; exact.

    One request costs e (N / S) (2/3 + 1/(3 R)), up to rounding (equation in the paper).
    In general, with a_sr examples in slices 1..r of shard s, training it again costs
    e_r times what is left of them, if any of them is removed:
      at once:    sum e_r a_sr (1 - K/N - P(none of K in a_sr)),
      request k:  sum e_r a_sr (a_sr - 1) (N - k) / (N (N - 1)).
    """
    if not 0 < requests <= size:
        raise InputError(f"requests must be from 1 to {size}; they are {requests}")
    counts = np.array([len(range(s, size, shards)) for s in range(shards)])
    slice_counts = [
        [len(range(r, count, slices)) for r in range(slices)] for count in counts
    ]
    inside = np.cumsum(slice_counts, axis=1)
    epochs = slice_epochs(epochs, slices)
    if one_by_one:
        k = np.arange(1, requests + 1)
        hit = inside * (inside - 1) * np.sum(size - k) / (size * max(size - 1, 1))
        return float(np.sum(epochs * hit))
    drawn = np.arange(requests)[:, None, None]
    none = np.prod(np.maximum(size - inside - drawn, 0) / (size - drawn), axis=0)
    return float(np.sum(epochs * inside * (1 - requests / size - none)))


def simulated_cost(
    seed: int,
    size: int,
    requests: int,
    *,
    shards: int,
    slices: int,
    epochs: int,
    one_by_one: bool = False,
) -> int:
    """Counts the cost of one random request (or of so many of one example)."""
    key_bits = np.array([0, seed], np.uint32)  # of jax.random.key(seed)
    shard, part = assign(key_bits, size, shards, slices)
    removed = common.random(key_bits, 1).choice(size, requests, replace=False)
    epochs, total = slice_epochs(epochs, slices), 0
    inside = np.zeros((shards, slices), int)
    np.add.at(inside, (shard, part), 1)
    for group in removed[:, None] if one_by_one else removed[None]:
        np.subtract.at(inside, (shard[group], part[group]), 1)
        first = np.full(shards, slices)
        np.minimum.at(first, shard[group], part[group])
        again = np.arange(slices) >= first[:, None]
        total += np.sum(again * epochs * np.cumsum(inside, axis=1))
    return int(total)


def full_cost(
    size: int, requests: int, *, epochs: int, one_by_one: bool = False
) -> int:
    """Returns the cost of training one model anew, once or once a request."""
    if one_by_one:
        return int(epochs * np.sum(size - np.arange(1, requests + 1)))
    return epochs * (size - requests)


def cost_table(
    size: int,
    *,
    shards: int = 5,
    slices: int = 5,
    epochs: int = 10,
    requests: Sequence[int] = (1, 2, 5, 10, 20, 50, 100),
    trials: int = 100,
) -> list[dict]:
    """Makes a row for each number of requests, at once and one by one.

    Those of fewer than all examples have the expected cost, the mean of `trials`
    simulations, that of full retraining, and the speed-up: full by expected.
    """
    parts = dict(shards=shards, slices=slices, epochs=epochs)
    rows = []
    for count in [count for count in requests if count < size]:
        for one_by_one in (False, True):
            expected = expected_cost(size, count, one_by_one=one_by_one, **parts)
            simulated = [
                simulated_cost(seed, size, count, one_by_one=one_by_one, **parts)
                for seed in range(trials)
            ]
            full = full_cost(size, count, epochs=epochs, one_by_one=one_by_one)
            rows.append(
                {
                    "requests": count,
                    "answered": "one by one" if one_by_one else "at once",
                    "expected": expected,
                    "simulated": float(np.mean(simulated)),
                    "full": full,
                    "speed_up": full / expected,
                }
            )
    return rows
