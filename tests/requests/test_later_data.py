"""A deployment reads its data again when some are gone and others have come."""

import unicodedata

import numpy as np
import pytest
from deployments import config, deploy, erase, quiet, said
from PIL import Image

from unlearn import requests
from unlearn.errors import InputError
from unlearn.requests import deploying, matching
from unlearn.requests.calls import make_call
from unlearn.requests.deployment import Deployment

RNG = np.random.default_rng(0)
SPLITS = "train", "test"
PLACES = [f"{s}/{c}/{n}.png" for s in SPLITS for c in "ab" for n in range(4)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def draw(*shape, kind=np.uint8):
    return RNG.integers(1, np.iinfo(kind).max // 2, shape, kind)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for place in PLACES:
        write(tmp_path / "set" / place, draw(6, 6))
    return tmp_path / "set"


@pytest.fixture
def table(folder):
    """The same images and tables of them, the paths in two ways."""
    for split in SPLITS:
        own = [place for place in PLACES if place.startswith(split)]
        rows = [f"{place},{place.split('/')[1]}" for place in own]
        (folder / f"{split}.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    return folder


def deployed(name):
    """A deployment that was not trained: what it has recorded of its data."""
    settings = deploying.make_settings(config(name), "certified", None)
    dataset = matching.load_dataset(settings, None)
    settings["class_names"] = list(dataset.class_names)
    return Deployment(None, settings, matching.describe_examples(dataset, 0.0), b"")


def rows_of(found, *names):
    ids = found.examples.ids.tolist()
    return [ids.index(name) for name in names]


def again(found, erased=(), asked=()):
    """Loads the data of a deployment as a request does, with all that is not erased."""
    loaded = matching.load(found, erased, make_call(quiet()), asked=asked)
    assert loaded.present.sum() == len(found.examples.ids) - len({*erased, *asked})
    return loaded


def add_nothing_that_can_be_read(root):
    (root / "train/d").mkdir()
    (root / "train/d/notes.txt").write_text("none")


LATER = {
    "in colour": lambda root: write(root / "train/a/new.png", draw(6, 6, 3)),
    "8x7": lambda root: write(root / "train/a/0new.png", draw(8, 7)),
    "16 bits": lambda root: write(root / "test/a/0.tif", draw(6, 6, kind=np.uint16)),
    "none of": lambda root: (root / "train/a/0new.png").write_bytes(b"broken"),
    "1 examples that came": lambda root: write(root / "train/c/0.png", draw(6, 6)),
    "other kinds": add_nothing_that_can_be_read,
    "control": lambda root: write(root / "train/a/1\n.png", draw(6, 6)),
    "": lambda root: write(root / "more/a/1.png", draw(6, 6)),
    "groups": lambda root: (root / "groups.csv").write_text("nonsense"),
}


@pytest.mark.parametrize("words", LATER)
def test_files_that_came_later_change_nothing(words, folder):
    found = deployed(f"folder:{folder}")
    before = again(found)
    LATER[words](folder)
    loaded = again(found)
    np.testing.assert_array_equal(loaded.rows, before.rows)
    assert words == "groups" or words in " ".join(loaded.notes)


@pytest.mark.parametrize(
    "pixels, line",
    [
        (draw(6, 6, 3), "train/a/new.png,a"),
        (draw(8, 7), "train/a/new.png,c"),
        (draw(6, 6), "train/a/new.png,a\ntrain/a/new.png,b"),
        (draw(6, 6), "train.csv,a"),
        (draw(6, 6), f"{'n' * 300}.png,a"),
    ],
)
def test_lines_that_came_later_change_nothing(pixels, line, table):
    found = deployed(f"table:{table}")
    before = again(found)
    write(table / "train/a/new.png", pixels)
    for split in SPLITS:
        with open(table / f"{split}.csv", "a") as file:
            file.write(f"{line}\n")
    np.testing.assert_array_equal(again(found).rows, before.rows)


def test_lines_that_say_nothing_of_an_image_are_left_out(table):
    found = deployed(f"table:{table}")
    before = again(found)
    text = (table / "train.csv").read_text()
    text = text.replace(f"{PLACES[0]},a", f"{PLACES[0]},")
    text = text.replace(f"{PLACES[1]},a", ",")
    text += "train/a/new.png\ntrain/a/new.png,a,b\n"
    (table / "train.csv").write_text(text)
    gone = rows_of(found, *PLACES[:2])
    loaded = again(found, gone)
    assert "4 lines of train.csv" in " ".join(loaded.notes)
    np.testing.assert_array_equal(loaded.rows[2:], before.rows[2:])
    with pytest.raises(InputError, match="missing from the data"):
        again(found)


@pytest.mark.parametrize(
    "name, text",
    [
        ("test.csv", "nonsense\n"),
        ("train_v2.csv", "file,label\ntrain/a/0.png,b\n"),
        ("0_train.csv", "file,label\ntrain/a/0.png,b\nmore/1.png,c\n"),
        ("groups.csv", "file,group\ntrain/a/0.png,1\n"),
        ("evaluate.csv", "file,label\nmore/1.png,c\n"),
    ],
)
def test_tables_that_came_later_change_nothing(name, text, table):
    (table / "test.csv").unlink()
    found = deployed(f"table:{table}")
    before = again(found)
    write(table / "more/1.png", draw(9, 9))
    (table / name).write_text(text)
    np.testing.assert_array_equal(again(found).rows, before.rows)


def test_a_deployed_table_that_cannot_be_used_is_named(table):
    found = deployed(f"table:{table}")
    (table / "train.csv").write_text("nonsense\n")
    (table / "test.csv").unlink()
    with pytest.raises(InputError, match="train.csv: no column of the file"):
        again(found)


def test_class_folders_may_have_the_names_of_splits(tmp_path):
    for i in range(12):
        write(tmp_path / "set" / ("train", "training")[i % 2] / f"{i}.png", draw(6, 6))
    found = deployed(f"folder:{tmp_path / 'set'}")
    write(tmp_path / "set/train/below/new.png", draw(6, 6))
    again(found)


def test_grey_images_stay_what_they_were_among_colour_ones(folder):
    write(folder / PLACES[0], draw(6, 6, 3))
    found = deployed(f"folder:{folder}")
    before = again(found)
    gone = rows_of(found, PLACES[0])
    (folder / PLACES[0]).unlink()
    loaded = again(found, gone)
    assert loaded.rows.shape[-1] == 3 and len(loaded.mean) == 3
    np.testing.assert_array_equal(loaded.rows[1:], before.rows[1:])


def test_a_deployed_image_that_cannot_be_read_blocks_all_but_its_erasure(folder):
    found = deployed(f"folder:{folder}")
    write(folder / PLACES[0], draw(9, 9))
    (folder / PLACES[-1]).write_bytes(b"")
    lost = rows_of(found, PLACES[0], PLACES[-1])
    with pytest.raises(InputError, match=f"{PLACES[0]}, .*or no longer readable"):
        again(found)
    for asked, erased in ((lost, ()), ((), lost), (lost[:1], lost[1:])):
        again(found, erased, asked)


def test_nobody_is_told_to_erase_all(folder):
    found = deployed(f"folder:{folder}")
    for place in PLACES[1:]:
        write(folder / place, draw(6, 6))
    with pytest.raises(InputError, match="12 more: not as deployed") as caught:
        again(found)
    assert "erase it" not in str(caught.value)


def test_wider_values_that_came_later_do_not_rescale_the_others(folder):
    for place in PLACES:
        write(folder / place, draw(6, 6, kind=np.uint16))
    found = deployed(f"folder:{folder}")
    before = again(found)
    write(folder / "train/a/0new.png", np.full((6, 6), 65_535, np.uint16))
    (folder / "train/a/copy.png").write_bytes((folder / PLACES[0]).read_bytes())
    loaded = again(found)
    np.testing.assert_array_equal(loaded.rows, before.rows)
    assert "0new.png (values past" in " ".join(loaded.notes)
    erased = again(found, rows_of(found, PLACES[0]))
    assert erased.still_there == (PLACES[0], "train/a/copy.png (a copy)")


@pytest.mark.parametrize("fill", [[0], [40_000], [0, 40_000], [100, 40_000]])
def test_erased_files_that_hold_other_values_do_not_rescale_the_others(fill, folder):
    for place in PLACES:
        write(folder / place, 100 + draw(6, 6, kind=np.uint16))
    found = deployed(f"folder:{folder}")
    before = again(found)
    widest = {np.argmin(before.rows) // 36, np.argmax(before.rows) // 36}
    gone = [i for i in range(len(PLACES)) if i not in widest][: len(fill)]
    for row, value in zip(gone, fill, strict=True):
        place = str(found.examples.ids[row])
        write(folder / place, np.full((6, 6), value, np.uint16))
    loaded = again(found, gone)
    kept = np.setdiff1d(np.arange(len(PLACES)), gone)
    np.testing.assert_array_equal(loaded.rows[kept], before.rows[kept])
    with pytest.raises(InputError, match="not as|missing"):
        again(found)


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_a_class_is_the_same_however_unicode_writes_it(kind, tmp_path):
    apart, composed = (
        unicodedata.normalize(form, "M\u00e4d") for form in ("NFD", "NFC")
    )

    def tell(name):
        rows = [f"train/{i % 2}/{i}.png,{(name, 'b')[i % 2]}" for i in range(8)]
        text = "\n".join(["file,label", *rows])
        (tmp_path / "set/train.csv").write_text(text)

    for i in range(8):
        place = f"train/{i % 2 if kind == 'table' else (apart, 'b')[i % 2]}/{i}.png"
        write(tmp_path / "set" / place, draw(6, 6))
    if kind == "table":
        tell(apart)
    found = deployed(f"{kind}:{tmp_path / 'set'}")
    assert apart in found.settings["class_names"]
    if kind == "table":
        tell(composed)
    else:
        (tmp_path / "set/train" / apart).rename(tmp_path / "set/train" / composed)
    again(found)


def test_a_table_whose_lines_are_all_erased(table):
    found = deployed(f"table:{table}")
    gone = rows_of(found, *(place for place in PLACES if place.startswith("test")))
    (table / "test.csv").write_text("file,label\n")
    again(found, gone)


# Arrays


def arrays(path, there, **columns):
    """Writes 24 examples of three classes, or those that are there."""
    split = np.arange(24) % 4 == 3
    images = np.random.default_rng(1).integers(0, 256, (24, 6, 6), np.uint8)
    columns |= {"x": images, "ids": np.arange(24) + 100}
    parts = {}
    for name, rows in (("train", ~split & there), ("test", split & there)):
        parts |= {f"{key}_{name}": values[rows] for key, values in columns.items()}
    names = {"class_names": np.array(["u", "v", "w"])} if "y" in columns else {}
    np.savez(path, **names, **parts)
    return f"npz:{path}"


def at(found, there):
    """Returns where examples stand in the record of a deployment."""
    return np.flatnonzero(np.isin(found.examples.ids, 100 + np.flatnonzero(there)))


CLASSES = np.arange(24) // 2 % 3


@pytest.mark.parametrize("names", [np.arange(6), np.array(list("opqrst"))])
def test_a_sub_class_that_is_gone(names, tmp_path):
    columns = {"y": CLASSES, "subclasses": names[np.arange(24) % 6]}
    found = deployed(arrays(tmp_path / "set.npz", np.ones(24, bool), **columns))
    gone = (np.arange(24) % 6 == 1) & (np.arange(24) % 4 != 3)  # of training alone
    arrays(tmp_path / "set.npz", ~gone, **columns)
    again(found, at(found, gone))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_labels_count_from_where_they_did_when_a_class_is_gone(first, lost, tmp_path):
    found = deployed(arrays(tmp_path / "set.npz", CLASSES >= 0, y=CLASSES + first))
    arrays(tmp_path / "set.npz", lost != CLASSES, y=CLASSES + first)
    again(found, np.flatnonzero(found.examples.labels == lost))


@pytest.mark.parametrize("lost", [0, 2])
def test_rows_that_came_later_count_as_the_others_do(lost, tmp_path):
    found = deployed(arrays(tmp_path / "set.npz", np.arange(24) < 16, y=CLASSES + 1))
    arrays(tmp_path / "set.npz", lost != CLASSES, y=CLASSES + 1)
    again(found, np.flatnonzero(found.examples.labels == lost))


@pytest.mark.parametrize("first", [0, 1, "text"])
def test_erased_rows_that_stay_may_have_a_blank_label(first, tmp_path):
    labels = np.array(["u", "v", "w"])[CLASSES] if first == "text" else CLASSES + first
    found = deployed(arrays(tmp_path / "set.npz", CLASSES >= 0, y=labels))
    for gone in (CLASSES == 2, np.arange(24) < 2):
        blank = np.where(gone, "" if first == "text" else 0, labels)
        arrays(tmp_path / "set.npz", CLASSES >= 0, y=blank)
        again(found, at(found, gone))


@pytest.mark.parametrize("names", [{}, {"class_names": np.array(["u", "v", "w"])}])
@pytest.mark.parametrize("blank", [-1, np.nan, "one-hot"])
def test_erased_rows_may_have_no_number(blank, names, tmp_path):
    path, x = tmp_path / "set.npz", draw(24, 6, 6)
    labels = np.eye(3)[CLASSES] if blank == "one-hot" else CLASSES + 0.0
    np.savez(path, x=x, y=labels, **names)
    found = deployed(f"npz:{path}")
    labels[:2] = 0 if blank == "one-hot" else blank
    np.savez(path, x=x, y=labels, **names)
    again(found, np.flatnonzero(np.isin(found.examples.ids, [0, 1])))
    with pytest.raises(InputError, match="0, 1: not as deployed"):
        again(found)


def test_labels_of_which_some_count_from_0_are_refused(tmp_path):
    found = deployed(arrays(tmp_path / "set.npz", CLASSES >= 0, y=CLASSES + 1))
    left = np.isin(np.arange(24), [0, 2])  # of two classes
    arrays(tmp_path / "set.npz", left, y=np.ones(24, int))
    with pytest.raises(InputError, match="in doubt whether labels count from 0"):
        again(found)


# A whole story


def test_a_request_is_answered_after_all_of_this(folder, tmp_path):
    made = deploy(tmp_path / "dep", "certified", data=f"folder:{folder}")
    for change in LATER.values():
        change(folder)
    (line,) = erase(made, [PLACES[0]])
    assert line["erased"]["named"] == [PLACES[0]]
    (folder / PLACES[0]).rename(folder / "train/a/again.png")
    lines = said(requests.purge, made)
    assert any("train/a/again.png (a copy) is still there" in x for x in lines)
    assert said(requests.verify, made)[-1].startswith("Everything")
