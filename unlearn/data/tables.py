"""Images in folders, and tables that say what each of them is: `table:PATH`.

MUFAC (Choi & Na, 2023, arXiv:2311.02240) comes like this: a CSV file a split, with the
columns `image_path`, `age_class` and `family_id`, beside `train_images/`, ...
"""

import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from unlearn.data import names
from unlearn.data.cache import cached
from unlearn.data.dataset import Dataset
from unlearn.data.folders import decode_files
from unlearn.data.ids import has_control
from unlearn.data.images import SUFFIXES, read_bytes
from unlearn.data.known import Known, read_again
from unlearn.data.listing import Files
from unlearn.data.order import natural, plain, shown
from unlearn.errors import InputError, counted, typed_line
from unlearn.text_tables import decode, read_lines

COLUMNS = {
    "file": ("image_path", "image", "file", "file_name", "filename", "path"),
    "label": ("label", "class", "age_class", "target"),
    "group": ("group", "family_id", "patient_id", "person_id", "lesion_id"),
    "subclass": ("subclass", "fine_label"),
}
"""What a column may be called, by what it says; the first two are needed."""


class Row(NamedTuple):
    """What a line says of an image; "" where there is no such column."""

    line: int
    file: str
    label: str
    group: str = ""
    subclass: str = ""


def from_table(
    name: str,
    given: str,
    image_size: tuple[int, int] | None = None,
    cache_dir: str | None = None,
    known: Known | None = None,
    resident: bool | None = True,
) -> Dataset:
    """Loads `FOLDER`, with a table a split in it, or `TRAIN.csv` or both tables.

    `given` is a folder, a table, or two tables with a comma between them.

    Raises:
      InputError: tables are missing, or in doubt; a table has not the columns, or names
        an image that is not there or in two splits; see `folders`.
    """
    more = image_size, cache_dir
    try:
        if known:
            root, classes, every, notes = _again(name, given, known)
            return read_again(name, root, classes, every, notes, known, *more, resident)
        tables = _tables(name, given)
        root = tables["train"].parent
        rows = {split: _rows(table) for split, table in tables.items()}
        classes = _classes(name, rows["train"])
        splits = {
            split: _files(tables[split], root, split_rows, classes)
            for split, split_rows in rows.items()
        }
        told = [
            f"{table.name} ({split}, {len(rows[split])})"
            for split, table in tables.items()
        ]
        notes = _notes(root, told, tables.values())
        _check_apart(name, splits)
        groups = [row.group for row in rows["train"]]
        groups = groups if all(groups) else None

        def make(spool):
            return decode_files(name, classes, splits, groups, notes, image_size, spool)

        files = [file for split in splits.values() for file in split.paths]
        told = [split[1:] for split in splits.values()]
        details = repr((classes, told, groups, notes))
        return cached(make, name, root, files, *more, details, resident)
    except OSError as error:
        raise InputError(f"{name}: cannot read {typed_line(error)}") from error


def _tables(name: str, given: str) -> dict[str, Path]:
    """Finds the table of each split."""
    paths = [Path(os.path.expanduser(part.strip())) for part in given.split(",")]
    if missing := [path for path in paths if not path.exists()]:
        raise InputError(f"{name}: there is no {missing[0]}")
    if not paths[0].is_dir():
        if len(paths) > 2 or any(path.is_dir() for path in paths):
            raise InputError(f"{name}: give a folder, TRAIN.csv, or TRAIN.csv,TEST.csv")
        return dict(zip(("train", "test"), paths, strict=False))
    found = {path.stem: path for path in sorted(paths[0].glob("*.csv"))}
    if not found:
        raise InputError(f"{name}: no table (.csv) in this folder")
    words = {stem: set(names.small(stem).split("_")) for stem in found}
    trains = [stem for stem in found if words[stem] & set(names.TRAIN)]
    if len(found) == 1:
        trains = list(found)
    advice = f"give them by name, as table:{paths[0]}/TRAIN.csv,{paths[0]}/TEST.csv"
    if len(trains) != 1:
        raise InputError(
            f"{name}: it is in doubt which of {', '.join(found)} is the table of the "
            f"training split: {advice}"
        )
    ranked = {
        stem: rank
        for stem in found
        if stem != trains[0]
        and (rank := min(_ranks(words[stem]), default=None)) is not None
    }
    best = [stem for stem, rank in ranked.items() if rank == min(ranked.values())]
    if len(best) > 1:
        raise InputError(
            f"{name}: {' and '.join(best)} may both be the table of the test split: "
            f"{advice}"
        )
    stems = dict(zip(("train", "test"), [trains[0], *best], strict=False))
    return {split: found[stem] for split, stem in stems.items()}


def _again(name: str, given: str, known: Known):
    """Lists what tables say of a data set that is deployed.

    Of a folder, those tables are read that name an image that is deployed.

    Returns:
      The folder, the names of the classes, the files of each table, and notes.
    """
    folder = Path(os.path.expanduser(given.strip()))
    if folder.is_dir():
        tables = sorted(folder.glob("*.csv"))
        if not tables:
            raise InputError(f"{name}: no table (.csv) in this folder")
    else:
        tables = list(_tables(name, given).values())
    root, rows, notes, refused = tables[0].parent, {}, [], []
    for table in tables:
        left_out: list[int] = []
        try:
            rows[table] = _rows(table, left_out)
        except (InputError, OSError) as error:
            if not folder.is_dir():
                raise
            if len(tables) == 1 or _is_of_split(table):
                refused.append(error)
        if left_out:
            notes.append(
                f"not used: {counted(len(left_out), 'line')} of {table.name} without a "
                "file or a label, or of another length than the first, such as line "
                f"{left_out[0]}"
            )
    classes = _classes(name, itertools.chain(*rows.values()), known)
    found = {x: _files(x, root, of, classes, known) for x, of in rows.items()}
    named = {x: known.hashes.keys() & set(map(plain, y.ids)) for x, y in found.items()}
    if folder.is_dir():
        found = {table: files for table, files in found.items() if named[table]}
    if refused and 2 * len(set().union(*named.values())) < len(known.hashes):
        raise refused[0]  # it may be of a table that is deployed
    if not found:
        raise InputError(f"{name}: no table names an image that is deployed")
    told = [f"{table.name} ({len(rows[table])})" for table in found]
    return root, classes, found.values(), [*_notes(root, told, found), *notes]


def _is_of_split(table: Path) -> bool:
    words = set(names.small(table.stem).split("_"))
    return bool(words & set(names.TRAIN)) or any(True for _ in _ranks(words))


def _ranks(words: set[str]) -> Iterator[int]:
    return (rank for word in words if (rank := names.rank(word)) is not None)


def _rows(table: Path, left_out: list[int] | None = None) -> list[Row]:
    """Reads a table: a line an image.

    Args:
      left_out: gets the numbers of lines that cannot be used, which are refused if it
        is None; then there may be no image in it either, and groups are not read.
    """
    lines = read_lines(table, decode(table, read_bytes(table)))
    header = [names.small(cell) for cell in lines[0].cells] if lines else []
    columns: dict[str, int] = {}
    for role, wanted in COLUMNS.items():
        if left_out is not None and role not in ("file", "label"):
            continue
        there = [i for i, column in enumerate(header) if column in wanted]
        if len(there) > 1:
            both = " and ".join(header[i] for i in there)
            raise InputError(f"{table}: {both} may both be the {role}; rename one")
        if there:
            columns[role] = there[0]
    for role in ("file", "label"):
        if role not in columns:
            raise InputError(
                f"{table}: no column of the {role} ({', '.join(COLUMNS[role])}); it "
                f"has {', '.join(header) or 'no line'}"
            )
    rows = []
    for line in lines[1:]:
        cells = dict.fromkeys(columns, "")
        if len(line.cells) == len(header):
            cells = {role: line.cells[i].strip() for role, i in columns.items()}
        elif left_out is None:
            raise InputError(
                f"{table}: line {line.number} has {counted(len(line.cells), 'cell')}, "
                f"the first has {len(header)}"
            )
        empty = [role for role, cell in cells.items() if not cell]
        if empty and left_out is not None:
            left_out.append(line.number)
            continue
        if empty:
            raise InputError(f"{table}: line {line.number} has no {empty[0]}")
        rows.append(Row(line.number, **cells))
    if not rows and left_out is None:
        raise InputError(f"{table}: no image in it")
    return rows


def _classes(name: str, rows: Iterable[Row], known: Known | None = None) -> list[str]:
    """Lists the classes in natural order, each once, however Unicode writes it."""
    classes = sorted({row.label for row in rows}, key=natural)
    one_each = {plain(label): label for label in classes}
    if len(one_each) < len(classes) and not known:
        raise InputError(
            f"{name}: two classes differ only in how Unicode writes their names; "
            "write them alike"
        )
    return list(one_each.values())


def _files(
    table: Path,
    root: Path,
    rows: list[Row],
    classes: list[str],
    known: Known | None = None,
) -> Files:
    """Finds the images of a table, beside it or in a folder of images there.

    Where some are known, lines that say nothing of these do not count.
    """
    places = [table.parent]
    words = names.small(table.stem).split("_")
    for folder in sorted(table.parent.iterdir()):
        own = set(names.small(folder.name).split("_"))
        others = own - names.FILLERS
        if folder.is_dir() and own & names.FILLERS and others <= set(words):
            places.append(folder)
    numbers = {plain(label): number for number, label in enumerate(classes)}
    files, seen = Files([], [], [], []), {}
    there = os.path.isfile if known else Path.is_file  # False for names too long
    for row in rows:
        where = f"{table}: line {row.line}"
        tried = dict.fromkeys(place / row.file for place in places)
        found = [path for path in tried if there(path)]
        if known:
            found = _deployed(found, root, known)
        if known and not found:
            continue
        if len(found) > 1:
            both = " and ".join(f"{path.parent.name}/" for path in found)
            raise InputError(
                f"{where} names {shown(row.file)}, which is in {both}: give tables "
                "whose lines name the folder too, or move one of them away"
            )
        if not found or found[0].suffix.lower() not in SUFFIXES:
            looked = ", ".join(f"{place.name}/" for place in places)
            raise InputError(
                f"{where} names {shown(row.file)}, which is no image in {looked}"
            )
        if plain(row.label) not in numbers:
            raise InputError(f"{where}: class {row.label!r} is in no line of training")
        id = _id(found[-1], root)
        if not known and (other := seen.setdefault(plain(id), row.line)) != row.line:
            raise InputError(f"{where} names {shown(row.file)}, as line {other} does")
        files.paths.append(found[-1])
        files.ids.append(id)
        files.labels.append(numbers[plain(row.label)])
        files.below.append(row.subclass)
    return files


def _id(path: Path, root: Path) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def _deployed(found: list[Path], root: Path, known: Known) -> list[Path]:
    """Chooses what a line names now: what is deployed, else the first new image."""
    deployed = [path for path in found if plain(_id(path, root)) in known.hashes]
    new = [
        path
        for path in found
        if path.suffix.lower() in SUFFIXES and not has_control(_id(path, root))
    ]
    return [path for path in deployed or new if os.access(path, os.R_OK)][:1]


def _check_apart(name: str, splits: Mapping[str, Files]) -> None:
    both = set(splits["train"].ids) & set(
        splits["test"].ids if "test" in splits else ()
    )
    if both:
        raise InputError(f"{name}: {shown(min(both))} is in both splits")


def _notes(root: Path, told: list[str], tables: Collection[Path]) -> list[str]:
    others = sorted(path.name for path in root.glob("*.csv") if path not in tables)
    notes = [f"tables: {', '.join(told)}"]
    return notes + ([f"not used: {', '.join(others)}"] if others else [])
