"""What is in a user's folder of images: splits, classes, files, and what is left."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from unlearn.data import names
from unlearn.data.ids import has_control
from unlearn.data.images import SUFFIXES
from unlearn.data.order import natural, plain, shown
from unlearn.errors import InputError

GROUPS = "groups.csv"
SYSTEM = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir"),
    *("$recycle.bin", "system volume information"),
}
"""Names, in small letters, that an operating system puts beside a user's files."""


class Files(NamedTuple):
    """The images of one split."""

    paths: list[Path]
    ids: list[str]
    labels: list[int]
    below: list[str]  # the folder of each, in its class folder; "" if it is in none


class Skipped:
    """Counts what is in the folder and not used, with an example of each kind."""

    def __init__(self, root: Path):
        self.root = root
        self.kinds: dict[str, list[str]] = {}
        self.below: list[Path] = []  # used, from folders below class folders

    def add(self, kind: str, path: Path) -> None:
        """Notes one that is not used."""
        name = path.relative_to(self.root).as_posix()
        self.kinds.setdefault(kind, []).append(shown(name))

    def take(self, other: "Skipped") -> None:
        """Notes all of another count."""
        for kind, paths in other.kinds.items():
            self.kinds.setdefault(kind, []).extend(paths)

    def lines(self) -> list[str]:
        """Returns a line for each kind, and one for images that lie deeper."""
        lines = [
            f"not used: {len(paths)} {kind}, such as {paths[0]}"
            for kind, paths in sorted(self.kinds.items())
        ]
        if self.below:
            first = shown(self.below[0].relative_to(self.root).as_posix())
            lines.append(
                f"used: {len(self.below)} images in folders below the class folders, "
                f"such as {first}"
            )
        return lines


def find_splits(name: str, root: Path, skipped: Skipped) -> tuple[Path, Path | None]:
    """Finds the folders that hold the class folders of train and, if any, of test.

    Raises:
      InputError: it is in doubt which they are.
    """
    folders = [child for child in children(root) if child.is_dir()]
    trains = [
        folder
        for folder in folders
        if names.split_of(folder.name) in names.TRAIN and folders_in(folder)
    ]
    held_out = {
        folder.name: folder
        for folder in folders
        if names.rank(names.split_of(folder.name)) is not None
    }
    if not trains:
        if folders:
            _check_classes(name, folders)
        for folder in held_out.values():
            if has_images(folder):
                raise InputError(
                    f"{name}: {folder.name}/ may be a class or a split; put the class "
                    f"folders into train/ (and {folder.name}/ too, if it is a class)"
                )
        return root, None
    if len(trains) > 1:
        raise InputError(
            f"{name}: {trains[0].name}/ and {trains[1].name}/ may both be the training "
            "split; rename or remove one"
        )
    others = [f for f in folders if f != trains[0] and f.name not in held_out]
    for folder in others:
        if has_images(folder):
            raise InputError(
                f"{name}: {shown(folder.name)}/ is beside {trains[0].name}/ and is no "
                f"split by its name; move it into {trains[0].name}/ if it is a class, "
                "else away"
            )
    usable = {
        key: folder
        for key, folder in held_out.items()
        if any(has_images(child) for child in folders_in(folder))
    }
    chosen = names.choose(name, usable)
    for key, folder in held_out.items():
        if key == chosen:
            continue
        why = f"the test split is {chosen}/" if key in usable else "no class folders"
        for file in _walk(folder, skipped):
            skipped.add(f"images in {key}/ ({why})", file)
    for folder in others:
        for _ in _walk(folder, skipped):
            pass
    skip_files(root, skipped)
    return trains[0], usable[chosen] if chosen else None


def _check_classes(name: str, folders: list[Path]) -> None:
    """Refuses class folders that are splits by a word in their names."""
    words = {folder: names.words_of(folder.name) for folder in folders}
    first = [next((f for f in folders if words[f][i]), folders[0]) for i in (0, 1)]
    if all(words[f][i] and has_images(f) for i, f in enumerate(first)):
        raise InputError(
            f"{name}: {shown(first[0].name)}/ and {shown(first[1].name)}/ may be "
            "classes or splits; name the splits train/ and test/, with the class "
            "folders in them, or rename the classes"
        )


def list_classes(
    name: str,
    root: Path,
    train: Path,
    test: Path | None,
    skipped: Skipped,
) -> tuple[list[str], dict[str, Files]]:
    """Returns the names of the classes, and the files of each split.

    Raises:
      InputError: fewer than two classes; one that is in the test split only, or that
        holds no image that can be read.
    """
    found = {"train": _by_class(name, train, skipped)}
    class_names = list(found["train"])
    if len(class_names) < 2:
        empty = [f.name for f in folders_in(train) if f.name not in class_names]
        raise InputError(
            f"{name}: needs a folder of images for each of 2 or more classes; "
            f"found {', '.join(class_names) or 'no folder'}"
            + (f"; no images in {', '.join(empty)}" if empty else "")
            + _below(root, train, class_names)
        )
    if test is not None:
        found["test"] = _by_class(name, test, skipped)
    numbers = {plain(class_name): i for i, class_name in enumerate(class_names)}
    splits = {}
    for split, classes in found.items():
        files = Files([], [], [], [])
        for class_name, paths in classes.items():
            if plain(class_name) not in numbers:
                raise InputError(
                    f"{name}: class {shown(class_name)} is in {test.name} only"
                )
            files.paths.extend(paths)
            files.ids.extend(path.relative_to(root).as_posix() for path in paths)
            files.labels.extend([numbers[plain(class_name)]] * len(paths))
            home = (test if split == "test" and test else train) / class_name
            inner = [path.relative_to(home).parts for path in paths]
            files.below.extend(parts[0] if parts[1:] else "" for parts in inner)
        splits[split] = files
        for label in sorted(set(range(len(class_names))) - set(files.labels)):
            folder = root / (test or train).name / class_names[label]
            skipped.add(f"classes without images in {split}", folder)
    return class_names, splits


def list_again(
    root: Path, ids: Collection[str], skipped: Skipped
) -> tuple[list[str], Files]:
    """Lists the images of a folder that is deployed, and those that came since.

    Which folders hold those of the classes is told by the deployment, whatever else
    lies there now. Images of all splits are listed as one.

    Args:
      ids: those that are deployed, as `plain` writes them.

    Returns:
      The names of the classes, and the files.
    """
    tops = sorted({id.partition("/")[0] for id in ids})
    cores = [names.split_of(top) for top in tops]
    named = all(c in names.TRAIN or names.rank(c) is not None for c in cores)
    split = named and all(id.count("/") > 1 for id in ids)  # else they are classes
    homes = [root / top for top in tops if (root / top).is_dir()] if split else [root]
    numbers: dict[str, int] = {}
    files = Files([], [], [], [])
    for child in (child for home in homes for child in folders_in(home)):
        for path in _walk(child, skipped):
            id = path.relative_to(root).as_posix()
            if not os.access(path, os.R_OK):
                skipped.add("files that may not be read", path)
            elif plain(id) not in ids and has_control(id):
                skipped.add("new files with control characters in their names", path)
            else:
                label = numbers.setdefault(plain(child.name), len(numbers))
                files.paths.append(path)
                files.ids.append(id)
                files.labels.append(label)
                files.below.append("")
    return list(numbers), files


def second_labels(
    class_names: Sequence[str], splits: Mapping[str, Files]
) -> list[list[str]]:
    """Returns names of sub-classes, a list a split, if folders below classes say them.

    They do if every training image lies in one, and a class has several. A name that
    two classes have is written `CLASS/NAME`. Of a test split with other folders, such
    as those of other people, nothing is said.
    """
    train = splits["train"]
    homes: dict[str, set[int]] = {}
    for label, folder in zip(train.labels, train.below, strict=True):
        homes.setdefault(folder, set()).add(label)
    pairs = {(label, folder) for folder, of in homes.items() for label in of}
    if "" in homes or len(pairs) == len({label for label, _ in pairs}):
        return []

    def named(files: Files) -> list[str]:
        return [
            folder
            if len(homes.get(folder, ())) == 1
            else f"{class_names[label]}/{folder}"
            for label, folder in zip(files.labels, files.below, strict=True)
        ]

    found = [named(files) for files in splits.values()]
    return found if all(set(names) <= set(found[0]) for names in found) else found[:1]


def _below(root: Path, train: Path, class_names: list[str]) -> str:
    """Says where the class folders may be, if there is one folder with others in it."""
    if train != root or len(class_names) != 1:
        return ""
    only = root / class_names[0]
    return f"; if they lie in it, give folder:{only}" if folders_in(only) else ""


def _by_class(name, folder: Path, skipped: Skipped) -> dict[str, list[Path]]:
    """Finds the images below each class folder; empty folders are no classes."""
    skip_files(folder, skipped)
    classes, seen = {}, {}
    for child in folders_in(folder):
        here = Skipped(skipped.root)
        paths = list(_walk(child, here))
        other = seen.setdefault(plain(child.name), child.name)
        if other != child.name:
            raise InputError(
                f"{name}: the folders {other!r} and {child.name!r} differ only in "
                "spaces or in how Unicode writes them; merge or rename them"
            )
        for path in paths:
            if path.parent != child:
                skipped.below.append(path)
        if paths:
            classes[child.name] = paths
        elif here.kinds:
            raise InputError(
                f"{name}: no images in {shown(str(child))}; "
                f"{'; '.join(here.lines())}; read are {' '.join(sorted(SUFFIXES))}"
            )
        else:
            skipped.add("empty class folders", child)
        skipped.take(here)
    return classes


def children(folder: Path) -> list[Path]:
    """Returns what is in a folder, in natural order, but no files of a system."""
    return sorted(
        (
            child
            for child in folder.iterdir()
            if not child.name.startswith(".") and child.name.lower() not in SYSTEM
        ),
        key=lambda child: natural(child.name),
    )


def folders_in(folder: Path) -> list[Path]:
    """Returns the folders in a folder, see `children`."""
    return [child for child in children(folder) if child.is_dir()]


def _walk(
    folder: Path, skipped: Skipped, seen: set[str] | None = None
) -> Iterator[Path]:
    """Yields the images in a folder and in those below, in natural order.

    A folder is read once, and none that holds this one: links may go in circles.
    """
    if seen is None:
        real = Path(os.path.realpath(folder))
        seen = {str(parent) for parent in (real, *real.parents)}
    for child in children(folder):
        if child.is_dir():
            real = os.path.realpath(child)
            if real in seen:
                skipped.add("links to folders that are read already", child)
            else:
                seen.add(real)
                yield from _walk(child, skipped, seen)
        elif is_image(child, skipped):
            yield child


def is_image(path: Path, skipped: Skipped) -> bool:
    """Says whether a path is a file that is read; counts it as skipped if not."""
    if not os.path.exists(path):
        skipped.add("broken links", path)
    elif not path.is_file():
        skipped.add("entries that are no regular files", path)
    elif path.suffix.lower() not in SUFFIXES:
        skipped.add("files of other kinds", path)
    else:
        return True
    return False


def skip_files(folder: Path, skipped: Skipped) -> None:
    """Counts the files in a folder of class folders as skipped."""
    for child in children(folder):
        if child.is_dir() or (child.name == GROUPS and folder == skipped.root):
            continue
        if child.name.lower() == GROUPS:
            raise InputError(
                f"{child}: groups are read from {skipped.root / GROUPS} alone; put it "
                "there, or rename it"
            )
        skipped.add("files beside the class folders", child)


def has_images(folder: Path) -> bool:
    """Says whether there are images in a folder or in those below."""
    return next(iter(_walk(folder, Skipped(folder))), None) is not None
