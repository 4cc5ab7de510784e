"""Tiny-ImageNet as its archive unpacks: `folder:tiny-imagenet-200`.

Stanford CS 231N, http://cs231n.stanford.edu/tiny-imagenet-200.zip: 200 classes of 500
images of 64×64 pixels in `train/WNID/images/`, and 10,000 more in `val/images/`, whose
classes are in `val/val_annotations.txt`. Those in `test/` have no labels.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from unlearn.data.images import SUFFIXES, read_bytes
from unlearn.data.listing import Files
from unlearn.errors import InputError
from unlearn.text_tables import decode

ANNOTATIONS = Path("val") / "val_annotations.txt"
WORDS = "words.txt"


def is_layout(root: Path) -> bool:
    """Says whether a folder is what the archive of Tiny-ImageNet holds."""
    return (root / ANNOTATIONS).is_file() and (root / "train").is_dir()


def list_files(
    root: Path, known: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, Files], list[str]]:
    """Returns the names of the classes, the files of each split, and notes.

    A class is named by the first of its words in `words.txt`, or by its number in
    WordNet if there is no such file or another class has that word.

    Args:
      known: the classes of images that are deployed, by id: they keep their names, and
        some and their images may have been deleted since.

    Raises:
      InputError: a line of the annotations is not as it should be, or its image is not
        there.
    """
    numbers = sorted(f.name for f in (root / "train").iterdir() if f.is_dir())
    table = root / ANNOTATIONS
    annotated = _lines(table)
    if known is not None:
        annotated = [
            (place, cells)
            for place, cells in annotated
            if (root / "val" / "images" / cells[0]).is_file()
        ]
        said = {cells[1] for _, cells in annotated if len(cells) > 1}
        numbers = sorted(said.union(numbers))
    labels = {number: label for label, number in enumerate(numbers)}
    train, test = Files([], [], [], []), Files([], [], [], [])
    for number in numbers:
        images = root / "train" / number / "images"
        for path in (
            sorted(images.iterdir()) if images.exists() or known is None else ()
        ):
            if path.suffix.lower() in SUFFIXES:
                _add(train, root, path, labels[number])
    for place, cells in annotated:
        path = root / "val" / "images" / cells[0]
        if len(cells) < 2 or cells[1] not in labels or not path.is_file():
            raise InputError(
                f"{table}: line {place} must name an image in val/images and one of "
                f"the classes in train/; it is {' '.join(cells)!r}"
            )
        _add(test, root, path, labels[cells[1]])
    splits = {"train": train, "test": test}
    if known is not None and not test.paths:
        del splits["test"]
    notes = ["test split: val/, by its annotations"]
    if (root / "test").is_dir():
        notes.append("not used: test/, which has no labels")
    names = dict(zip(numbers, _names(root, numbers), strict=True))
    for id, class_name in (known or {}).items():
        split, number, *_ = id.split("/")
        names |= {number: class_name} if split == "train" and number in names else {}
    return list(names.values()), splits, notes


def _add(files: Files, root: Path, path: Path, label: int) -> None:
    files.paths.append(path)
    files.ids.append(path.relative_to(root).as_posix())
    files.labels.append(label)
    files.below.append("")


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    text = decode(table, read_bytes(table))
    lines = enumerate(text.splitlines(), 1)
    return [(place, line.split("\t")) for place, line in lines if line.strip()]


def _names(root: Path, numbers: list[str]) -> list[str]:
    table = root / WORDS
    if not table.is_file():
        return numbers
    words = {cells[0]: cells[-1].split(",")[0].strip() for _, cells in _lines(table)}
    first = [words.get(number) or number for number in numbers]
    times = Counter(first)
    return [w if times[w] == 1 else n for w, n in zip(first, numbers, strict=True)]
