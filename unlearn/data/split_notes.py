"""Lines that say what is forgotten, what goes along, and where copies of it are."""

from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.data.lookup import class_label
from unlearn.errors import counted

PLACES = {
    "retain": "that is still trained on",
    "validation": "in the validation set",
    "test": "in the test set",
}


def drawn_notes(
    rows: np.ndarray,
    train: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[int],
    names: Sequence[str],
    groups: np.ndarray | None,
    word: str = "class",
) -> list[str]:
    """Says what was drawn, by class if classes are forgotten, and of which groups.

    Args:
      rows, train: the forget set and the training set, as indices into `labels`.
      classes: those to forget; none: the draw is random.
      groups: int[N], if the draw goes by them.
      word: what a class is called, such as `sub-class`.
    """
    torn = 0
    if groups is not None:
        torn = len(np.intersect1d(groups[rows], groups[np.setdiff1d(train, rows)]))
    if not len(classes):
        of_groups = ""
        if groups is not None:
            of_groups = f", {counted(len(np.unique(groups[rows])), 'group')}"
        whole = counted(len(train), "example")
        return [f"Forgetting {len(rows)} of {whole} at random{of_groups}"]
    parts = []
    for c in sorted(set(classes)):
        own, of_class = rows[labels[rows] == c], train[labels[train] == c]
        count = counted(len(own), "example")
        if len(own) < len(of_class):
            count = f"{len(own)} of {counted(len(of_class), 'example')}"
        parts.append(f"{count} of {class_label(c, names, word)}")
    if others := int(np.sum(~np.isin(labels[rows], classes))):
        parts.append(f"{others} of other {word}es in the same groups")
    lines = [f"Forgetting {', '.join(parts)}"]
    if torn:
        lines.append(
            f"Groups with examples of other {word}es as well, which stay: {torn}"
        )
    return lines


def validation_notes(count: int, asked: int) -> list[str]:
    """Says if far fewer examples than asked for are held out for validation."""
    if 2 * count >= asked:
        return []
    if not count:
        return [
            f"No validation set: no whole group or set of copies fits in the {asked} "
            "examples of data.validation"
        ]
    return [
        f"Validation has {count} examples of the {asked} that data.validation asks "
        "for: no other whole group or set of copies fits"
    ]


def count_copies(
    forget: np.ndarray,
    sets: Mapping[str, np.ndarray],
    same: tuple[np.ndarray, np.ndarray],
) -> dict[str, int]:
    """Counts the forgotten examples that have an exact copy, by the set it is in.

    Args:
      forget: indices into the training split.
      sets: those of other sets, by name.
      same: of the training and the test split, see `relations.copies`.
    """
    content, test = same
    contents = {name: content[rows] for name, rows in sets.items()} | {"test": test}
    return {
        name: int(np.isin(content[forget], there).sum())
        for name, there in contents.items()
    }


def copy_lines(counts: Mapping[str, int]) -> list[str]:
    """Says in a line each where exact copies of forgotten examples are."""
    return [
        f"{count} forgotten {'example has' if count == 1 else 'examples have'} "
        f"an exact copy {PLACES[name]}"
        for name, count in counts.items()
        if count
    ]
