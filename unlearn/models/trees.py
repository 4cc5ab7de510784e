"""Trees of variables: nested dicts with text as keys."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Path = tuple[str, ...]


def nested(flat: Mapping[Path, Any]) -> dict:
    """Makes nested dicts of values by path."""
    tree: dict = {}
    for path, value in flat.items():
        place = tree
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return tree


def flatten(tree: Mapping, prefix: Path = ()) -> dict[Path, Any]:
    """Returns the values of nested dicts by path, sorted; `nested` undoes it."""
    flat = {}
    for name in sorted(tree):
        value, path = tree[name], (*prefix, name)
        flat |= flatten(value, path) if isinstance(value, Mapping) else {path: value}
    return flat


def paths_of(tree: Mapping) -> list[Path]:
    """Returns the paths of nested dicts, sorted."""
    return list(flatten(tree))


def redraw(key: jax.Array, params: Any) -> Any:
    """Shuffles the entries of each array of numbers.

    Entries that were drawn independently keep their distribution, and constants stay.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    shuffled = [
        jax.random.permutation(k, leaf.reshape(-1)).reshape(leaf.shape)
        for k, leaf in zip(keys, map(jnp.asarray, leaves), strict=False)
    ]
    return jax.tree.unflatten(structure, shuffled)
