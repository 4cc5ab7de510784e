"""Validation, forget and retain sets: who is held out, who never is."""

import numpy as np
import pytest
from small_runs import small_config, split_of

from unlearn.data.splits import hold_out
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


LABELS = np.arange(200) % 4


def by_id(*wanted, **changes):
    return small_config(forget__kind="ids", forget__ids=wanted, **changes)


def forgotten(parts):
    return parts.train[parts.forget].tolist()


def test_ids_are_the_users_whatever_the_order_and_the_kind():
    """Against a look-up by hand, of numbers and of names."""
    order = np.random.default_rng(0).permutation(1000)[:200]
    parts = split_of(by_id(*order[[7, 3]].tolist()), LABELS, 4, ids=order)
    assert forgotten(parts) == [3, 7]
    names = np.array([f"{number}/a b.png" for number in order])
    parts = split_of(by_id(*names[[7, 3]].tolist()), LABELS, 4, ids=names)
    assert forgotten(parts) == [3, 7]
    assert parts.notes == (f"Forgetting 2 examples: '{names[3]}', '{names[7]}'",)


def test_the_older_names_of_ids():
    config = small_config(forget__kind="indices", forget__indices=(5, 9))
    assert forgotten(split_of(config, LABELS, 4)) == [5, 9]


def test_ids_that_are_not_trained_on_are_named():
    with pytest.raises(InputError, match="test split, 1 of 2.*: 900"):
        split_of(by_id(3, 900), LABELS, 4, test_ids=[900])
    with pytest.raises(InputError, match="not in the data, 1 of 2: 901"):
        split_of(by_id(3, 901), LABELS, 4, test_ids=[900])


def test_an_id_given_twice_is_said():
    parts = split_of(by_id(3, 5, 3), LABELS, 4)
    assert forgotten(parts) == [3, 5]
    assert "Given more than once: 3" in parts.notes


def test_groups_go_along_and_are_counted():
    groups = np.arange(200) // 4
    parts = split_of(by_id(8, 17), LABELS, 4, groups)
    assert forgotten(parts) == [*range(8, 12), *range(16, 20)]
    assert any(line.startswith("6 more of the same groups") for line in parts.notes)
    apart = split_of(by_id(8, 17, forget__groups=False), LABELS, 4, groups)
    assert forgotten(apart) == [8, 17]
    assert not set(groups[apart.validation]) & set(groups[[8, 17]])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "changes",
    [
        {"forget__fraction": 0.2},
        {"forget__count": 25},
        {
            "forget__kind": "class",
            "forget__classes": (1,),
            "forget__class_fraction": 0.3,
        },
    ],
)
def test_no_group_is_torn_by_a_draw(changes, seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 80, 200)
    config = small_config(forget__seed=seed, data__validation=0.2, **changes)
    parts = split_of(config, LABELS, 4, groups)
    gone = parts.train[parts.forget]
    sets = gone, np.setdiff1d(parts.train, gone), parts.validation
    assert sum(map(len, sets)) == 200
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not set(groups[sets[one]]) & set(groups[sets[other]])
    config.forget.groups = False
    apart = split_of(config, LABELS, 4, groups)
    gone = apart.train[apart.forget]
    assert set(groups[gone]) & set(groups[np.setdiff1d(apart.train, gone)])


def test_a_whole_class_is_itself_only_and_torn_groups_are_said():
    groups = np.arange(200) // 2
    config = small_config(forget__kind="class", forget__classes=(1,))
    parts = split_of(config, LABELS, 4, groups)
    assert set(LABELS[parts.train[parts.forget]]) == {1}
    torn = len(parts.forget)
    assert f"Groups with examples of other classes as well, which stay: {torn}" in (
        parts.notes
    )


SAME = np.arange(200)
SAME[[50, 60]], SAME[100] = 3, 17  # exact copies of 3 and of 17
TEST = np.array([17, 900])


def test_copies_go_along_with_given_ids():
    for seed in range(4):
        config = by_id(3, 17, data__validation=0.5, forget__seed=seed)
        parts = split_of(config, LABELS, 4, same=(SAME, TEST))
        assert forgotten(parts) == [3, 17, 50, 60, 100]
        assert parts.copies == {"retain": 0, "validation": 0, "test": 2}
    assert any(line.startswith("3 more are exact copies") for line in parts.notes)
    assert "2 forgotten examples have an exact copy in the test set" in parts.notes
    config = by_id(3, 17, forget__copies=False)
    parts = split_of(config, LABELS, 4, same=(SAME, TEST))
    assert forgotten(parts) == [3, 17]
    assert parts.copies["retain"] == 2


def test_copies_and_groups_go_along_in_chains():
    groups = np.arange(200)
    groups[51] = groups[50]
    parts = split_of(by_id(3), LABELS, 4, groups, same=(SAME, TEST))
    assert forgotten(parts) == [3, 50, 51, 60]
    more = [line for line in parts.notes if "go along" in line]
    assert more[0].startswith("2 more are exact copies")
    assert more[1].startswith("1 more of the groups of those copies")
    parts = split_of(by_id(3, forget__groups=False), LABELS, 4, groups, same=(SAME, ()))
    assert forgotten(parts) == [3, 50, 60]
    parts = split_of(by_id(3, forget__copies=False), LABELS, 4, groups, same=(SAME, ()))
    assert forgotten(parts) == [3]


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_a_draw_are_counted(seed):
    """Against a count by hand: all even rows are copies of their odd neighbours."""
    same = np.arange(200) // 2
    config = small_config(forget__fraction=0.3, forget__seed=seed, data__validation=0.2)
    parts = split_of(config, LABELS, 4, same=(same, np.array([0, 1])))
    gone = parts.train[parts.forget]
    stays = set(np.setdiff1d(parts.train, gone))
    left = sum(int(row ^ 1) in stays for row in gone)
    assert parts.copies["retain"] == left > 0
    assert parts.copies["validation"] == 0
    assert parts.copies["test"] == np.sum(np.isin(gone, [0, 1, 2, 3]))
    line = f"{left} forgotten examples have an exact copy that is still trained on"
    assert line in parts.notes


def test_copies_change_no_draw_where_there_are_none():
    config = small_config(forget__fraction=0.3)
    plain = split_of(config, LABELS, 4)
    same = split_of(config, LABELS, 4, same=(np.arange(200), np.array([900])))
    for name in ("train", "validation", "forget"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(same, name))


def test_classes_by_name_and_what_is_said():
    names = ("cat", "dog", "owl", "fox")
    config = small_config(
        forget__kind="class", forget__classes=("owl", 0), data__validation=0.0
    )
    parts = split_of(config, LABELS, 4, class_names=names)
    assert parts.classes == (0, 2)
    assert set(LABELS[parts.train[parts.forget]]) == {0, 2}
    said = "Forgetting 50 examples of class 0 ('cat'), 50 examples of class 2 ('owl')"
    assert parts.notes == (said,)
    config.forget.class_fraction = 0.1
    said = (
        "Forgetting 5 of 50 examples of class 0 ('cat'), 5 of 50 examples of class 2 "
    )
    assert split_of(config, LABELS, 4, class_names=names).notes == (said + "('owl')",)
    config = small_config(forget__fraction=0.1, data__validation=0.0)
    said = "Forgetting 20 of 200 examples at random"
    assert split_of(config, LABELS, 4).notes == (said,)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"forget__classes": (0, 1, 2)}, "only class 3 would be left"),
        ({"forget__classes": (0, 1, 2, 3)}, "nothing to retain"),
        ({"forget__classes": (4,)}, "no class 4"),
        ({"forget__classes": ("owl",)}, "no class 'owl'"),
    ],
)
def test_a_class_request_must_leave_a_classifier(changes, message):
    config = small_config(forget__kind="class", **changes)
    with pytest.raises(InputError, match=message):
        split_of(config, LABELS, 4)


def test_a_class_without_training_example():
    config = small_config(forget__kind="class", forget__classes=(4,))
    with pytest.raises(InputError, match="class 4 has no training example"):
        split_of(config, LABELS, 5)


def test_a_validation_set_that_no_group_fits_in_is_said():
    config = small_config(data__validation=0.02, forget__groups=False)
    parts = split_of(config, LABELS, 4, np.arange(200) // 50)
    assert not len(parts.validation)
    assert any("No validation set" in line for line in parts.notes)


@pytest.mark.parametrize("seed", range(4))
def test_one_large_group_keeps_no_others_from_validation(seed):
    groups = np.arange(200)
    groups[50:] = 50
    config = small_config(
        data__validation=0.2, forget__groups=False, forget__seed=seed, forget__count=5
    )
    parts = split_of(config, LABELS, 4, groups)
    assert len(parts.validation) == 40 and parts.validation.max() < 50
    assert not any("alidation" in line for line in parts.notes)
    groups[10:] = 50
    parts = split_of(config, LABELS, 4, groups)
    assert len(parts.validation) == 10
    assert any(line.startswith("Validation has 10 ex") for line in parts.notes)


@pytest.mark.parametrize("seed", range(4))
def test_where_all_are_apart_the_first_of_the_draw_are_held_out(seed):
    """As it was before what does not fit was passed over: runs go on as they are."""
    given = np.array([3, 7])
    order = np.setdiff1d(np.arange(200), given)
    order = np.random.default_rng([seed, 1]).permutation(order)
    held_out = hold_out(200, given, 0.15, np.arange(200), seed)
    np.testing.assert_array_equal(held_out, np.sort(order[:30]))


@pytest.mark.parametrize("share, size", [(0.995, 50), (0.5, 1)])
def test_a_part_of_a_class_that_is_all_of_it(share, size):
    labels = np.repeat([0, 1, 2], [size, 60, 60])
    config = small_config(
        forget__kind="class",
        forget__classes=(0,),
        forget__class_fraction=share,
        data__validation=0.0,
    )
    with pytest.raises(InputError, match=f"class_fraction={share:g} of .* is all of"):
        split_of(config, labels)


def test_one_group_is_one_group():
    groups = np.repeat([0, 1, 2], [20, 90, 90])
    config = small_config(forget__fraction=0.1, data__validation=0.0)
    assert split_of(config, LABELS, 4, groups).notes == (
        "Forgetting 20 of 200 examples at random, 1 group",
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"forget__ids": (1,)}, "set forget.kind=ids"),
        ({"forget__kind": "ids", "forget__classes": (1,)}, "set forget.kind=class"),
        (
            {"forget__kind": "ids", "forget__ids": (1,), "forget__file": "a.txt"},
            "forget.ids or forget.file, not both",
        ),
        ({"forget__column": "id"}, "give forget.file"),
        ({"forget__kind": "ids", "forget__ids": (1.5,)}, "whole numbers or names"),
        ({"forget__kind": "ids", "forget__ids": (True,)}, "whole numbers or names"),
        ({"forget__kind": "class", "forget__classes": (1.0,)}, "numbers or names"),
        ({"forget__kind": "ids", "forget__ids": (2**70,)}, "not in the data"),
        (
            {"forget__kind": "ids", "forget__ids": tuple(range(200))},
            "nothing to retain",
        ),
        ({"forget__kind": "ids"}, "needs ids: give forget.ids"),
        *(
            (
                {"forget__kind": kind, "forget__fraction": 0.2, **given},
                "set forget.fraction=0.1, as it is by default; a part of classes is "
                "forget.class_fraction",
            )
            for kind, given in (
                ("class", {"forget__classes": (1,)}),
                ("subclass", {"forget__subclasses": (1,)}),
            )
        ),
        (
            {"forget__kind": "ids", "forget__ids": (1,), "forget__fraction": 0.2},
            "set forget.fraction=0.1",
        ),
        *(
            (
                {
                    "forget__kind": "class",
                    "forget__classes": (1,),
                    "forget__class_fraction": share,
                },
                r"forget.class_fraction must lie in \(0, 1\]",
            )
            for share in (0.0, -0.5, 1.5, float("nan"))
        ),
        *(
            ({f"data__{name}": (0.5, value)}, f"data.{name} must be finite numbers")
            for name, value in (
                ("std", 0.0),
                ("std", -0.1),
                ("std", float("nan")),
                ("std", float("inf")),
                ("mean", float("nan")),
                ("mean", float("inf")),
            )
        ),
    ],
)
def test_a_request_that_does_not_fit_together(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        split_of(small_config(**changes), LABELS, 4)
    assert "\n" not in str(caught.value)
