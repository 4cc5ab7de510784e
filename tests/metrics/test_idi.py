"""What layers know, against integrals over Gaussians."""

import math

import numpy as np
import pytest
from metric_cases import CASES
from scipy import stats
from scipy.integrate import quad

from unlearn.errors import InputError
from unlearn.metrics import idi


def gaussian_features(rng, labels, separation, size=4):
    """N(+-separation, 1) in the first feature, noise in the others."""
    features = rng.normal(size=(len(labels), size))
    features[:, 0] += np.where(labels, separation, -separation)
    return features


def gaussian_information(separation, share=0.5):
    def integrand(z):
        one = share * stats.norm.pdf(z, separation)
        zero = (1 - share) * stats.norm.pdf(z, -separation)
        return one * np.log(one / (one + zero)) + zero * np.log(zero / (one + zero))

    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    return entropy + quad(integrand, -9, 9)[0]


@pytest.mark.parametrize(
    ("separation", "share"), [(0, 0.5), (0.5, 0.5), (1, 0.5), (1, 0.1), (2, 0.1)]
)
def test_mutual_information_of_gaussians(separation, share):
    rng = np.random.default_rng(16)
    labels = rng.random(3000) < share
    ours = idi.mutual_information(gaussian_features(rng, labels, separation), labels)
    assert ours == pytest.approx(gaussian_information(separation, share), abs=0.025)


@pytest.mark.slow
def test_mutual_information_does_not_rise_by_fitting_noise():
    rng = np.random.default_rng(17)
    labels = np.arange(200) < 40
    noise = [
        idi.mutual_information(rng.normal(size=(200, 10, 60)), labels) for _ in range(3)
    ]
    assert np.max(np.abs(noise)) < 0.01
    assert idi.mutual_information(
        np.repeat(labels, 3)[:, None], np.repeat(labels, 3)
    ) < (gaussian_information(0, 0.2) + stats.entropy([0.2, 0.8]))


def test_information_that_is_not_linear_needs_another_classifier():
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(18)
    corners = rng.choice([-3, 3], (600, 2))
    labels = corners.prod(axis=1) > 0
    features = corners + rng.normal(size=(600, 2))
    assert idi.mutual_information(features, labels) < 0.02
    knn = KNeighborsClassifier(50)
    assert idi.mutual_information(features, labels, classifier=knn) > 0.5


@pytest.mark.slow
def test_information_difference_index():
    rng = np.random.default_rng(19)
    labels = np.arange(1600) % 4 == 0

    def model(*separations):
        return {i: gaussian_features(rng, labels, s) for i, s in enumerate(separations)}

    def difference(*models):
        return idi.information_difference(*models, labels, folds=3)

    original, retrained = model(1.0, 2.0), model(0.4, 0.4)
    result = difference(original, original, retrained)
    assert result.index == 1
    for known, s in ((result.original, (1.0, 2.0)), (result.retrained, (0.4, 0.4))):
        expected = [gaussian_information(x, 0.25) for x in s]
        np.testing.assert_allclose(known, expected, atol=0.03)
    same = difference(retrained, original, retrained)
    assert same.index == 0
    half = difference({0: retrained[0], 1: original[1]}, original, retrained)
    gains = result.original - result.retrained
    assert half.index == pytest.approx(gains[1] / gains.sum())
    less = difference(model(0, 0), original, retrained)
    expected = -2 * gaussian_information(0.4, 0.25) / gains.sum()
    assert less.index == pytest.approx(expected, abs=0.05)
    assert less.index < -0.05  # kept, not cut at 0
    listed = difference(*(list(m.values()) for m in (original, original, retrained)))
    assert listed.index == 1
    nothing = difference(original, retrained, retrained)
    assert np.isnan(nothing.index)


def test_the_index_is_a_ratio_of_sums_over_layers(monkeypatch):
    """Given each layer's information; how that is estimated is tested above."""
    rng = np.random.default_rng(31)
    monkeypatch.setattr(idi, "mutual_information", lambda layer, _: float(layer))
    for _ in range(CASES):
        ours, before, reference = rng.uniform(0, 0.7, (3, rng.integers(1, 6)))
        result = idi.information_difference(ours, before, reference, None)
        whole = sum(o - r for o, r in zip(before, reference, strict=True))
        left = sum(u - r for u, r in zip(ours, reference, strict=True))
        expected = left / whole if whole > 0 else math.nan
        assert result.index == pytest.approx(expected, nan_ok=True)
        for known, given in zip(result[1:], (ours, before, reference), strict=True):
            np.testing.assert_array_equal(known, given)


def test_features_told_in_other_words_are_known_as_well():
    """Rotated, shifted and in other units: neither I nor the index changes."""
    rng = np.random.default_rng(20)
    labels = np.arange(1600) % 2 == 0
    body, retrained = (gaussian_features(rng, labels, s) for s in (1.5, 0.5))
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    retold = 1e-3 * body @ rotation + 5
    assert np.abs(rotation - np.eye(4)).max() > 0.5

    def index(layer):
        return idi.information_difference([layer], [body], [retrained], labels).index

    assert index(retold) == pytest.approx(1, abs=0.02)
    assert index(retold @ [[1.0], [0], [0], [0]]) < 0.9  # less of it


def test_linear_probe():
    rng = np.random.default_rng(21)
    labels = rng.random((2, 4000)) < 0.5
    for separation in (0, 0.5, 1.5):
        train, test = (gaussian_features(rng, y, separation) for y in labels)
        accuracy = idi.linear_probe(train, labels[0], test, labels[1])
        assert accuracy == pytest.approx(stats.norm.cdf(separation), abs=0.025)
    classes = rng.integers(0, 5, 300)
    maps = np.zeros((300, 5, 2)) + rng.normal(0, 0.1, (300, 5, 2))
    maps[np.arange(300), classes] += 1
    assert idi.linear_probe(maps[:200], classes[:200], maps[200:], classes[200:]) == 1


def test_features_that_cannot_be_used_are_refused():
    features, labels = np.zeros((20, 2)), np.arange(20) < 3
    with pytest.raises(InputError, match="examples"):
        idi.mutual_information(features, labels)
    with pytest.raises(InputError, match="labels"):
        idi.mutual_information(features, labels[:5])
    with pytest.raises(InputError, match="layers"):
        idi.information_difference([features], [features], [features] * 2, labels)
    with pytest.raises(InputError, match="same layers"):
        idi.information_difference({1: features}, {1: features}, {2: features}, labels)
    with pytest.raises(InputError, match="two classes"):
        idi.linear_probe(features, np.zeros(20), features, labels)
