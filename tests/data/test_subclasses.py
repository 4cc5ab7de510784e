"""A second label: where it comes from, and requests that go by it."""

import numpy as np
import pytest
from data_cases import arrays, equal, random_images, rejects
from PIL import Image
from small_runs import small_config, split_of

from unlearn import data
from unlearn.errors import InputError
from unlearn.pipeline import setup
from unlearn.pipeline.other_requests import other_requests

NAMES = ("maple", "oak", "rocket", "tank")  # of two classes
SECOND = np.arange(40) % 4
LABELS = SECOND // 2


def folder_of(root, places):
    images, _ = arrays()
    for number, place in enumerate(places):
        path = root / place / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(images[number])).save(path)
    return f"folder:{root}"


def request(*wanted, kind="subclass", **changes):
    return small_config(forget__kind=kind, forget__subclasses=wanted, **changes)


def parts_of(config, groups=None):
    return split_of(
        config, LABELS, groups=groups, subclasses=SECOND, subclass_names=NAMES
    )


@pytest.mark.parametrize("second", [SECOND, np.array(NAMES)[SECOND]])
def test_npz_has_a_second_label(tmp_path, second):
    images = random_images(40, (4, 4, 1))
    held_out = dict(x_test=images[:4], y_test=LABELS[:4])
    path = tmp_path / "two.npz"
    common = dict(x_train=images, y_train=LABELS, subclass_names=np.array(NAMES))
    np.savez(path, **common, **held_out, subclasses_train=second)
    loaded = data.load(f"npz:{path}")
    np.testing.assert_array_equal(loaded.train_subclasses, SECOND)
    assert loaded.subclass_names == NAMES
    assert loaded.test_subclasses is None
    np.savez(path, **common, train_subclasses=second)  # a test split is drawn
    loaded = data.load(f"npz:{path}")
    np.testing.assert_array_equal(loaded.train_subclasses // 2, loaded.train_labels)
    np.testing.assert_array_equal(loaded.test_subclasses // 2, loaded.test_labels)
    np.savez(path, **common, train_subclasses=second[:7])
    rejects(lambda: data.load(f"npz:{path}"), "40 train labels", "sub-classes", "[7]")


def test_folders_in_class_folders_are_a_second_label(tmp_path):
    places = ["tree/oak", "tree/maple", "car/tank", "car/oak"] * 3
    name = folder_of(tmp_path / "set", [f"train/{place}" for place in places])
    folder_of(tmp_path / "set", ["test/tree/oak", "test/car/tank"])

    def load():
        return data.load(name, cache_dir=tmp_path / "cache")

    loaded = load()
    assert loaded.class_names == ("car", "tree")
    assert loaded.subclass_names == ("car/oak", "maple", "tank", "tree/oak")
    for id, own in zip(loaded.train_ids, loaded.train_subclasses, strict=True):
        expected = id.removeprefix("train/").rpartition("/")[0]
        assert expected.endswith(loaded.subclass_names[own])
    assert loaded.test_subclasses.tolist() == [2, 3]
    equal(loaded, load())
    folder_of(tmp_path / "set", ["test/tree/pine"])  # never trained on
    loaded = load()
    assert loaded.test_subclasses is None and len(loaded.subclass_names) == 4


@pytest.mark.parametrize(
    "places",
    [
        ["tree/images", "car/images"],  # as in Tiny-ImageNet: they say nothing
        ["tree/oak", "tree/maple", "car"],  # not of all images
        ["tree", "car"],
    ],
)
def test_folders_that_are_no_second_label(tmp_path, places):
    loaded = data.load(folder_of(tmp_path, places * 6), cache_dir=tmp_path / ".cache")
    assert loaded.train_subclasses is None and loaded.subclass_names == ()


def test_a_sub_class_is_forgotten_and_its_class_stays():
    parts = parts_of(request("rocket"))
    assert set(SECOND[parts.train[parts.forget]]) == {2}
    kept = np.delete(parts.train, parts.forget)
    assert 2 not in SECOND[kept] and {0, 1} == set(LABELS[kept])
    assert parts.classes == ()  # none is forgotten as a whole
    assert "of sub-class 2 ('rocket')" in parts.notes[0]
    both = parts_of(request("rocket", 0))
    assert set(SECOND[both.train[both.forget]]) == {0, 2}
    half = parts_of(request("rocket", forget__class_fraction=0.5))
    assert len(half.forget) == round(len(parts.forget) / 2)


def test_the_rest_of_its_groups_goes_along():
    groups = (np.arange(40) + 1) // 2  # an oak and a rocket, a tank and a maple
    parts = parts_of(request("rocket", data__validation=0.0), groups)
    assert set(SECOND[parts.train[parts.forget]]) == {1, 2}
    assert "10 of other sub-classes in the same groups" in parts.notes[0]


@pytest.mark.parametrize(
    "config, message",
    [
        (request("rokcet"), "no sub-class 'rokcet': did you mean 'rocket'?"),
        (request(9), "no sub-class 9: the sub-classes are 0..3, maple, oak"),
        (request(), "needs sub-classes, such as forget.subclasses=rocket,"),
        (request("rocket", kind="random"), "set forget.kind=subclass"),
    ],
)
def test_bad_requests(config, message):
    with pytest.raises(InputError) as caught:
        parts_of(config)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_second_label_it_says_so():
    with pytest.raises(InputError, match="needs data with a second label"):
        split_of(request("rocket"), LABELS)


def test_tuning_takes_other_sub_classes(tmp_path):
    images = random_images(40, (4, 4, 1))
    second = dict(subclasses=SECOND, subclass_names=NAMES)
    np.savez(tmp_path / "two.npz", x=images, y=LABELS, **second)
    config = request("rocket", data__name=f"npz:{tmp_path / 'two.npz'}")
    source = setup.load(config)
    config.tune.draws = 2
    found = other_requests(config, source)
    assert [other.config.forget.subclasses for other in found] == [("maple",), ("oak",)]
    config.tune.classes = ("tank",)
    (other,) = other_requests(config, source)
    assert other.config.forget.subclasses == ("tank",) and other.name == "forget_tank"
    config.tune.classes = ("rocket",)
    with pytest.raises(InputError, match="rocket, which the tables forget"):
        other_requests(config, source)
