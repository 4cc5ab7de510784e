"""Random cases of the metrics."""

import numpy as np

CASES = 1000  # random ones, of each metric


def logits_and_labels(size=60, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(size, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, size)


def random_groups(rng, most=12, examples=1, place=2):
    """Margins of two groups of random size, place and scale."""
    sizes = rng.integers(2, most, 2)
    place, scale = rng.normal(0, place, 2), rng.exponential(1, 2) + 0.05
    return [place[i] + scale[i] * rng.normal(size=(sizes[i], examples)) for i in (0, 1)]
