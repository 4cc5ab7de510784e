"""HAM10000, prepared from a download by hand."""

import csv
import io
import os

import numpy as np
import pytest
from data_cases import equal, rejects
from PIL import Image

from unlearn import data
from unlearn.data import tfds

# label, lesion: lesions have one or two images each.
ROWS = [
    (f"ISIC_{number:07}", f"HAM_{lesion:07}", label)
    for number, (lesion, label) in enumerate(
        [(0, "nv"), (0, "nv"), (1, "nv"), (2, "nv"), (3, "nv"), (4, "nv"), (4, "nv")]
        + [(5, "mel"), (6, "mel"), (7, "mel"), (8, "mel"), (9, "mel")]
    )
]


def jpeg(number, size=(24, 16)):
    """An image of one colour that its number tells."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (20 * number, 255 - 20 * number, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_table(manual, rows=ROWS, columns=("image_id", "lesion_id", "dx")):
    with open(manual / "HAM10000_metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([[*columns, "age"], *([*row, "50.0"] for row in rows)])


@pytest.fixture
def root(tmp_path):
    """A data_dir with a tiny download in it; returns it."""
    manual = tmp_path / "downloads" / "manual"
    for number, (image_id, *_) in enumerate(ROWS):
        folder = manual / f"HAM10000_images_part_{1 + number // 6}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{image_id}.jpg").write_bytes(jpeg(number))
    write_table(manual)
    return tmp_path


def load(root, **options):
    return data.load("ham10000", data_dir=root, cache_dir=root / "cache", **options)


def numbers(images):
    """Which of the images above each one is."""
    return np.rint(images[:, 8, 12, 0] / 20).astype(int).tolist()


def test_prepares_the_download_without_tensorflow(root):
    from tensorflow_datasets.core.download import extractor
    from tensorflow_datasets.core.utils import lazy_imports_utils

    loaded = load(root)
    assert loaded.class_names == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert loaded.train_images.shape[1:] == (16, 24, 3)
    np.testing.assert_array_equal(loaded.mean, [0.5] * 3)
    np.testing.assert_array_equal(loaded.std, [0.5] * 3)
    train, test = numbers(loaded.train_images), numbers(loaded.test_images)
    assert sorted(train + test) == list(range(12))
    for split, labels in ((train, loaded.train_labels), (test, loaded.test_labels)):
        assert [loaded.class_names[y] for y in labels] == [ROWS[n][2] for n in split]
    lesions = [{ROWS[n][1] for n in split} for split in (train, test)]
    assert not lesions[0] & lesions[1]
    assert len(lesions[1]) == 2 and set(loaded.test_labels) == {4, 5}
    groups = dict(zip(numbers(loaded.train_images), loaded.train_groups, strict=True))
    for a in train:
        for b in train:
            assert (groups[a] == groups[b]) == (ROWS[a][1] == ROWS[b][1])
    # What was written is read again, and found without the download.
    (root / "downloads").rename(root / "elsewhere")
    equal(loaded, load(root))
    assert load(root, image_size=8).train_images.shape[1:] == (8, 8, 3)
    assert extractor.tf is lazy_imports_utils.tensorflow


def test_files_are_kept_as_they_are(root):
    import tensorflow_datasets

    load(root)
    source = tensorflow_datasets.data_source(
        "ham10000",
        split="train",
        data_dir=root,
        decoders={"image": tensorflow_datasets.decode.SkipDecoding()},
    )
    for example in source:
        image_id = example["image_id"].decode()
        number = int(image_id.removeprefix("ISIC_"))
        assert example["image"] == jpeg(number)
        assert example["lesion_id"].decode() == ROWS[number][1]


def test_split_depends_on_lesions_not_on_the_order_of_rows(root):
    from unlearn.data.ham10000 import held_out

    rng = np.random.default_rng(1)
    label_of = rng.integers(0, 7, 900)
    lesions = rng.integers(0, 900, 2000)
    labels = label_of[lesions]
    test = held_out(lesions, labels)
    assert not set(lesions[test]) & set(lesions[~test])
    for label in range(7):
        of_class = np.unique(lesions[labels == label])
        share = np.isin(of_class, lesions[test]).sum()
        assert share == round(0.2 * len(of_class))
    order = rng.permutation(2000)
    np.testing.assert_array_equal(held_out(lesions[order], labels[order]), test[order])
    before = load(root)
    (root / "ham10000").rename(root / "first")
    write_table(root / "downloads" / "manual", ROWS[::-1])
    equal(load(root), before)


def test_says_what_to_download(root):
    manual = root / "downloads" / "manual"
    part = manual / "HAM10000_images_part_2"
    part.rename(root / "elsewhere")
    words = "10.7910/DVN/DBW86T", str(manual), f"not there: {part.name})"
    rejects(lambda: load(root), *words)
    rejects(
        lambda: data.load("ham10000", data_dir=root / "new"),
        "10.7910/DVN/DBW86T",
        str(root / "new" / "downloads" / "manual"),
    )
    assert not (root / "new").exists()
    rejects(lambda: data.load("ham1000", data_dir=root), "did you mean ham10000")
    rejects(lambda: data.load("ham10000:9.9.9", data_dir=root))


def damages(manual):
    """What can be wrong with the download, and what then is said."""
    first, second = (manual / f"HAM10000_images_part_{n}" for n in (1, 2))
    table = manual / "HAM10000_metadata.csv"
    image = second / f"{ROWS[7][0]}.jpg"
    whole = image.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no image"):
        image.write_bytes(content)
        yield "cannot read the image", str(image)
    image.unlink()
    yield "there is no ISIC_0000007.jpg", first.name, second.name
    image.write_bytes(whole)
    write_table(manual, [*ROWS, ROWS[3]])
    yield str(table), "ISIC_0000003 occurs twice"
    write_table(manual, [*ROWS[:2], ("ISIC_0000002", "HAM_0000001", "scc")])
    yield str(table), "line 4 has", "'scc'", "akiec"
    write_table(manual, [*ROWS[:2], ("ISIC_0000002", "", "nv")])
    yield str(table), "line 4 lacks one of image_id, lesion_id, dx"
    write_table(manual, columns=("image_id", "lesion", "dx"))
    yield str(table), "line 2 lacks"
    table.write_text(table.read_text().replace(",", "\t"))
    yield str(table), "comma-separated"
    write_table(manual, [("ISIC_0000000", "HAM\n0", "nv"), ("ISIC_0000001", "", "nv")])
    yield str(table), "line 4 lacks"
    write_table(manual, ROWS[:-2])
    yield str(table), "2 images without a line", f"{ROWS[-2][0]}.jpg in {second.name}"
    double = second / f"{ROWS[0][0]}.jpg"
    double.write_bytes(whole)
    yield double.name, first.name, second.name, "move away"
    double.rename(second / "._a.jpg")
    write_table(manual, [])
    yield f"{table} has no rows", str(table)
    table.write_bytes(b"\xff\xfe\x00")
    yield f"cannot read {table}", "UnicodeDecodeError"


def test_damaged_download(root):
    for words in damages(root / "downloads" / "manual"):
        rejects(lambda: load(root), *words)
        assert tfds.find("ham10000", root) is None
    write_table(root / "downloads" / "manual")
    load(root)


@pytest.mark.skipif(
    tfds.find("ham10000", tfds.Path(os.environ.get("TFDS_DATA_DIR", "none"))) is None,
    reason="TFDS_DATA_DIR has the real data",
)
def test_split_is_that_of_the_prepared_copy():
    import tensorflow_datasets

    from unlearn.data.ham10000 import CLASSES, held_out

    lesions, labels, is_test = [], [], []
    for split in ("train", "test"):
        source = tensorflow_datasets.data_source(
            "ham10000",
            split=split,
            decoders={"image": tensorflow_datasets.decode.SkipDecoding()},
        )
        rows = source.__getitems__(list(range(len(source))))
        lesions += [row["lesion_id"] for row in rows]
        labels += [row["label"] for row in rows]
        is_test += [split == "test"] * len(rows)
    assert source.dataset_info.features["label"].names == list(CLASSES)
    counts = dict(zip(CLASSES, np.bincount(labels).tolist(), strict=True))
    expected = dict(akiec=327, bcc=514, bkl=1099, df=115, mel=1113, nv=6705, vasc=142)
    assert counts == expected
    np.testing.assert_array_equal(held_out(lesions, labels), is_test)
