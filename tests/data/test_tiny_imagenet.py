"""The layout of Tiny-ImageNet's archive."""

import shutil

import numpy as np
import pytest
from data_cases import equal, random_images, recorded, rejects
from PIL import Image

from unlearn import data
from unlearn.errors import InputError

CLASSES = "n01443537", "n02012849", "n03126707"  # a goldfish, and two cranes


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "tiny-imagenet-200"

    def save(place, seed):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_images(1, (8, 8, 3), seed)[0]).save(path)

    for label, number in enumerate(CLASSES):
        for i in range(4):
            save(f"train/{number}/images/{number}_{i}.JPEG", 10 * label + i)
        (root / f"train/{number}/{number}_boxes.txt").write_text("0 1 2 3\n")
    lines = []
    for i in range(6):
        save(f"val/images/val_{i}.JPEG", 100 + i)
        lines.append(f"val_{i}.JPEG\t{CLASSES[(i + 1) % 3]}\t0\t32\t44\t62")
        save(f"test/images/test_{i}.JPEG", 200 + i)
    (root / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    words = ("goldfish, Carassius auratus", "crane", "crane")
    pairs = zip(CLASSES, words, strict=True)
    (root / "words.txt").write_text("".join(f"{n}\t{w}\n" for n, w in pairs))
    return root


def load(root, tmp_path):
    return data.load(f"folder:{root}", cache_dir=tmp_path / "cache")


def test_archive(archive, tmp_path):
    loaded = load(archive, tmp_path)
    assert loaded.class_names == ("goldfish", "n02012849", "n03126707")
    assert loaded.train_labels.tolist() == np.repeat(range(3), 4).tolist()
    assert loaded.train_ids[5] == "train/n02012849/images/n02012849_1.JPEG"
    assert loaded.test_labels.tolist() == [1, 2, 0, 1, 2, 0]
    assert loaded.test_ids[3] == "val/images/val_3.JPEG"
    with Image.open(archive / loaded.test_ids[3]) as image:
        np.testing.assert_array_equal(loaded.test_images[3], np.asarray(image))
    assert any("not used: test/" in note for note in loaded.notes)
    equal(loaded, load(archive, tmp_path))


def test_without_words_the_numbers_are_the_names(archive, tmp_path):
    (archive / "words.txt").unlink()
    assert load(archive, tmp_path).class_names == CLASSES


@pytest.mark.parametrize("line", ["val_9.JPEG\tn01443537", "val_0.JPEG\tn0", "val_0"])
def test_a_wrong_line_is_named(archive, tmp_path, line):
    with open(archive / "val/val_annotations.txt", "a") as file:
        file.write(line)
    rejects(lambda: load(archive, tmp_path), "val_annotations.txt: line 7 must name")


def test_deployed_classes_keep_their_names_when_another_is_gone(archive, tmp_path):
    known = recorded(load(archive, tmp_path))
    shutil.rmtree(archive / "train" / CLASSES[1])
    for i in (0, 3):
        (archive / f"val/images/val_{i}.JPEG").unlink()
    found = data.load(f"folder:{archive}", cache_dir=tmp_path / "cache", known=known)
    names = [found.class_names[label] for label in found.train_labels]
    assert len(names) == 12 and {"goldfish", "n03126707"} == {*names}
    assert names == [known.classes[one] for one in found.train_ids]


def test_no_annotations_and_classes_without_images_are_refused(archive, tmp_path):
    table = archive / "val/val_annotations.txt"
    lines = table.read_text()
    table.write_text("\n")
    rejects(lambda: load(archive, tmp_path), "val_annotations.txt has no lines")
    table.write_text(lines)
    for path in (archive / f"train/{CLASSES[1]}/images").iterdir():
        path.rename(path.with_suffix(".txt"))
    rejects(lambda: load(archive, tmp_path), "no images", CLASSES[1], "move the class")
    shutil.rmtree(archive / f"train/{CLASSES[1]}/images")
    rejects(lambda: load(archive, tmp_path), "no images", CLASSES[1])


def test_what_is_not_used_is_said_and_hidden_files_are_passed_over(archive, tmp_path):
    before = load(archive, tmp_path)
    images = archive / f"train/{CLASSES[0]}/images"
    shutil.copy(images / f"{CLASSES[0]}_0.JPEG", images / "._x.JPEG")
    (archive / "train/.ipynb_checkpoints/images").mkdir(parents=True)
    (images / "list.txt").write_text("a")
    (archive / "train/list.txt").write_text("a")
    table = archive / "val/val_annotations.txt"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:4]))
    loaded = load(archive, tmp_path)
    np.testing.assert_array_equal(loaded.train_images, before.train_images)
    assert loaded.class_names == before.class_names
    assert len(loaded.test_labels) == 4
    notes = set(loaded.notes) - set(before.notes)
    assert notes == {
        f"not used: 1 files of other kinds, such as train/{CLASSES[0]}/images/list.txt",
        "not used: 1 files beside the class folders, such as train/list.txt",
        "not used: 2 images without a line in val/val_annotations.txt, such as "
        "val/images/val_4.JPEG",
    }


def test_a_line_that_leads_elsewhere_is_refused(archive, tmp_path):
    name = f"../../train/{CLASSES[0]}/images/{CLASSES[0]}_0.JPEG"
    with open(archive / "val/val_annotations.txt", "a") as file:
        file.write(f"{name}\t{CLASSES[0]}\n")
    rejects(lambda: load(archive, tmp_path), "line 7 must name an image in val/images")
    known = recorded_without_the_last(archive, tmp_path)
    with pytest.raises(InputError, match="line 7"):
        data.load(f"folder:{archive}", cache_dir=tmp_path / "cache", known=known)


def recorded_without_the_last(archive, tmp_path):
    table = archive / "val/val_annotations.txt"
    lines = table.read_text()
    table.write_text("".join(lines.splitlines(keepends=True)[:-1]))
    known = recorded(load(archive, tmp_path))
    table.write_text(lines)
    return known


def test_a_rearranged_val_says_what_to_move(archive, tmp_path):
    for i in range(6):
        folder = archive / "val" / CLASSES[(i + 1) % 3]
        folder.mkdir(exist_ok=True)
        (archive / f"val/images/val_{i}.JPEG").rename(folder / f"val_{i}.JPEG")
    words = f"val/{CLASSES[0]}/", "move away", "val/val_annotations.txt", "test/"
    rejects(lambda: load(archive, tmp_path), *words)
    (archive / "val/val_annotations.txt").unlink()
    (archive / "val/images").rmdir()
    shutil.rmtree(archive / "test")
    loaded = load(archive, tmp_path)  # as it said
    assert loaded.class_names == CLASSES and loaded.test_labels.tolist() == [
        *(0, 0, 1, 1, 2, 2)
    ]
