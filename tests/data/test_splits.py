"""Validation, forget and retain sets: who is held out, who never is."""

import numpy as np
import pytest
from small_runs import small_config, split_of

from unlearn.errors import InputError


def test_given_indices_are_forgotten_and_never_held_out(tmp_path):
    wanted = [3, 50, 199, 7]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, wanted)))
    for i, changes in enumerate(
        (
            {"forget__indices": tuple(wanted)},
            {"forget__file": str(tmp_path / "ids.txt")},
        )
    ):
        config = small_config(forget__kind="indices", data__validation=0.5, **changes)
        labels = np.arange(200) % 3
        parts = split_of(config, labels)
        assert sorted(parts.train[parts.forget]) == sorted(wanted), i
        assert not set(wanted) & set(parts.validation)


def test_part_of_the_training_split():
    """`data.examples`: the forget set is always among them, validation never."""
    labels = np.arange(200) % 3
    config = small_config(forget__kind="indices", forget__indices=(5, 9, 100))
    whole = split_of(config, labels)
    config.data.examples = 50
    parts = split_of(config, labels)
    assert len(np.unique(parts.train)) == 50
    assert {5, 9, 100} <= set(parts.train)
    assert parts.train[parts.forget].tolist() == [5, 9, 100]
    np.testing.assert_array_equal(parts.validation, whole.validation)
    assert not np.intersect1d(parts.train, parts.validation).size
    for count in (3, 1000):
        config.data.examples = count
        with pytest.raises(InputError, match="data.examples must lie in 4.."):
            split_of(config, labels)


def test_validation_takes_whole_groups():
    labels = np.arange(200) % 3
    groups = np.random.default_rng(0).integers(0, 60, 200)
    config = small_config(
        forget__kind="indices", forget__indices=(0, 1), data__validation=0.3
    )
    parts = split_of(config, labels, groups=groups)
    held_out = groups[parts.validation]
    assert not set(held_out) & set(groups[parts.train])
    assert not set(held_out) & set(groups[[0, 1]])
    assert 60 - max(np.bincount(groups)) <= len(held_out) <= 60
    apart = split_of(config, labels)
    assert set(groups[apart.validation]) & set(groups[apart.train])


@pytest.mark.parametrize("seed", range(4))
def test_no_example_of_a_group_that_is_forgotten_is_held_out(seed):
    """With few large groups: one that is partly requested stays in training whole."""
    labels, groups = np.arange(200) % 3, np.arange(200) % 10
    config = small_config(
        forget__kind="indices",
        forget__indices=(3, 14),
        forget__seed=seed,
        data__validation=0.6,
    )
    parts = split_of(config, labels, groups=groups)
    assert len(parts.validation) == 120
    assert not {3, 4} & set(groups[parts.validation])
