"""Sets of tensorflow-datasets that are not as one would wish: splits, ids, sizes."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets
from data_cases import equal, random_images, rejects

from unlearn import data
from unlearn.data import tf_stand_in, tfds
from unlearn.errors import InputError
from unlearn.stored import Stored

SPLITS: dict[str, list] = {}  # `(id, label)` of each image


class UnlearnTiny(tensorflow_datasets.core.GeneratorBasedBuilder):
    """A few images in splits of any names."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")

    def _info(self):
        features = tensorflow_datasets.features
        return tensorflow_datasets.core.DatasetInfo(
            builder=self,
            supervised_keys=("image", "label"),
            features=features.FeaturesDict(
                {
                    "image": features.Image(shape=(6, 5, 3), encoding_format="png"),
                    "label": features.ClassLabel(num_classes=2),
                    "id": np.int64,
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name) for name in SPLITS}

    def _generate_examples(self, split):
        for row, (number, label) in enumerate(SPLITS[split]):
            image = random_images(1, (6, 5, 3), seed=row + 1000 * len(split))[0]
            yield row, {"image": image, "label": label, "id": number}


def examples(start, count, label=None):
    return [(start + i, i % 2 if label is None else label) for i in range(count)]


def prepare(root, monkeypatch, **splits):
    for name, rows in splits.items():
        monkeypatch.setitem(SPLITS, name, rows)
    builder = UnlearnTiny(data_dir=root)
    with tf_stand_in.standing_in():
        builder.download_and_prepare(file_format="array_record")


def load(root, **options):
    return data.load("unlearn_tiny", data_dir=root, cache_dir=root / "cache", **options)


@pytest.mark.parametrize("test", [{}, {"test": examples(0, 5)}], ids=["drawn", "given"])
def test_images_that_stay_in_the_cache(test, tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "CHUNK", 3)
    prepare(tmp_path, monkeypatch, train=examples(0, 20), **test)
    name, options = "unlearn_tiny", {"data_dir": tmp_path}
    whole = data.load(name, cache_dir=tmp_path / "here", **options)
    for _ in range(2):
        stays = data.load(name, cache_dir=tmp_path / "c", resident=False, **options)
        assert isinstance(stays.train_images, Stored)
        equal(stays, whole)
        np.testing.assert_array_equal(stays.train_ids, whole.train_ids)
        assert len([*(tmp_path / "c").iterdir()]) == 1
    monkeypatch.setenv("UNLEARN_DATA_GIB", "1e-7")
    equal(data.load(name, cache_dir=tmp_path / "d", resident=None, **options), whole)
    rejects(lambda: data.load(name, cache_dir=tmp_path / "e", **options), "of memory")


def test_images_that_differ_in_size(tmp_path, monkeypatch):
    def cut(*args):
        image = real(*args)
        return image[: 4 + image[0, 0, 0] % 2]

    real = tfds.decode
    monkeypatch.setattr(tfds, "decode", cut)
    prepare(tmp_path, monkeypatch, train=examples(0, 20))
    rejects(lambda: load(tmp_path), "differ in size; give an image_size")


def test_an_id_that_both_splits_have_is_that_of_the_training_example(
    tmp_path, monkeypatch
):
    prepare(tmp_path, monkeypatch, train=examples(0, 10), test=examples(0, 4))
    loaded = load(tmp_path)
    assert sorted(loaded.train_ids) == list(range(10))
    for image, id, label in zip(
        loaded.train_images, loaded.train_ids, loaded.train_labels, strict=True
    ):
        seed = int(id) + 5000
        np.testing.assert_array_equal(image, random_images(1, (6, 5, 3), seed)[0])
        assert label == id % 2
    assert sorted(loaded.test_ids) == [f"test/{i}" for i in range(4)]
    assert any("test/" in note for note in loaded.notes)


def test_ids_that_repeat_name_nobody(tmp_path, monkeypatch):
    twice = examples(0, 5) + examples(0, 5)
    prepare(tmp_path, monkeypatch, train=twice, test=examples(50, 4))
    loaded = load(tmp_path)
    assert loaded.train_ids.tolist() == [f"row/{i}" for i in range(10)]
    assert loaded.test_ids.tolist() == [f"test/row/{i}" for i in range(4)]
    assert any("given twice" in note for note in loaded.notes)


def test_splits_that_are_not_used_and_validation_as_test_are_said(
    tmp_path, monkeypatch
):
    prepare(
        tmp_path,
        monkeypatch,
        train=examples(0, 10),
        validation=examples(20, 4),
        extra=examples(30, 3),
    )
    loaded = load(tmp_path)
    assert len(loaded.test_labels) == 4
    assert set(loaded.notes) == {
        "test split: validation, 4 images",
        "not used: extra, 3 images",
    }


def test_a_test_split_without_labels_is_passed_over(tmp_path, monkeypatch):
    prepare(
        tmp_path,
        monkeypatch,
        train=examples(0, 10),
        test=examples(40, 5, label=-1),
        validation=examples(20, 4),
    )
    loaded = load(tmp_path)
    assert sorted(loaded.test_ids) == [20, 21, 22, 23]
    assert set(loaded.notes) == {
        "test split: validation, 4 images",
        "not used: test, 5 images without labels",
    }


def test_the_limit_holds_and_no_memory_is_no_damage(tmp_path, monkeypatch):
    prepare(tmp_path, monkeypatch, train=examples(0, 10), test=examples(20, 4))
    monkeypatch.setenv("UNLEARN_DATA_GIB", str((14 * 90 - 1) / 2**30))
    rejects(lambda: load(tmp_path), "unlearn_tiny", "UNLEARN_DATA_GIB=")
    monkeypatch.setenv("UNLEARN_DATA_GIB", str((14 * 90 + 1) / 2**30))

    def no_memory(*args):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(tfds, "decode", no_memory)
        with pytest.raises(MemoryError):
            load(tmp_path)

    def refuse(*args):
        raise InputError("too many pixels")

    with monkeypatch.context() as patch:
        patch.setattr(tfds, "decode", refuse)
        rejects(
            lambda: load(tmp_path), "unlearn_tiny: cannot read image 0 of the train"
        )
    assert len(load(tmp_path).train_labels) == 10


def test_supervised_keys_of_another_form():
    features = {"image": None, "label": None}
    info = SimpleNamespace(supervised_keys=({"image": 1}, "label"), features=features)
    rejects(lambda: tfds._keys("set", tensorflow_datasets, info), "not a set of images")
