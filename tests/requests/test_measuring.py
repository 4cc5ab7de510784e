"""What is measured of one request."""

import numpy as np
import pytest

from unlearn.requests import measuring
from unlearn.requests.resolve import Examples

RNG = np.random.default_rng(0)


def case(forget, tests):
    """Examples of which the first are erased and the last are tests; sets of them."""
    size = forget + 10 + tests
    split = np.repeat([0, 2], [forget + 10, tests]).astype(np.int8)
    labels = RNG.integers(0, 3, size).astype(np.int32)
    ids = np.arange(size)
    examples = Examples(ids, labels, split, ids * 0 - 1, ids.astype(str))
    parts = np.split(ids, [forget, forget + 10])
    return examples, measuring.Sets(*parts)


def answers(sets, labels, confidence):
    """Logits by set: how sure the model is of the right class."""
    return {
        name: np.eye(3)[labels[rows]] * confidence[name]
        + RNG.normal(0, 0.1, (len(rows), 3))
        for name, rows in sets._asdict().items()
    }


def test_what_was_memorised_has_low_percentiles_and_a_strong_attack():
    examples, sets = case(30, 100)
    sure = {"forget": 9, "retain": 9, "test": 3}
    alike = {"forget": 3, "retain": 9, "test": 3}
    both = measuring.Answers(
        *(answers(sets, examples.labels, x) for x in (sure, alike))
    )
    found = measuring.measure(examples, sets, both)
    assert found["accuracy"]["forget"] == {"examples": 30, "before": 1.0, "after": 1.0}
    before, after = found["mean_percentile"]
    assert before < 1 and 30 < after < 70
    assert found["attack"]["before"] > 0.99
    assert abs(found["attack"]["after"] - 0.5) < 4 * found["attack"]["null_sd"]
    assert len(found["losses"]) == measuring.SHOWN


@pytest.mark.parametrize(("forget", "tests"), [(1, 100), (19, 100), (30, 5)])
def test_few_examples_are_not_attacked(forget, tests):
    examples, sets = case(forget, tests)
    sure = {"forget": 9, "retain": 9, "test": 3}
    logits = answers(sets, examples.labels, sure)
    found = measuring.measure(examples, sets, measuring.Answers(logits, logits))
    assert found["attack"] is None and len(found["losses"]) == min(forget, 12)


def test_nothing_to_measure_is_no_number():
    examples, sets = case(0, 5)
    nothing = {name: np.zeros((len(rows), 3)) for name, rows in sets._asdict().items()}
    found = measuring.measure(examples, sets, measuring.Answers(nothing, nothing))
    assert found["accuracy"]["forget"] == {
        "examples": 0,
        "before": None,
        "after": None,
    }
    assert found["losses"] == []


def test_percentiles_are_among_tests_of_the_same_classes():
    examples, sets = case(1, 300)
    label = examples.labels[sets.forget[0]]
    found = measuring.measure(
        examples,
        sets,
        measuring.Answers(
            *[{n: np.zeros((len(r), 3)) for n, r in sets._asdict().items()}] * 2
        ),
    )
    assert found["compared_with"] == np.sum(examples.labels[sets.test] == label)
