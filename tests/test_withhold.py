"""What a method does not declare is gone."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from unlearn.problem import withhold

NEEDS = ("forget", "retain", "forget_classes", "validation")
EVERY = [subset for size in range(5) for subset in itertools.combinations(NEEDS, size)]


@pytest.mark.parametrize("needs", EVERY, ids="+".join)
def test_only_what_is_named_is_there(needs, class_problem):
    seen = withhold(class_problem, needs)
    for need in NEEDS:
        assert (getattr(seen, need) is not None) == (need in needs), need
    sets = [name for name in ("forget", "retain") if name in needs]
    assert (seen.examples is None) == (seen.labels is None) == (not sets)
    kept = [np.asarray(getattr(class_problem, name)) for name in sets]
    for name, indices in zip(sets, kept, strict=True):
        found = getattr(seen, name)
        np.testing.assert_array_equal(
            seen.examples[found], class_problem.examples[indices]
        )
        np.testing.assert_array_equal(seen.labels[found], class_problem.labels[indices])
    if len(sets) == 1:  # of the other set there is no image, named or not
        assert len(seen.examples) == len(seen.labels) == len(kept[0])
    if "forget_classes" in needs:
        np.testing.assert_array_equal(seen.forget_classes, [1])
    if "validation" in needs:
        assert seen.validation is class_problem.validation


def test_the_classes_of_random_forgetting_are_none_but_known(problem):
    assert withhold(problem, ("retain",)).forget_classes is None
    empty = withhold(problem, ("retain", "forget_classes")).forget_classes
    assert empty.shape == (0,) and empty.dtype == jnp.int32
