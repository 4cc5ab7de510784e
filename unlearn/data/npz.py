"""A user's own arrays, in an npz file."""

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unlearn.data import arrays, names, streaming
from unlearn.data.dataset import Dataset, make_dataset
from unlearn.data.ids import as_text
from unlearn.data.known import Known, named_again
from unlearn.data.labels import read_labels
from unlearn.data.limits import check_bytes
from unlearn.errors import InputError, typed_line
from unlearn.npz_members import Header, read_header
from unlearn.stored import Stored

WORDS = {
    "images": ("images", "image", "imgs", "img", "pixels"),
    "x": ("x", "data"),
    "inputs": ("inputs", "input", "features", "tokens"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "ids": ("ids", "id"),
    "groups": ("groups", "group"),
    "subclasses": ("subclasses", "subclass", "fine_labels", "fine_label", "sublabels"),
}
EXAMPLES = ("images", "x", "inputs")
NAMES = {
    "labels": ("class_names", "classnames", "label_names", "target_names"),
    "subclasses": ("subclass_names", "fine_label_names"),
}
"""What an array of the names of the classes, or of the sub-classes, may be called."""


def from_npz(
    name: str,
    path: str | Path,
    resident: bool | None = True,
    known: Known | None = None,
) -> Dataset:
    """Loads the data set in an npz file; `data.load` says what may be in it.

    Args:
      resident: False: examples stay in the file; None: if they are large and can.
      known: see `data.load`.

    Raises:
      InputError: the file or an array in it is missing, not usable or too large, or it
        is in doubt which array is meant.
    """
    path = Path(os.path.expanduser(path))
    if not os.path.exists(path):
        raise InputError(f"{name}: there is no such file")
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{name}: not a regular file")
    try:
        with zipfile.ZipFile(path) as file:
            return _load(name, path, file, resident, known)
    except InputError:
        raise
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{name}: not a readable npz file; numpy.savez(PATH, x=..., "
            "y=...) writes one"
        ) from error
    except Exception as error:  # zip, zlib and numpy each have their own
        raise InputError(
            f"{name}: not a readable npz file of plain arrays ({typed_line(error)})"
        ) from error


def _load(name, path, file: zipfile.ZipFile, resident, known) -> Dataset:
    headers = dict(_headers(name, file))
    roles, named = _roles(name, headers)
    test = _test_split(name, roles)
    train_parts = _parts(name, "train", roles["train"], headers)
    parts = {"train": train_parts}
    if test:
        parts["test"] = _parts(name, test, roles[test], headers)
        if known and not headers[parts["test"]["examples"]].shape[0]:
            del parts["test"]
    used = {key for part in parts.values() for key in part.values()}
    used |= set(named.values())
    read = _stored(name, path, parts, headers, resident)
    # Converting takes a copy at most as large.
    sizes = (headers[key].member.file_size for key in used if key not in read)
    check_bytes(name, sum(sizes))
    read |= {
        key: _read(name, file, key, headers[key])
        for key in sorted(used)
        if key not in read
    }
    notes = _unused(headers, used, roles, test)

    splits = {
        split: {role: read[key] for role, key in part.items()}
        for split, part in parts.items()
    }
    examples = {split: part["examples"] for split, part in splits.items()}
    if _as_they_are(name, parts, headers):
        notes += _flat_pixels(parts, headers)
        examples = arrays.as_inputs(name, examples)
    else:
        examples, more = arrays.as_images(name, examples)
        notes += more
    given = {
        role: [str(entry) for entry in as_text(np.ravel(read[key])).tolist()]
        for role, key in named.items()
    }
    labels = {split: part["labels"] for split, part in splits.items()}
    _check_counts(name, examples, labels)
    told = given.get("labels")
    numbered = known and told and all(v.dtype.kind in "iuf" for v in labels.values())
    labels, class_names = read_labels(
        name, labels, None if numbered else told, known=known is not None
    )
    pairs = [(examples[split], labels[split]) for split in parts]
    train, held_out = splits["train"], splits.get("test", {})
    second = [part["subclasses"] for part in (train, held_out) if "subclasses" in part]
    dataset = make_dataset(
        name,
        *pairs,
        class_names=class_names,
        groups=None if known else train.get("groups"),
        ids=train.get("ids"),
        test_ids=held_out.get("ids"),
        notes=notes,
        draw=not known,
        subclasses=[] if known else second,
        subclass_names=given.get("subclasses"),
    )
    return named_again(dataset, told, known) if numbered else dataset


# Which array is what


def _role(key: str) -> tuple[str, str] | None:
    """Splits a name such as `x_train` or `Val-Images` into its split and its role.

    The split is "" where the name has none.
    """
    key = names.small(key)
    splits = [*names.TRAIN, *(split for group in names.HELD_OUT for split in group)]
    for role, words in WORDS.items():
        for word in words:
            if key == word:
                return "", role
            for split in splits:
                joined = [f"{split}_{word}", f"{word}_{split}"]
                if word != "id":  # or "valid" were one
                    joined += [f"{split}{word}", f"{word}{split}"]
                if key in joined:
                    return "train" if split in names.TRAIN else split, role
    return None


def _roles(name, headers) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Returns {split: {role: array}}, and {role: array of names} of label roles."""
    roles: dict[str, dict[str, str]] = {"train": {}}
    named: dict[str, str] = {}
    for key in headers:
        of = [role for role, words in NAMES.items() if names.small(key) in words]
        if of:
            if other := named.get(of[0]):
                what = "classes" if of[0] == "labels" else "sub-classes"
                raise InputError(f"{name}: {other} and {key} name the {what} twice")
            named[of[0]] = key
            continue
        split, role = _role(key) or ("", "")
        if not role:
            continue
        split, role = split or "train", "examples" if role in EXAMPLES else role
        part = roles.setdefault(split, {})
        if role in part:
            raise InputError(
                f"{name}: {part[role]} and {key} may both be the {role} of the {split} "
                "split; remove or rename one"
            )
        part[role] = key
    if "subclasses" not in roles["train"]:
        named.pop("subclasses", None)
    return roles, named


def _test_split(name, roles) -> str | None:
    """Chooses the split that is the test split; one without examples is none."""
    held_out = {
        split: part
        for split, part in roles.items()
        if split != "train" and {"examples", "labels"} & set(part)
    }
    return names.choose(name, held_out)


def _parts(name, split, part, headers) -> dict[str, str]:
    """Checks that a split has examples and labels."""
    missing = [
        f"{split}_{new} (or {old}_{split})"
        for role, new, old in (("examples", "images", "x"), ("labels", "labels", "y"))
        if role not in part
    ]
    if missing:
        found = ", ".join(headers) or "nothing"
        raise InputError(f"{name}: needs {' and '.join(missing)}; found {found}")
    kept = {"examples", "labels", "ids", "subclasses"}
    kept |= {"groups"} if split == "train" else set()
    return {role: key for role, key in part.items() if role in kept}


def _unused(headers, used, roles, test) -> list[str]:
    """Says which arrays are left alone."""
    notes = []
    for split, part in roles.items():
        if split not in ("train", test) and "examples" in part:
            shape = headers[part["examples"]].shape
            notes.append(
                f"not used: {shape[0] if shape else 0} examples in {part['examples']}; "
                f"the test split is {roles[test]['examples']}"
            )
            used = used | set(part.values())
    others = [key for key in headers if key not in used]
    if others:
        notes.append(f"not used: arrays of other names ({', '.join(others)})")
    return notes


def _as_they_are(name, parts, headers) -> bool:
    """Says whether examples are inputs of any kind, not images."""
    kinds = {}
    for split, part in parts.items():
        key = part["examples"]
        _, role = _role(key) or ("", "")
        flat = role == "x" and len(headers[key].shape) == 2
        kinds[split] = role == "inputs" or flat
    if len(set(kinds.values())) > 1:
        given = " and ".join(part["examples"] for part in parts.values())
        raise InputError(f"{name}: only one of {given} holds images; name them alike")
    return kinds["train"]


def _flat_pixels(parts, headers) -> list[str]:
    """Says what rows of bytes are taken as, which may have been images."""
    return [
        f"{part['examples']} has rows of {headers[part['examples']].shape[-1]} whole "
        "numbers: taken as they are, not as images"
        for part in parts.values()
        if headers[part["examples"]].dtype == np.uint8
    ]


def _check_counts(name, examples, labels):
    for split, part in examples.items():
        count, shape = len(part), np.shape(labels[split])
        if not shape or shape[0] != count:
            raise InputError(
                f"{name}: {count} {split} images or inputs need labels of shape "
                f"[{count}]; theirs is {list(shape)}"
            )


# Reading, which trusts no size that the file declares


def _stored(name, path, parts, headers, resident) -> dict[str, Stored]:
    """Returns the examples that stay in the file, by the name of their array."""
    keys = [part["examples"] for part in parts.values()]
    size = sum(headers[key].member.file_size for key in keys)
    if not streaming.stays(size, resident):
        return {}
    found, why = {}, ""
    kinds = ("f4", "i4") if _as_they_are(name, parts, headers) else ("u1",)
    for key in keys:
        header = headers[key]
        if header.dtype.str[1:] not in kinds:
            why = f"{key} is {header.dtype}"
            continue
        if streaming.declared(header) > header.member.file_size - header.start:
            raise InputError(f"{name}: {key} is damaged: it is cut off")
        array = streaming.stored(path, header)
        if array is None:
            why = f"{key} is compressed or not in this machine's order"
        elif kinds == ("u1",) and not arrays.is_channels_last(array.shape):
            why = f"{key} has the shape {list(array.shape)}"
        found[key] = array
    if why and resident is False:
        raise streaming.refuse(name, why)
    if why:
        return {}
    streaming.check_whole(path, *keys)
    return found


def _headers(name, file) -> Iterator[tuple[str, Header]]:
    """Yields the name and header of each array; other members are left alone."""
    seen = set()
    for member in file.infolist():
        key = member.filename.removesuffix(".npy")
        if key == member.filename:
            continue
        if key in seen:
            raise InputError(f"{name}: holds two arrays of the name {key}")
        seen.add(key)
        with file.open(member) as opened:
            yield key, read_header(member, opened)


def _read(name, file, key, header) -> np.ndarray:
    if header.dtype.hasobject or header.dtype.names:
        raise InputError(
            f"{name}: not a readable npz file of plain arrays ({key} holds objects); "
            "save numbers or text of a fixed length (dtype str)"
        )
    if streaming.declared(header) > header.member.file_size:
        raise InputError(f"{name}: {key} is damaged: it is cut off")
    with file.open(header.member) as opened:
        return np.lib.format.read_array(opened, allow_pickle=False)
