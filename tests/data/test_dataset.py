"""The form of every data set."""

import numpy as np
from data_cases import rejects

from unlearn import data
from unlearn.data.dataset import make_dataset, stratified_split


def test_stratified_split_is_disjoint_and_complete():
    labels = np.repeat([0, 1, 2], [50, 10, 4])
    kept, held_out = stratified_split(labels)
    np.testing.assert_array_equal(np.sort(np.append(kept, held_out)), np.arange(64))
    np.testing.assert_array_equal(np.bincount(labels[held_out]), [10, 2, 1])


def test_fingerprint_sees_every_array():
    made = data.load("synthetic:4x4x1,classes=2,train=4,test=2")
    seen = {data.fingerprint(made)}
    for field in made._fields[1:5]:
        changed = getattr(made, field).copy()
        changed.flat[-1] ^= 1
        seen.add(data.fingerprint(made._replace(**{field: changed})))
    assert len(seen) == 5
    assert data.fingerprint(made._replace(name="renamed")) in seen


def test_stratified_split_is_what_it_was():
    """Of every class the first of a permutation: ids of earlier runs depend on it."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 10, 4]))
    random, expected = np.random.RandomState(0), []
    for label, count in enumerate([10, 2, 1]):
        expected += [*random.permutation(np.flatnonzero(labels == label))[:count]]
    kept, held_out = stratified_split(labels)
    np.testing.assert_array_equal(held_out, np.sort(expected))


def test_stratified_split_of_groups_keeps_them_whole():
    random = np.random.default_rng(0)
    groups = random.integers(0, 150, 500) ** 2  # of all sizes, and no range of numbers
    groups[:60] = -3  # larger than the share of its class
    labels = groups % 3
    kept, held_out = stratified_split(labels, groups=groups)
    np.testing.assert_array_equal(np.sort(np.append(kept, held_out)), np.arange(500))
    assert not set(groups[kept]) & set(groups[held_out])
    share = np.bincount(labels[held_out]) / np.bincount(labels)[: labels.max() + 1]
    assert ((share > 0.15) & (share < 0.21)).all()


def test_groups_that_do_not_fit_are_passed_over():
    """In each class a group of 8 and two of 1: the fifth is the latter."""
    labels = np.repeat(np.arange(20), 10)
    groups = np.tile([0] * 8 + [1, 2], 20) + 3 * labels
    _, held_out = stratified_split(labels, groups=groups)
    np.testing.assert_array_equal(held_out % 10, np.tile([8, 9], 20))


def test_a_fifth_keeps_ids_and_numbers_groups_anew():
    labels, rows = np.arange(60) % 2, np.arange(60)
    images = np.zeros((60, 2, 2, 1), np.uint8) + rows[:, None, None, None].astype(
        np.uint8
    )
    made = make_dataset("n", (images, labels), groups=rows // 4 + 7)
    for part in ("train", "test"):
        ids = getattr(made, f"{part}_ids")
        np.testing.assert_array_equal(getattr(made, f"{part}_images")[:, 0, 0, 0], ids)
        np.testing.assert_array_equal(getattr(made, f"{part}_labels"), labels[ids])
    assert not set(made.train_ids // 4) & set(made.test_ids // 4)
    numbers = np.unique(made.train_groups)
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))


def test_a_fifth_takes_all_exact_copies_or_none():
    labels, rows = np.arange(60) % 2, np.arange(60)
    content = rows % 30  # 0 and 30, 1 and 31, ...: copies of the same class
    images = np.zeros((60, 2, 2, 1), np.uint8) + content[:, None, None, None].astype(
        np.uint8
    )
    for groups in (None, rows // 2):
        made = make_dataset("n", (images, labels), groups=groups)
        assert len(made.test_labels) == 12 and not made.notes
        assert not set(content[made.train_ids]) & set(content[made.test_ids])
        if groups is not None:
            assert not set(groups[made.train_ids]) & set(groups[made.test_ids])
    images[:, 0, 0, 0] = labels
    images[:, 1:] = images[:, :1, 1:] = 0
    made = make_dataset("n", (images, labels))  # two contents: no way but to tear them
    assert made.notes == (
        "test split: 12 of its 12 have exact copies in training, for too few differ",
    )


def test_no_id_is_in_both_splits():
    images, labels = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1), np.arange(4) % 2
    made = make_dataset("n", (images, labels), (images, labels))
    assert made.train_ids.tolist() == [0, 1, 2, 3]
    assert made.test_ids.tolist() == ["test/0", "test/1", "test/2", "test/3"]


def test_splits_must_agree():
    images, labels = np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1), np.arange(4) % 2
    for other in (images.astype(np.float32), images[:, :1], images[..., 0]):
        rejects(
            lambda other=other: make_dataset("n", (images, labels), (other, labels))
        )
    all_7 = np.full((4, 2, 2, 1), 7, np.uint8)
    rejects(lambda: make_dataset("n", (all_7, labels), (all_7, labels)), "is 7")
    make_dataset("n", (all_7, labels), (all_7 + 1, labels))
    rejects(lambda: make_dataset("n", (images, labels * 0)), "2 classes")
    rejects(
        lambda: make_dataset("n", (images, labels), (images, labels + 1), "ab"), "2"
    )


def test_what_images_are_standardised_by_may_be_given():
    own = data.load("synthetic:4x4x3,classes=2,train=8,test=4")
    name = own.name
    given = data.load(name, mean=(0.4, 0.5, 0.6), std=(0.25,))
    np.testing.assert_allclose(given.mean, [0.4, 0.5, 0.6], rtol=1e-6)
    np.testing.assert_allclose(given.std, [0.25] * 3)
    np.testing.assert_array_equal(data.load(name, mean=(0.4,)).std, own.std)
    rejects(lambda: data.load(name, mean=(0.4, 0.5)), "data.mean", "3 channels")
    for bad in (0.0, -1.0, 1e-60, float("nan"), float("inf")):
        rejects(lambda bad=bad: data.load(name, std=(bad,)), "data.std must be finite")
    rejects(lambda: data.load(name, mean=(float("nan"),)), "data.mean must be finite")


def test_features_are_not_standardised(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(8), y=np.arange(8) % 2)
    rejects(lambda: data.load(f"npz:{tmp_path}/a.npz", std=(0.4,)), "data.std", "none")
