"""Sets of tensorflow-datasets, prepared without TensorFlow."""

import gzip
import io
import os
import socket
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from data_cases import equal, random_images, rejects

from unlearn import data
from unlearn.data import tfds
from unlearn.data.dataset import STATISTICS

needs_tfds = pytest.mark.skipif(
    "TFDS_DATA_DIR" not in os.environ, reason="TFDS_DATA_DIR has the real data"
)


def place(root, builder, contents):
    """Puts `{end of the url: bytes}` where the official downloads would be."""
    from tensorflow_datasets.core.download import resource

    for end, content in contents.items():
        (url,) = [url for url in builder.url_infos if url.endswith("/" + end)]
        name = resource.get_dl_fname(url, builder.url_infos[url].checksum)
        path = root / "downloads" / builder.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        Path(f"{path}.INFO").write_text("{}")


def idx_files(images, labels, prefix):
    return {
        f"{prefix}-images-idx3-ubyte.gz": gzip.compress(bytes(16) + images.tobytes()),
        f"{prefix}-labels-idx1-ubyte.gz": gzip.compress(bytes(8) + labels.tobytes()),
    }


def tar_file(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar_rows(images, *labels):
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.hstack([*[label[:, None] for label in labels], planes]).tobytes()


def mnist_archives(train, test):
    return idx_files(*train, "train") | idx_files(*test, "t10k")


def cifar10_archives(train, test):
    names = "\n".join(f"name{i}" for i in range(10)).encode()
    files = {"test_batch.bin": cifar_rows(*test[::1]), "batches.meta.txt": names}
    for batch in range(5):
        part = np.s_[batch * 4 : batch * 4 + 4]
        files[f"data_batch_{batch + 1}.bin"] = cifar_rows(
            train[0][part], train[1][part]
        )
    files = {f"cifar-10-batches-bin/{name}": files[name] for name in files}
    return {"cifar-10-binary.tar.gz": tar_file(files)}


def cifar100_archives(train, test):
    files = {
        "train.bin": cifar_rows(train[0], train[1] // 5, train[1]),
        "test.bin": cifar_rows(test[0], test[1] // 5, test[1]),
        "fine_label_names.txt": "\n".join(f"fine{i}" for i in range(100)).encode(),
        "coarse_label_names.txt": "\n".join(f"coarse{i}" for i in range(20)).encode(),
    }
    files = {f"cifar-100-binary/{name}": files[name] for name in files}
    return {"cifar-100-binary.tar.gz": tar_file(files)}


def svhn_archives(train, test):
    from scipy.io import savemat

    files = {}
    for name, (images, labels) in {"train": train, "test": test, "extra": test}.items():
        buffer = io.BytesIO()
        labels = np.where(labels == 0, 10, labels)[:, None]
        savemat(buffer, {"X": images.transpose(1, 2, 3, 0), "y": labels})
        files[f"{name}_32x32.mat"] = buffer.getvalue()
    return files


OFFICIAL = {
    "mnist": (mnist_archives, (28, 28, 1), 10),
    "fashion_mnist": (mnist_archives, (28, 28, 1), 10),
    "cifar10": (cifar10_archives, (32, 32, 3), 10),
    "cifar100": (cifar100_archives, (32, 32, 3), 100),
    "svhn_cropped": (svhn_archives, (32, 32, 3), 10),
}


def prepare(name, root, monkeypatch):
    """Loads tiny data under an official name; returns it and what went in."""
    import tensorflow_datasets
    from tensorflow_datasets.image_classification import mnist

    archives, shape, classes = OFFICIAL[name]
    splits = [
        (random_images(n, shape, n), (np.arange(n) * 7 % classes).astype(np.uint8))
        for n in (20, 10)
    ]
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 20)
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 10)
    monkeypatch.setattr(tfds, "_answers", lambda url: pytest.fail("asked the network"))
    place(root, tensorflow_datasets.builder(name, data_dir=root), archives(*splits))
    loaded = data.load(name, data_dir=root, cache_dir=root / "cache")
    return loaded, splits


def stored_ids(name, root, split):
    """The id of each image: the feature `id`, else where it is stored."""
    import tensorflow_datasets

    found = {}
    source = tensorflow_datasets.data_source(name, split=split, data_dir=root)
    for row, example in enumerate(source):
        id = row if split == "train" else f"test/{row}"
        if "id" in example:
            id = example["id"].decode()
        found[example["image"].tobytes()] = id
    return found


def by_image(images, labels):
    return {image.tobytes(): y for image, y in zip(images, labels, strict=True)}


def check_super_classes(fine, root):
    """CIFAR-20: the same images, in super-classes; the classes are second labels."""
    coarse = data.load("cifar20", data_dir=root, cache_dir=root / "cache")
    np.testing.assert_array_equal(coarse.train_images, fine.train_images)
    np.testing.assert_array_equal(coarse.train_subclasses, fine.train_labels)
    np.testing.assert_array_equal(coarse.test_subclasses, fine.test_labels)
    np.testing.assert_array_equal(coarse.train_labels, fine.train_labels // 5)
    assert coarse.class_names[19] == "coarse19"
    assert coarse.subclass_names == fine.class_names
    assert fine.train_subclasses is None
    np.testing.assert_allclose(coarse.mean, fine.mean)
    again = data.load("cifar20", data_dir=root, cache_dir=root / "cache")
    equal(coarse, again)
    assert data.location("cifar20", root) == data.location("cifar100", root)


@pytest.mark.parametrize("name", OFFICIAL)
def test_prepares_official_archives_without_tensorflow(name, tmp_path, monkeypatch):
    from tensorflow_datasets.core.download import extractor
    from tensorflow_datasets.core.utils import lazy_imports_utils

    loaded, splits = prepare(name, tmp_path, monkeypatch)
    for images, labels, (true_images, true_labels) in zip(
        (loaded.train_images, loaded.test_images),
        (loaded.train_labels, loaded.test_labels),
        splits,
        strict=True,
    ):  # tensorflow-datasets shuffles
        assert by_image(images, labels) == by_image(true_images, true_labels)
    _, shape, classes = OFFICIAL[name]
    assert len(loaded.class_names) == classes
    np.testing.assert_allclose(loaded.mean, STATISTICS[name][0])
    assert len(loaded.std) == shape[-1]
    for images, ids, truth in (
        (loaded.train_images, loaded.train_ids, "train"),
        (loaded.test_images, loaded.test_ids, "test"),
    ):
        keys = stored_ids(name, tmp_path, truth)
        assert [keys[image.tobytes()] for image in images] == ids.tolist()
    if name == "cifar100":
        assert loaded.class_names[99] == "fine99"
        check_super_classes(loaded, tmp_path)
    # Read again: from the cache, and without it from the prepared folder.
    equal(loaded, data.load(name, data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    equal(loaded, data.load(name, data_dir=tmp_path, cache_dir=tmp_path / "other"))
    # Nothing stays replaced.
    assert extractor.tf is lazy_imports_utils.tensorflow


def test_damaged_folder(tmp_path, monkeypatch):
    prepare("mnist", tmp_path, monkeypatch)
    folder = tfds.find("mnist", tmp_path)
    (shard,) = folder.glob("*-train.*")
    whole = shard.read_bytes()

    def load():
        return data.load("mnist", data_dir=tmp_path, cache_dir=tmp_path / "fresh")

    flipped = bytearray(whole)
    flipped[len(whole) // 8] ^= 255
    for content in (whole[: len(whole) // 2], whole[:100], b"", bytes(flipped)):
        shard.write_bytes(content)
        rejects(load, "mnist", str(folder), "delete this folder")
    shard.unlink()
    rejects(load, str(folder), "delete this folder")
    shard.write_bytes(whole)
    load()
    (folder / "features.json").write_text("{")
    rejects(load, str(folder), "delete this folder")
    (folder / "dataset_info.json").unlink()
    rejects(load, str(folder), "delete this folder")


def test_damaged_archive(tmp_path, monkeypatch):
    import tensorflow_datasets

    monkeypatch.setattr(tfds, "_answers", lambda url: pytest.fail("asked the network"))
    builder = tensorflow_datasets.builder("cifar10", data_dir=tmp_path)
    place(tmp_path, builder, {"cifar-10-binary.tar.gz": b"no archive"})
    rejects(
        lambda: data.load("cifar10", data_dir=tmp_path),
        "could not be prepared",
        "ExtractError",
    )
    assert tfds.find("cifar10", tmp_path) is None


def test_no_data_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "_answers", lambda url: False)
    rejects(
        lambda: data.load("mnist", data_dir=tmp_path / "none"),
        "does not answer",
        "TFDS_DATA_DIR",
        "digits",
        "npz:PATH",
    )
    assert not (tmp_path / "none").exists()


def test_silent_and_closed_servers_do_not_hang(monkeypatch):
    monkeypatch.setattr(tfds, "PATIENCE", 0.5)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        start = time.monotonic()
        assert not tfds._answers(f"http://127.0.0.1:{port}/silent")
    assert not tfds._answers(f"http://127.0.0.1:{port}/closed")
    assert time.monotonic() - start < 30  # a hang takes minutes


def test_unknown_names(tmp_path):
    def load(name):
        return lambda: data.load(name, data_dir=tmp_path)

    rejects(load("cifr10"), "unknown data set 'cifr10'", "did you mean cifar10")
    rejects(load("digit"), "did you mean digits")
    for name, written in (
        ("tiny-imagenet", "folder:DIR/tiny-imagenet-200"),
        ("Tiny_ImageNet_200", "folder:DIR/tiny-imagenet-200"),
        ("mufac", "table:DIR"),
    ):
        rejects(load(name), f"unknown data set '{name}': give its unpacked", written)
    rejects(load("no such set"), "unknown data set", "npz:PATH")
    rejects(load("huggingface:mnist"), "unknown data set")
    rejects(load("emnist/leters"), "configurations", "letters")
    rejects(load("mnist:9.9.9"), "9.9.9")
    rejects(load("imdb_reviews"), "not a set of images")
    rejects(load(str(tmp_path)), f"folder:{tmp_path}")
    assert not list(tmp_path.iterdir())


def test_find_chooses_version_and_configuration(tmp_path):
    for path in ("a/1.0.0", "a/1.10.0", "a/1.9.0", "a/2.0.0.incompleteX", "b/c/1.0.0"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "b/.config").mkdir()
    (tmp_path / "b/.config/metadata.json").write_text('{"default_config_name": "c"}')
    assert tfds.find("a", tmp_path) == tmp_path / "a/1.10.0"
    assert tfds.find("a:1.9.0", tmp_path) == tmp_path / "a/1.9.0"
    assert tfds.find("a:3.0.0", tmp_path) is None
    assert (
        tfds.find("b", tmp_path) == tfds.find("b/c", tmp_path) == tmp_path / "b/c/1.0.0"
    )
    assert tfds.find("b/d", tmp_path) is None
    for content in ("null", "[]", "3", "{", '{"default_config_name": 3}'):
        (tmp_path / "b/.config/metadata.json").write_text(content)
        rejects(lambda: data.load("b", data_dir=tmp_path), "metadata.json is damaged")
        assert tfds.find("b/c", tmp_path) == tmp_path / "b/c/1.0.0"


@needs_tfds
@pytest.mark.slow
def test_real_data(tmp_path, name="mnist"):
    import tensorflow_datasets

    loaded = data.load(name, cache_dir=tmp_path)
    for split in ("train", "test"):
        source = tensorflow_datasets.data_source(name, split=split)
        images = getattr(loaded, f"{split}_images")
        labels = getattr(loaded, f"{split}_labels")
        assert len(source) == len(images)
        for row in (0, 1, 4095, 4096, len(images) - 1):
            np.testing.assert_array_equal(images[row], source[row]["image"])
            assert labels[row] == source[row]["label"]
    axes = (0, 1, 2)
    mean = loaded.train_images.mean(axes, dtype=np.float64) / 255
    std = loaded.train_images.std(axes, dtype=np.float64) / 255
    np.testing.assert_allclose(loaded.mean, mean, atol=1e-4)
    np.testing.assert_allclose(loaded.std, std, atol=1e-4)
    equal(loaded, data.load(name, cache_dir=tmp_path))
