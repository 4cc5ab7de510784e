"""Composite scores against plain loops."""

import math

import numpy as np
import pytest
from metric_cases import CASES

from unlearn.errors import InputError
from unlearn.metrics import composite
from unlearn.metrics.accuracy import confusion_matrix


def test_nomus_and_adaptive_unlearning_score_of_random_shares():
    rng = np.random.default_rng(32)
    for a, b, c, w in rng.uniform(0, 1, (CASES, 4)):
        sure = 2 * b if b < 0.5 else 2 * (1 - b)  # 1 - 2 |b - 1/2|
        assert composite.nomus(a, b) == pytest.approx((a + sure) / 2)
        assert composite.nomus(a, b, weight=w) == pytest.approx(w * (a - sure) + sure)
        kept, gap = 1 - c + a, max(a - b, b - a)
        score = composite.adaptive_unlearning_score
        assert score(a, b, c) == pytest.approx(kept / (1 + gap))
        assert score(a, b, c, class_removal=True) == pytest.approx(kept / (1 + b))


def test_nomus():
    assert composite.nomus(0.8, 0.5) == pytest.approx(0.9)
    assert composite.nomus(1, 0) == composite.nomus(1, 1) == 0.5
    assert composite.nomus(0.6, 0.55, weight=0.25) == pytest.approx(0.825)
    # what the paper's tables print as "MIA" is no argument: here it would score 0.5
    assert composite.nomus(0.9, 0.53) != pytest.approx(composite.nomus(0.9, 0.03))
    with pytest.raises(InputError, match="shares"):
        composite.nomus(93.2, 0.5)


def test_nomus_of_an_attack_that_guesses():
    hits = np.random.default_rng(22).binomial(400, 0.5, 4000) / 400
    loss = 1 - np.mean([composite.nomus(1, hit, weight=0) for hit in hits])
    assert loss == pytest.approx(2 * 0.4 / math.sqrt(400), rel=0.05)


def test_adaptive_unlearning_score():
    score = composite.adaptive_unlearning_score
    assert score(0.9, 0.9, 0.9) == 1
    assert score(0.9, 0.0, 0.9, class_removal=True) == 1
    assert score(0.9, 0.0, 0.9) == pytest.approx(1 / 1.9)
    assert score(0.85, 0.95, 0.9) == pytest.approx(0.95 / 1.1)
    assert score(0.85, 0.2, 0.9, class_removal=True) == pytest.approx(0.95 / 1.2)
    assert score(0.92, 0.92, 0.9) > 1
    with pytest.raises(InputError, match="shares"):
        score(90, 0.9, 0.9)


def test_interclass_confusion():
    rng = np.random.default_rng(23)
    for _ in range(CASES):
        labels, logits = rng.integers(0, 6, 40), rng.normal(size=(40, 6))
        predicted = logits.argmax(axis=1)
        pairs = [(1, 4), (2, 5)][: rng.integers(1, 3)]
        wrong = of_them = confused = 0
        for y, guess in zip(labels, predicted, strict=True):
            for a, b in pairs:
                of_them += y in (a, b)
                wrong += y in (a, b) and guess != y
                confused += (y, guess) in ((a, b), (b, a))
        ours = composite.interclass_confusion(confusion_matrix(logits, labels), pairs)
        assert ours.error == pytest.approx(wrong / of_them)
        assert ours.confused == confused
    matrix = np.array([[5, 3, 0], [1, 6, 1], [0, 0, 9]])
    assert composite.interclass_confusion(matrix, [(0, 1)]) == (5 / 16, 4)
    twice = composite.interclass_confusion(matrix, [(0, 1), (1, 0)])
    assert twice == (5 / 16, 4)
    empty = np.zeros((3, 3))
    for bad in (
        (matrix, []),
        (matrix, [(1, 1)]),
        (matrix, [(0, 3)]),
        (empty, [(0, 1)]),
    ):
        with pytest.raises(InputError):
            composite.interclass_confusion(*bad)
