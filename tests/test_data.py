import gzip
import io
import os
import socket
import subprocess
import sys
import tarfile
import time
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unlearn import data
from unlearn.data import cache, tfds
from unlearn.data.dataset import STATISTICS, make_dataset, stratified_split
from unlearn.errors import InputError

needs_tfds = pytest.mark.skipif(
    "TFDS_DATA_DIR" not in os.environ, reason="TFDS_DATA_DIR has the real data"
)


def rejects(call, *words):
    """The call raises an InputError of one line with these words in it."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def equal(first, second):
    assert first.class_names == second.class_names
    for one, other in zip(first[1:5], second[1:5], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.train_groups, second.train_groups)


def random_images(count, shape=(4, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


# Embedded and procedural data


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    assert digits.train_images.shape[1:] == (8, 8, 1)
    images = np.concatenate([digits.train_images, digits.test_images]).reshape(-1, 64)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    pixels, target = load_digits(return_X_y=True)
    expected = np.rint(pixels * 255 / 16).astype(np.uint8)
    found = np.column_stack([labels, images]).tolist()
    assert sorted(found) == sorted(np.column_stack([target, expected]).tolist())
    share = np.bincount(digits.test_labels) / np.bincount(labels)
    assert np.all(abs(share - 0.2) < 0.01)
    assert len(digits.class_names) == 10


def test_digits_without_the_shipped_file(monkeypatch):
    expected = data.load("digits")
    monkeypatch.setattr("gzip.open", lambda path: io.BytesIO(b"no,numbers\n"))
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    fake = types.ModuleType("sklearn.datasets")
    fake.load_digits = lambda return_X_y: (np.full((20, 64), 16), np.arange(20) % 2)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", fake)
    digits = data.load("digits")
    assert (digits.train_images == 255).all()
    assert len(expected.train_images) != len(digits.train_images)


def test_stratified_split_is_disjoint_and_complete():
    labels = np.repeat([0, 1, 2], [50, 10, 4])
    kept, held_out = stratified_split(labels)
    np.testing.assert_array_equal(np.sort(np.append(kept, held_out)), np.arange(64))
    np.testing.assert_array_equal(np.bincount(labels[held_out]), [10, 2, 1])


def test_synthetic_shape_and_seed():
    name = "synthetic:9x12x3,classes=4,train=40,test=12,seed=3"
    made = data.load(name)
    assert made.train_images.shape == (40, 9, 12, 3)
    assert made.test_images.shape == (12, 9, 12, 3)
    np.testing.assert_array_equal(np.bincount(made.train_labels), [10] * 4)
    np.testing.assert_array_equal(made.mean, [0.5] * 3)
    equal(made, data.load(name))
    other = data.load(name.replace("seed=3", "seed=4"))
    assert (made.train_images != other.train_images).any()
    # Fixed for good: results of older runs stay comparable.
    assert data.fingerprint(made).startswith("103d5a7303be")


def test_synthetic_is_learnable_but_not_trivial():
    from sklearn.neighbors import KNeighborsClassifier

    made = data.load("synthetic:12x12x1,train=1500,test=400")
    train, test = (
        images.reshape(len(images), -1) / 255.0
        for images in (made.train_images, made.test_images)
    )

    def accuracy(count, neighbours):
        model = KNeighborsClassifier(neighbours)
        model.fit(train[:count], made.train_labels[:count])
        return model.score(test, made.test_labels)

    assert accuracy(1500, 5) > 0.9
    assert 0.3 < accuracy(50, 1) < 0.85


@pytest.mark.parametrize(
    "options",
    ["28x28", "0x8x1", "classes=1", "train=no", "size=3", "train=5", "seed=-1"],
)
def test_synthetic_bad_options(options):
    rejects(lambda: data.load(f"synthetic:{options}"), f"synthetic:{options}")


def test_fingerprint_sees_every_array():
    made = data.load("synthetic:4x4x1,classes=2,train=4,test=2")
    seen = {data.fingerprint(made)}
    for field in made._fields[1:5]:
        changed = getattr(made, field).copy()
        changed.flat[-1] ^= 1
        seen.add(data.fingerprint(made._replace(**{field: changed})))
    assert len(seen) == 5
    assert data.fingerprint(made._replace(name="renamed")) in seen


# npz files


def write_npz(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return f"npz:{path}"


def arrays(count=20):
    return random_images(count), np.arange(count) % 3


@pytest.mark.parametrize("names", [("train_{}s", "test_{}s"), ("{}_train", "{}_test")])
def test_npz(tmp_path, names):
    images, labels = arrays()
    short = {"image": "x", "label": "y"}
    split = [
        {
            name.format(key if name.endswith("s") else short[key]): value
            for key, value in {"image": images[part], "label": labels[part]}.items()
        }
        for name, part in zip(names, (np.s_[:15], np.s_[15:]), strict=True)
    ]
    loaded = data.load(write_npz(tmp_path, **split[0], **split[1]))
    np.testing.assert_array_equal(loaded.train_images, images[:15])
    np.testing.assert_array_equal(loaded.test_labels, labels[15:])
    assert loaded.train_labels.dtype == np.int32
    assert loaded.class_names == ("0", "1", "2")


def test_npz_floats_missing_channel_and_test_split(tmp_path):
    images = random_images(30, (4, 4))
    loaded = data.load(
        write_npz(
            tmp_path,
            x_train=(images / 255).astype(np.float32),
            y_train=np.arange(30)[:, None] % 3,
            class_names=["ant", "bee", "cat"],
        )
    )
    assert loaded.train_images.shape == (24, 4, 4, 1)
    assert loaded.test_images.shape == (6, 4, 4, 1)
    everything = np.concatenate([loaded.train_images, loaded.test_images])[..., 0]
    assert sorted(everything.tolist()) == sorted(images.tolist())
    assert loaded.class_names == ("ant", "bee", "cat")


IMAGES, LABELS = arrays()


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES[0, 0], LABELS, ["shape [N, H, W, C]", "[5, 3]"]),
        (IMAGES[:, :0], LABELS, ["shape"]),
        (IMAGES[:0], LABELS[:0], ["empty"]),
        (IMAGES[:-1], LABELS, ["19", "[20]"]),
        (IMAGES, LABELS[:, None, None], ["labels of shape"]),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, ["channels-first"]),
        (IMAGES.astype(int), LABELS, ["uint8", "int64"]),
        (IMAGES.astype(np.float32), LABELS, ["[0, 1]", "255"]),
        (np.where(IMAGES > 250, np.nan, 0.5), LABELS, ["NaN"]),
        (np.full(IMAGES.shape, np.inf), LABELS, ["[0, 1]"]),
        (IMAGES, LABELS / 2, ["integers", "float64"]),
        (IMAGES, LABELS - 1, ["found -1"]),
        (IMAGES, LABELS + 1, ["0 to K-1", "from 1 to 3"]),
        (IMAGES, np.where(LABELS == 2, 255, LABELS), ["255"]),
        (IMAGES, LABELS * 0, ["2 classes"]),
        (IMAGES[:4], LABELS[:4], ["too few images"]),
    ],
)
def test_unusable_arrays(tmp_path, images, labels, words):
    name = write_npz(tmp_path, train_images=images, train_labels=labels)
    rejects(lambda: data.load(name), name, *words)


def test_unusable_test_split(tmp_path):
    train = {"train_images": IMAGES, "train_labels": LABELS}

    def load(**test):
        return lambda: data.load(write_npz(tmp_path, **train, **test))

    rejects(load(test_images=IMAGES), "needs test_labels (or y_test)", "train_images")
    other = {"test_images": random_images(20, (4, 4, 3)), "test_labels": LABELS}
    rejects(load(**other), "4x5x3", "4x4x3")
    rejects(load(test_images=IMAGES, test_labels=LABELS + 7), "0 to 2", "found 9")
    rejects(load(class_names=["a", "b"]), "0 to 1", "found 2")


def test_unusable_npz_files(tmp_path):
    rejects(lambda: data.load("npz:nowhere.npz"), "no such file")
    rejects(lambda: data.load(write_npz(tmp_path, a=IMAGES)), "train_images", "found a")
    objects = np.array([None], object)
    name = write_npz(tmp_path, x_train=objects, y_train=LABELS)
    rejects(lambda: data.load(name), "plain arrays")
    path = Path(write_npz(tmp_path, x_train=IMAGES, y_train=LABELS)[4:])
    path.write_bytes(path.read_bytes()[:-100])
    rejects(lambda: data.load(f"npz:{path}"), "not a readable npz")
    np.save(tmp_path / "one.npy", IMAGES)
    rejects(lambda: data.load(f"npz:{tmp_path / 'one.npy'}"), "not a readable npz")


# Folders of images


def write_folder(folder, images, labels, names=("ant", "bee", "cat")):
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(image)).save(path)


def test_folder_with_splits_and_cache(tmp_path):
    images, labels = arrays()
    order = np.argsort(labels[:15], kind="stable")
    write_folder(tmp_path / "set/train", images[:15], labels[:15])
    write_folder(tmp_path / "set/test", images[15:], labels[15:])
    (tmp_path / "set/train/ant/notes.txt").write_text("not an image")

    def load():
        return data.load(f"folder:{tmp_path / 'set'}", cache_dir=tmp_path / "cache")

    loaded = load()
    np.testing.assert_array_equal(loaded.train_images, images[:15][order])
    np.testing.assert_array_equal(loaded.train_labels, labels[:15][order])
    assert loaded.class_names == ("ant", "bee", "cat")
    equal(loaded, load())
    changed = tmp_path / "set/train/ant/000.png"
    Image.fromarray(255 - images[0]).save(changed)
    os.utime(changed, (1, 1))
    np.testing.assert_array_equal(load().train_images[0], 255 - images[0])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_folder_without_splits_mixed_colours_and_sizes(tmp_path):
    write_folder(tmp_path, random_images(10, (4, 4)), [0] * 10)
    write_folder(tmp_path, random_images(10, (6, 8, 3)), [1] * 10)
    name = f"folder:{tmp_path}"
    rejects(
        lambda: data.load(name, cache_dir=tmp_path / ".c"), "6x8", "4x4", "image_size"
    )
    loaded = data.load(name, cache_dir=tmp_path / ".c", image_size=4)
    assert loaded.train_images.shape == (16, 4, 4, 3)
    grey = loaded.train_images[loaded.train_labels == 0]
    assert (grey == grey[..., :1]).all()
    assert (loaded.train_images[loaded.train_labels == 1].std(axis=-1) > 0).any()


def test_folder_of_16_bit_grey(tmp_path):
    deep = np.array([[0, 256, 40_000, 65_535]], np.uint16)
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True)
        Image.fromarray(deep).save(tmp_path / "train" / name)
    (tmp_path / "test").symlink_to("train")
    loaded = data.load(f"folder:{tmp_path}", cache_dir=tmp_path / "c")
    np.testing.assert_array_equal(loaded.train_images[0, 0, :, 0], [0, 1, 156, 255])


def test_folder_whose_test_split_has_another_class(tmp_path):
    for split, names in (("train", ("ant", "bee")), ("test", ("ant", "cat"))):
        write_folder(tmp_path / split, random_images(4), [0, 0, 1, 1], names)
    rejects(lambda: data.load(f"folder:{tmp_path}"), "class cat is in test only")


def test_unusable_folders(tmp_path):
    def load(**options):
        return lambda: data.load(
            f"folder:{tmp_path}", cache_dir=tmp_path / ".c", **options
        )

    rejects(lambda: data.load("folder:nowhere"), "no such folder")
    rejects(load(), "2 or more classes", "found no folder")
    write_folder(tmp_path, random_images(6), [0] * 6)
    rejects(load(), "2 or more classes", "found ant")
    (tmp_path / "bee").mkdir()
    rejects(load(), "no images in", "bee")
    write_folder(tmp_path, random_images(6), [1] * 6)
    rejects(load(image_size=0), "image_size must be")
    rejects(load(image_size=(3, 3, 3)), "image_size must be")
    bad = tmp_path / "bee" / "003.png"
    assert load()().class_names == ("ant", "bee")
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    rejects(load(), "cannot read the image", str(bad))
    bad.write_bytes(b"")
    rejects(load(), "cannot read the image", str(bad))
    rejects(lambda: data.load("digits", image_size=8), "image_size")


# The cache


def small():
    return make_dataset("small", (IMAGES, LABELS), (IMAGES, LABELS))


def test_cache_is_used_rebuilt_and_optional(tmp_path):
    source = tmp_path / "source"
    source.write_text("1")
    made = []

    def load(cache_dir=tmp_path / "cache"):
        def make():
            made.append(1)
            return small()

        return cache.cached(make, "small", source, [source], None, cache_dir)

    equal(load(), small())
    equal(load(), small())
    assert len(made) == 1
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    content[content.index(IMAGES.tobytes()[:40]) + 20] ^= 1
    for damaged in (content, content[:200], b""):
        file.write_bytes(damaged)
        equal(load(), small())
        equal(load(), small())
    assert len(made) == 4
    source.write_text("changed")
    load()
    assert len(made) == 5
    equal(load(source / "not a folder"), small())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [file.name]


def test_cache_survives_a_full_disk(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    equal(cache.cached(small, "small", tmp_path, [], None, tmp_path / "c"), small())
    assert not list((tmp_path / "c").iterdir())


# tensorflow-datasets


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


def by_image(images, labels):
    return {image.tobytes(): y for image, y in zip(images, labels, strict=True)}


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
    if name == "cifar100":
        assert loaded.class_names[99] == "fine99"
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
    assert time.monotonic() - start < 3


def test_unknown_names(tmp_path):
    def load(name):
        return lambda: data.load(name, data_dir=tmp_path)

    rejects(load("cifr10"), "unknown data set 'cifr10'", "did you mean cifar10")
    rejects(load("digit"), "did you mean digits")
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


@needs_tfds
@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.slow
def test_real_data(name, tmp_path):
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


def test_import_stays_light():
    code = "import sys, unlearn.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    heavy = {"PIL", "sklearn", "tensorflow_datasets", "scipy.io", "requests"}
    assert "unlearn.data.tfds" in loaded.stdout.split(), loaded.stderr
    assert not heavy & set(loaded.stdout.split())
