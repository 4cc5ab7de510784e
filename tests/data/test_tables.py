"""Images with a table that says what each of them is."""

import csv
import shutil

import numpy as np
import pytest
from data_cases import equal, random_images, rejects
from PIL import Image

from unlearn import data


def write(root, table, images, rows):
    """Writes a table, and a file in `images` for each of its rows."""
    (root / images).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        image = random_images(1, (4, 4, 3), seed=number + len(images))[0]
        Image.fromarray(image).save(root / images / next(iter(row.values())))
    with open(root / table, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def person(number, family, age):
    return {"image_path": f"F{family}_{number}.png", "family_id": f"F{family}"} | {
        "age_class": age
    }


@pytest.fixture
def mufac(tmp_path):
    """The layout of MUFAC's archive."""
    root = tmp_path / "mufac"
    train = [person(n, n // 3, "abc"[n % 3]) for n in range(12)]
    write(root, "custom_train_dataset.csv", "train_images", train)
    for split, first in (("val", 20), ("test", 40)):
        rows = [person(n, n, "abc"[n % 3]) for n in range(first, first + 6)]
        write(root, f"custom_{split}_dataset.csv", f"{split}_images", rows)
    return root


def load(name, tmp_path):
    return data.load(name, cache_dir=tmp_path / "cache")


def test_mufac(mufac, tmp_path):
    loaded = load(f"table:{mufac}", tmp_path)
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.train_labels.tolist() == [n % 3 for n in range(12)]
    assert loaded.train_groups.tolist() == [n // 3 for n in range(12)]
    assert loaded.train_ids[4] == "train_images/F1_4.png"
    assert loaded.test_ids[0] == "test_images/F40_40.png"
    with Image.open(mufac / "train_images/F1_4.png") as image:
        np.testing.assert_array_equal(loaded.train_images[4], np.asarray(image))
    assert any("not used: custom_val_dataset.csv" in note for note in loaded.notes)
    equal(loaded, load(f"table:{mufac}", tmp_path))
    tables = [mufac / f"custom_{split}_dataset.csv" for split in ("train", "val")]
    other = load(f"table:{tables[0]},{tables[1]}", tmp_path)
    assert other.test_ids[0] == "val_images/F20_20.png"
    assert data.location(f"table:{tables[0]},{tables[1]}") == mufac


def test_one_table_a_test_split_is_drawn_and_sub_classes(tmp_path):
    kinds = ("oak", "maple", "tank", "rocket")
    rows = [
        {"file": f"{n}.png", "class": "tree" if n % 4 < 2 else "car"}
        | {"subclass": kinds[n % 4]}
        for n in range(40)
    ]
    write(tmp_path, "mine.csv", "images", rows)
    loaded = load(f"table:{tmp_path}", tmp_path)
    assert loaded.class_names == ("car", "tree")
    assert loaded.subclass_names == ("maple", "oak", "rocket", "tank")
    assert len(loaded.test_labels) == 8 and loaded.train_groups is None
    numbers = [int(id.partition("/")[2][:-4]) % 4 for id in loaded.train_ids]
    names = [loaded.subclass_names[own] for own in loaded.train_subclasses]
    assert names == [kinds[number] for number in numbers]


def add_line(root, line, table="custom_train_dataset.csv"):
    with open(root / table, "a") as file:
        file.write(line + "\n")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda r: add_line(r, "no.png,F1,a"), ["line 14", "no.png", "train_images/"]),
        (lambda r: add_line(r, "F0_1.png,F0,a"), ["line 14", "as line 3 does"]),
        (lambda r: add_line(r, "F0_1.png,F0"), ["line 14 has 2 cells"]),
        (lambda r: add_line(r, "F0_1.png,F0,"), ["line 14 has no label"]),
        (
            lambda r: add_line(r, "F40_40.png,F9,z", "custom_test_dataset.csv"),
            ["class 'z' is in no line of training"],
        ),
        (
            lambda r: (r / "custom_train_dataset.csv").write_text("name,age\n1,2\n"),
            ["no column of the file", "it has name, age"],
        ),
        (
            lambda r: (r / "fixed_test.csv").write_text("x"),
            ["custom_test_dataset and fixed_test may both be", "TEST.csv"],
        ),
        (
            lambda r: (r / "train_2.csv").write_text("x"),
            ["in doubt which of", "training split"],
        ),
    ],
)
def test_bad_tables(mufac, tmp_path, change, words):
    change(mufac)
    rejects(lambda: load(f"table:{mufac}", tmp_path), *words)


def test_a_name_in_two_folders_is_refused(mufac, tmp_path):
    """Other pictures of the same names would be taken."""
    (mufac / "images").mkdir()
    shutil.copy(mufac / "train_images" / "F0_1.png", mufac / "images" / "F0_1.png")
    rejects(
        lambda: load(f"table:{mufac}", tmp_path),
        "names F0_1.png, which is in",
        "images/ and ",
    )


def test_a_path_that_is_absolute_is_one_file(mufac, tmp_path):
    for split in ("train", "test"):
        table = mufac / f"custom_{split}_dataset.csv"
        lines = table.read_text().splitlines()
        places = [f"{mufac / f'{split}_images'}/{line}" for line in lines[1:]]
        table.write_text("\n".join([lines[0], *places]))
    loaded = load(f"table:{mufac}", tmp_path)
    assert loaded.train_ids[4] == "train_images/F1_4.png"
    assert loaded.test_ids[0] == "test_images/F40_40.png"


def test_classes_that_look_alike_are_refused(tmp_path):
    composed, apart = "M\u00e4d", "Ma\u0308d"
    rows = [{"file": f"{n}.png", "class": (composed, "b")[n % 2]} for n in range(8)]
    write(tmp_path, "train.csv", "train_images", rows)
    tests = [{"file": f"t{n}.png", "class": apart} for n in range(2)]
    write(tmp_path, "test.csv", "test_images", tests)
    loaded = load(f"table:{tmp_path}", tmp_path)
    assert loaded.class_names == ("b", composed) and loaded.test_labels.tolist() == [
        1,
        1,
    ]
    add_line(tmp_path, f"0.png,{apart}", "train.csv")
    rejects(lambda: load(f"table:{tmp_path}", tmp_path), "how Unicode writes", "alike")


def test_bad_paths(mufac, tmp_path):
    rejects(lambda: load("table:", tmp_path), "give table:PATH")
    rejects(lambda: load("table:/none/here", tmp_path), "there is no /none/here")
    table = mufac / "custom_train_dataset.csv"
    rejects(lambda: load(f"table:{table},{table}", tmp_path), "in both splits")
    rejects(lambda: load(f"table:{mufac / 'test_images'}", tmp_path), "no table")
