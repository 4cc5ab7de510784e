"""KLoM against a loop over examples, and its measured floors."""

import math

import numpy as np
import pytest
from metric_cases import CASES, random_groups
from scipy import stats
from scipy.special import log_softmax

from unlearn.errors import InputError
from unlearn.metrics import forgetting_score, klom
from unlearn.metrics.accuracy import losses


def klom_by_loop(unlearned, oracle, bins=20, clip=100.0, floor=1e-5):
    values = []
    for p, q in zip(unlearned.T, oracle.T, strict=True):
        p, q = np.clip(p, -clip, clip), np.clip(q, -clip, clip)
        both = np.concatenate([p, q])
        span = (both.min(), both.max()) if np.ptp(both) else (both[0], both[0] + 1)
        p = np.histogram(p, bins, span)[0] / len(p)
        q = np.histogram(q, bins, span)[0] / len(q)
        q = [max(b, floor) if a > 0 else b for a, b in zip(p, q, strict=True)]
        values.append(stats.entropy(p, q))
    return np.array(values)


def test_klom_is_the_divergence_of_histograms():
    rng = np.random.default_rng(0)
    for case in range(CASES // 4):
        groups = random_groups(rng, 40, examples=4)
        options = {} if case % 2 else dict(bins=int(rng.integers(2, 30)), clip=2.0)
        np.testing.assert_allclose(
            klom.klom(*groups, **options), klom_by_loop(*groups, **options), atol=1e-12
        )


def test_klom_counts_the_largest_margin():
    """The released code drops it: `np.digitize` puts it into bin 21 of 20."""
    unlearned, oracle = np.array([[0.0], [0.2], [1.0]]), np.array([[0.0], [0.3], [0.4]])
    third = math.log(1 / 3 / (1e-5 / (1 + 2e-5)))
    counted = 2 / 3 * third + 1 / 3 * math.log(1 + 2e-5)
    assert klom.klom(unlearned, oracle)[0] == pytest.approx(counted)
    edges = np.linspace(0, 1, 21)
    p, q = (
        np.bincount(np.digitize(x[:, 0], edges), minlength=22)[1:21]
        for x in (unlearned, oracle)
    )
    q = np.where(p > 0, np.maximum(q / q.sum(), 1e-5), q / q.sum())
    assert abs(stats.entropy(p / p.sum(), q) - counted) > 1


def test_klom_has_a_direction_and_is_zero_only_where_histograms_agree():
    rng = np.random.default_rng(1)
    wide, narrow = rng.normal(size=(200, 50)), 0.3 * rng.normal(size=(200, 50))
    assert klom.klom(wide, narrow).mean() > klom.klom(narrow, wide).mean() + 1
    assert np.all(klom.klom(wide, wide) == 0)
    assert np.all(klom.klom(np.full((5, 3), 7.0), np.full((4, 3), 7.0)) == 0)
    assert klom.klom(np.full((5, 1), 1e9), np.full((4, 1), np.inf))[0] == 0
    shuffled = rng.permutation(wide)
    assert np.all(klom.klom(shuffled, wide) == 0)


@pytest.mark.parametrize(
    ("models", "shift", "expected", "tolerance"),
    [
        (10, 0, 5.63, 0.3),
        (20, 0, 3.06, 0.2),
        (50, 0, 0.90, 0.1),
        (100, 0, 0.35, 0.05),
        (200, 0, 0.148, 0.02),
        (512, 0, 0.05, 0.01),
        (100, 0.5, 0.56, 0.06),
        (100, 1, 1.19, 0.12),
        (100, 2, 3.6, 0.2),
    ],
)
def test_klom_of_gaussians(models, shift, expected, tolerance):
    rng = np.random.default_rng(2)
    unlearned, oracle = rng.normal(size=(2, models, 1000))
    mean = klom.klom(unlearned + shift, oracle).mean()
    assert mean == pytest.approx(expected, abs=tolerance)


def test_klom_and_its_floor_are_of_as_many_models():
    rng = np.random.default_rng(3)
    unlearned, oracle = rng.normal(size=(300, 200)), rng.normal(size=(200, 200))
    alone = klom.klom_summary(unlearned, oracle)
    assert alone.models == 100
    expected = klom.klom(unlearned[:100], oracle[:100])
    assert alone.mean == pytest.approx(expected.mean())
    assert alone.p95 == pytest.approx(np.percentile(expected, 95))
    floor = klom.klom_floor(oracle)
    np.testing.assert_array_equal(floor, klom.klom(oracle[100:], oracle[:100]))
    assert alone.floor_mean == pytest.approx(floor.mean())
    assert alone.floor_p95 == pytest.approx(np.percentile(floor, 95))
    assert alone.mean == pytest.approx(alone.floor_mean, rel=0.1)
    assert klom.klom(unlearned[:200], oracle).mean() < alone.floor_mean / 2
    other = rng.normal(size=(150, 200))
    pair = klom.klom_summary(unlearned, oracle, other, bins=10)
    assert pair.models == 150
    assert pair.floor_mean == pytest.approx(
        klom.klom(other, oracle[:150], bins=10).mean()
    )
    shifted = klom.klom_summary(unlearned + 1, oracle, other)
    assert shifted.mean > 4 * shifted.floor_mean


def test_margins_from_losses():
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(0, 5, (50, 6)), rng.integers(0, 6, 50)
    loss = losses(logits, labels)
    log_p = log_softmax(logits, axis=1)
    for i, y in enumerate(labels):
        others = np.delete(log_p[i], y)
        margin = log_p[i, y] - np.log(np.sum(np.exp(others)))
        assert -loss[i] - np.log(-np.expm1(-loss[i])) == pytest.approx(margin)


@pytest.mark.parametrize(
    "groups",
    [
        (np.zeros((3, 2)), np.zeros((3, 3))),
        (np.zeros(3), np.zeros(3)),
        (np.zeros((0, 2)), np.zeros((3, 2))),
        (np.zeros((3, 0)), np.zeros((3, 0))),
        (np.full((3, 2), np.nan), np.zeros((3, 2))),
    ],
)
def test_margins_that_cannot_be_compared_are_refused(groups):
    for function in (klom.klom, forgetting_score.epsilons):
        with pytest.raises(InputError):
            function(*groups)
    with pytest.raises(InputError, match="oracles"):
        klom.klom_floor(np.zeros((1, 2)))
