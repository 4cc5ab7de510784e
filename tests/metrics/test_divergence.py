"""Distances of outputs against scipy and plain loops."""

import math

import numpy as np
import pytest
from metric_cases import CASES
from scipy.spatial import distance
from scipy.special import softmax

from unlearn.errors import InputError
from unlearn.metrics import divergence


def random_logits(rng, examples=8, classes=4):
    scale = rng.exponential(3)
    return [scale * rng.normal(size=(examples, classes)) for _ in range(2)]


def test_jensen_shannon_against_scipy():
    rng = np.random.default_rng(12)
    for _ in range(CASES // 8):
        p, q = random_logits(rng, classes=int(rng.integers(2, 9)))
        ours = divergence.jensen_shannon(p, q)
        for i in range(len(p)):
            expected = distance.jensenshannon(softmax(p[i]), softmax(q[i])) ** 2
            assert ours[i] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(ours, divergence.jensen_shannon(q, p), atol=1e-15)
        assert np.all((ours >= 0) & (ours <= math.log(2)))


def test_jensen_shannon_at_its_bounds():
    apart = np.array([[1e4, 0, 0]]), np.array([[0, 1e4, 0]])
    assert divergence.jensen_shannon(*apart)[0] == math.log(2)
    same = np.array([[1e4, 0, 0], [0.1, 0.2, 0.3]])
    assert np.all(divergence.jensen_shannon(same, same + 5) == 0)
    assert divergence.zrf(*apart) == pytest.approx(1 - math.log(2))
    assert divergence.zrf(same, same) == 1


def js_by_scipy(p, q):
    return distance.jensenshannon(p, q, axis=-1) ** 2


def released_js(p, q):
    """With KL(m || p) for KL(p || m), and a mean over classes for their sum."""
    m = (p + q) / 2
    return np.mean(m * np.log(m / p) + m * np.log(m / q), axis=-1) / 2


def test_zrf_is_one_less_the_mean_divergence():
    rng = np.random.default_rng(29)
    for _ in range(CASES):
        p, q = random_logits(rng, *rng.integers(2, 9, 2))
        expected = 1 - np.mean(js_by_scipy(softmax(p, axis=1), softmax(q, axis=1)))
        assert divergence.zrf(p, q) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("scale", "inflated"), [(1, True), (6, False)])
def test_zrf_is_not_the_one_of_the_shared_code(scale, inflated):
    p_logits, q_logits = scale * np.random.default_rng(13).normal(size=(2, 200, 3))
    ours = divergence.zrf(p_logits, q_logits)
    p, q = softmax(p_logits, axis=1), softmax(q_logits, axis=1)
    js, released = js_by_scipy(p, q), released_js(p, q)
    lengths = np.linalg.norm(p_logits) * np.linalg.norm(q_logits)
    slips = (
        1 - released.mean(),
        1 - 3 * released.mean(),  # the direction alone
        1 - js.mean() / 3,  # the mean over classes alone
        1 - js.mean() / math.log(2),
        np.sum(p_logits * q_logits) / lengths,  # torchunlearn's
    )
    assert all(abs(slip - ours) > 0.01 for slip in slips)
    assert (slips[0] > ours) == inflated
    # the "JS to the retrained model" is by the same code
    ratio = divergence.jensen_shannon(p_logits, q_logits).mean() / released.mean()
    assert (ratio > 2) == inflated and abs(ratio - 1) > 0.1


def test_distances_of_outputs():
    rng = np.random.default_rng(14)
    for _ in range(CASES):
        p, q = random_logits(rng, *rng.integers(2, 9, 2))
        pairs = list(zip(softmax(p, axis=1), softmax(q, axis=1), strict=True))
        euclidean = [math.sqrt(sum((a - b) ** 2)) for a, b in pairs]
        assert divergence.activation_distance(p, q) == pytest.approx(np.mean(euclidean))
        same = [np.argmax(a) == np.argmax(b) for a, b in pairs]
        assert divergence.agreement(p, q) == pytest.approx(np.mean(same))
        ours = {(i, int(np.argmax(a))) for i, (a, _) in enumerate(pairs)}
        theirs = {(i, int(np.argmax(b))) for i, (_, b) in enumerate(pairs)}
        jaccard = len(ours & theirs) / len(ours | theirs)
        assert divergence.completeness(p, q) == pytest.approx(jaccard)


def test_activation_distance_is_not_the_sum_of_absolute_differences():
    """Golatkar's and SCRUB's L1, at least the L2 norm and up to 2."""
    p, q = random_logits(np.random.default_rng(30))
    absolute = np.abs(softmax(p, axis=1) - softmax(q, axis=1)).sum(axis=1).mean()
    assert divergence.activation_distance(p, q) < absolute - 0.05
    far = np.array([[9e3, 0.0]]), np.array([[0.0, 9e3]])
    assert divergence.activation_distance(*far) == pytest.approx(math.sqrt(2))


def test_retrain_free_js():
    rng = np.random.default_rng(15)
    unseen_labels = np.arange(12) % 4
    for _ in range(CASES):
        forget, unseen = 2 * rng.normal(size=(6, 4)), 2 * rng.normal(size=(12, 4))
        forget_labels = rng.integers(0, 3, 6)
        values, released = [], []
        for c in set(forget_labels.tolist()):
            p = softmax(forget[forget_labels == c], axis=1).mean(axis=0)
            q = softmax(unseen[unseen_labels == c], axis=1).mean(axis=0)
            values.append(js_by_scipy(p, q))
            released.append(released_js(p, q))
        ours = divergence.retrain_free_js(forget, forget_labels, unseen, unseen_labels)
        assert ours == pytest.approx(np.mean(values), abs=1e-12)
        assert np.mean(released) < ours
    with pytest.raises(InputError, match="unseen"):
        divergence.retrain_free_js(forget, forget_labels + 1, unseen, unseen_labels * 0)


@pytest.mark.parametrize("name", ["zrf", "activation_distance", "agreement"])
def test_outputs_that_cannot_be_compared_are_refused(name):
    function = getattr(divergence, name)
    for shapes in (((3, 4), (3, 5)), ((3,), (3,)), ((0, 4), (0, 4))):
        with pytest.raises(InputError):
            function(*(np.zeros(shape) for shape in shapes))
