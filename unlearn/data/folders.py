"""A user's own images, in a folder for each class."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unlearn.data import arrays, tiny_imagenet
from unlearn.data.cache import cached
from unlearn.data.dataset import Dataset, make_dataset
from unlearn.data.images import EIGHT, Told, read_bytes, read_file, remarks
from unlearn.data.known import Known, read_again
from unlearn.data.listing import (
    GROUPS,
    Files,
    Skipped,
    find_splits,
    list_again,
    list_classes,
    second_labels,
)
from unlearn.data.order import plain, shown
from unlearn.data.spool import Spool
from unlearn.data.threads import in_order
from unlearn.errors import InputError, typed_line
from unlearn.text_tables import decode, read_lines


def from_folder(
    name: str,
    path: str | Path,
    image_size: tuple[int, int] | None = None,
    cache_dir: str | None = None,
    known: Known | None = None,
    resident: bool | None = True,
) -> Dataset:
    """Loads `path/CLASS/**`, or `path/train/CLASS/**` and `path/test/CLASS/**`.

    `data.load` has the rules. Images are grey if all of them are.

    Raises:
      InputError: no such folder, no classes, a folder in doubt, images of different
        sizes or depths, or one that cannot be read.
    """
    path = Path(os.path.expanduser(path))
    if not os.path.isdir(path):
        raise InputError(f"{name}: there is no such folder")
    try:
        class_names, splits, notes = _list(name, path, known)
        more = image_size, cache_dir
        if known:
            every = splits.values()
            return read_again(
                name, path, class_names, every, notes, known, *more, resident
            )
        groups = _read_groups(name, path, splits)

        def make(spool):
            return decode_files(
                name, class_names, splits, groups, notes, image_size, spool
            )

        files = [file for split in splits.values() for file in split.paths]
        tables = [split[1:] for split in splits.values()]
        details = repr((class_names, tables, groups, notes))
        return cached(make, name, path, files, *more, details, resident)
    except OSError as error:
        raise InputError(f"{name}: cannot read {typed_line(error)}") from error


def _list(name, path: Path, known: Known | None):
    """Returns the names of the classes, the files of each split, and notes."""
    if tiny_imagenet.is_layout(path):
        return tiny_imagenet.list_files(path, known and known.classes)
    skipped = Skipped(path)
    if known:
        class_names, files = list_again(path, known.hashes, skipped)
        return class_names, {"train": files}, skipped.lines()
    train, test = find_splits(name, path, skipped)
    return *list_classes(name, path, train, test, skipped), skipped.lines()


# Groups


def _read_groups(name, root: Path, splits: dict[str, Files]) -> list[str] | None:
    """Reads the group of each training image from groups.csv, if that is there."""
    table = root / GROUPS
    if not os.path.lexists(table):
        return None
    lines = read_lines(table, decode(table, read_bytes(table)))
    header = [entry.strip().lower() for entry in lines[0].cells] if lines else []
    if header.count("file") != 1 or header.count("group") != 1:
        raise InputError(
            f"{table}: its first line must be file,group; it is {','.join(header)!r}"
        )
    file_column, group_column = header.index("file"), header.index("group")
    known = {plain(id) for split in splits.values() for id in split.ids}
    groups: dict[str, str] = {}
    for number, row in lines[1:]:
        if len(row) != len(header) or not row[group_column].strip():
            raise InputError(f"{table}: line {number} lacks a file or a group")
        file, group = plain(row[file_column]), row[group_column].strip()
        if file not in known:
            raise InputError(
                f"{table}: line {number} names {file!r}, which is no image of the "
                f"folder; write it as {shown(splits['train'].ids[0])}"
            )
        if groups.setdefault(file, group) != group:
            raise InputError(f"{table}: {shown(file)} has two groups")
    missing = [id for id in splits["train"].ids if plain(id) not in groups]
    if missing:
        raise InputError(
            f"{table}: {len(missing)} images have no line, such as "
            f"{shown(missing[0])}; give each a group, its own where it belongs to no "
            "other"
        )
    return [groups[plain(id)] for id in splits["train"].ids]


# Decoding


def decode_files(
    name: str,
    class_names: Sequence[str],
    splits: Mapping[str, Files],
    groups: Sequence[str] | None,
    notes: Sequence[str],
    image_size: tuple[int, int] | None,
    spool: Spool,
) -> Dataset:
    """Makes a data set of files, `train` and if there is one `test`.

    Args:
      groups: of the training images.
      spool: takes the images.

    Raises:
      InputError: a file cannot be read; images of different sizes or depths; see
        `Spool.add`.
    """
    told = _decode(name, splits, image_size, spool)
    _check_alike(name, [id for files in splits.values() for id in files.ids], told)
    counts = [len(files.paths) for files in splits.values()]
    images = dict(zip(splits, spool.parts(counts), strict=True))
    notes = [*notes, *remarks(told)]
    if told[0].depth != EIGHT:
        images, more = arrays.to_bytes(name, images, stretch=True)
        notes += more
    pairs = [(images[split], np.array(splits[split].labels)) for split in splits]
    return make_dataset(
        name,
        *pairs,
        class_names=class_names,
        groups=groups,
        ids=splits["train"].ids,
        test_ids=splits["test"].ids if "test" in splits else None,
        notes=notes,
        subclasses=second_labels(class_names, splits),
    )


def _decode(name, splits: Mapping[str, Files], image_size, spool: Spool) -> list[Told]:
    """Decodes images into a spool, but none of another depth than the first."""
    paths = [path for files in splits.values() for path in files.paths]
    told: list[Told] = []

    def read(path):
        try:
            return read_file(path, image_size)
        except InputError as error:
            raise InputError(
                f"{name}: cannot read the image {shown(str(path))} ({error}): mend it, "
                "or take it out of the folder"
            ) from error

    spool.expect(len(paths))
    for path, image in zip(paths, in_order(read, paths), strict=True):
        told.append(image.told)
        size, expected = image.pixels.shape[:2], (spool.shape or image.pixels.shape)[:2]
        if size != expected:
            raise InputError(
                f"{name}: {shown(str(path))} is {size[0]}x{size[1]}, others are "
                f"{expected[0]}x{expected[1]}; give an image_size"
            )
        if image.told.depth == told[0].depth:
            spool.add(image.pixels)
    return told


def _check_alike(name, ids, told: list[Told]) -> None:
    first = told[0]
    for id, image in zip(ids, told, strict=True):
        if image.depth != first.depth:
            raise InputError(
                f"{name}: {shown(ids[0])} has {first.depth} a pixel and {shown(id)} "
                f"{image.depth}; convert them alike"
            )
