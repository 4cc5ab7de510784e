"""Tiny-ImageNet as its archive unpacks: `folder:tiny-imagenet-200`.

Stanford CS 231N, http://cs231n.stanford.edu/tiny-imagenet-200.zip: 200 classes of 500
images of 64×64 pixels in `train/WNID/images/`, and 10,000 more in `val/images/`, whose
classes are in `val/val_annotations.txt`. Those in `test/` have no labels.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from unlearn.data.images import read_bytes
from unlearn.data.listing import (
    Files,
    Skipped,
    children,
    folders_in,
    has_images,
    is_image,
    skip_files,
)
from unlearn.data.order import shown
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
        there; there are none, or no images of a class; `val/` was rearranged.
    """
    numbers = sorted(folder.name for folder in folders_in(root / "train"))
    table, held_out = root / ANNOTATIONS, root / "val" / "images"
    if known is None:
        _check_not_rearranged(root)
    annotated = _lines(table)
    if known is not None:
        annotated = [
            (place, cells)
            for place, cells in annotated
            if not _is_bare(cells[0]) or (held_out / cells[0]).is_file()
        ]
        said = {cells[1] for _, cells in annotated if len(cells) > 1}
        numbers = sorted(said.union(numbers))
    elif not annotated:
        raise InputError(f"{table} has no lines: unpack it from the archive again")
    labels = {number: label for label, number in enumerate(numbers)}
    train, test = Files([], [], [], []), Files([], [], [], [])
    skipped = Skipped(root)
    skip_files(root / "train", skipped)
    for number in numbers:
        for path in _images_in(root / "train" / number / "images", skipped):
            _add(train, root, path, labels[number])
    if known is None:
        _check_classes(root, numbers, train)
    for place, cells in annotated:
        path = held_out / cells[0]
        if (
            len(cells) < 2
            or cells[1] not in labels
            or not _is_bare(cells[0])
            or not path.is_file()
        ):
            raise InputError(
                f"{table}: line {place} must name an image in val/images and one of "
                f"the classes in train/; it is {' '.join(cells)!r}"
            )
        _add(test, root, path, labels[cells[1]])
    used = set(test.paths)
    for path in _images_in(held_out, skipped):
        if path not in used:
            skipped.add(f"images without a line in {ANNOTATIONS.as_posix()}", path)
    splits = {"train": train, "test": test}
    if known is not None and not test.paths:
        del splits["test"]
    notes = ["test split: val/, by its annotations"]
    if (root / "test").is_dir():
        notes.append("not used: test/, which has no labels")
    notes += skipped.lines()
    names = dict(zip(numbers, _names(root, numbers), strict=True))
    for id, class_name in (known or {}).items():
        split, number, *_ = id.split("/")
        names |= {number: class_name} if split == "train" and number in names else {}
    return list(names.values()), splits, notes


def _images_in(folder: Path, skipped: Skipped) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(children(folder)) if is_image(path, skipped)]


def _is_bare(name: str) -> bool:
    """Says whether text names a file in a folder, and none elsewhere."""
    return name == Path(name).name and name not in ("", "..")


def _check_classes(root: Path, numbers: list[str], train: Files) -> None:
    there = {path.parent.parent.name for path in train.paths}
    empty = [shown(number) for number in numbers if number not in there]
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        raise InputError(
            f"{root / 'train'}: no images in the folder images of "
            f"{', '.join(empty[:3])}{more}: put them there, or move the class away"
        )


def _check_not_rearranged(root: Path) -> None:
    """Refuses a `val/` whose images were sorted into folders of their classes."""
    for folder in folders_in(root / "val"):
        if folder.name != "images" and has_images(folder):
            raise InputError(
                f"{root}: there are images in val/{shown(folder.name)}/ as well as "
                f"{ANNOTATIONS.as_posix()}: unpack val/ again, or, if its folders are "
                f"the classes, move away {ANNOTATIONS.as_posix()}, test/ and an empty "
                "val/images/"
            )


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
