"""States as named arrays and parts, and back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from unlearn.errors import InputError
from unlearn.problem import Problem, Variables
from unlearn.training import Recipe
from unlearn.training_time import (
    amnesiac,
    certified,
    common,
    sisa,
    slice_training,
)

BLOCK_BYTES = 2**20  # of features in a part

Arrays = dict[str, np.ndarray]


class Packed(NamedTuple):
    """A state taken apart."""

    settings: dict  # JSON
    arrays: Arrays
    parts: list[tuple[str, Arrays] | None]  # a name, or "" for the hash of the arrays


class Packing(NamedTuple):
    """How states of a kind are taken apart and made again."""

    pack: Callable[[Any], Packed]
    unpack: Callable[[dict, Arrays, list[Arrays | None], Problem], Any]


class Rewindable(NamedTuple):
    """The variables in use, and earlier ones that the next request rewinds to.

    `early` are those of the first training, by epochs: they have seen every example.
    """

    variables: Variables
    early: dict[int, Variables]


def kind_of(state: Any) -> str:
    """Returns the kind of a state: a name of `PACKINGS`.

    Raises:
      InputError: it is none.
    """
    kinds = {sisa.State: "sisa", amnesiac.State: "amnesiac"}
    kinds |= {certified.State: "certified", dict: "variables"}
    kinds |= {Rewindable: "rewindable"}
    if isinstance(state, dict) and "params" not in state or type(state) not in kinds:
        raise InputError(
            "a state is what `fit` or `forget` of unlearn.training_time returns, or "
            f'variables, {{"params": ...}}; this is a {type(state).__name__}'
        )
    return kinds[type(state)]


def under(name: str, tree: Any) -> Arrays:
    """Returns the leaves of a tree with `name` before their paths."""
    return {name + path: leaf for path, leaf in common.to_arrays(tree).items()}


def inside(name: str, arrays: Arrays) -> Arrays:
    """Returns the arrays that `under` put there, by their paths."""
    found = {n: x for n, x in arrays.items() if n.startswith(name + "[")}
    return {n.removeprefix(name): x for n, x in found.items()}


# Each kind


def pack_variables(state: Variables) -> Packed:
    """Takes the variables of a model apart."""
    return Packed({}, under("variables", state), [])


def unpack_variables(
    settings: dict, arrays: Arrays, parts: list[Arrays | None], problem: Problem
) -> Variables:
    """Makes variables."""
    del settings, parts
    like = slice_training.structure(problem)
    return common.from_arrays(inside("variables", arrays), like)


def pack_rewindable(state: Rewindable) -> Packed:
    """Takes variables and early variables apart: a part an epoch."""
    epochs = sorted(state.early)
    parts = [("", under("variables", state.early[epoch])) for epoch in epochs]
    arrays = under("variables", state.variables)
    return Packed({"epochs": epochs}, arrays, [*parts])


def unpack_rewindable(
    settings: dict, arrays: Arrays, parts: list[Arrays | None], problem: Problem
) -> Rewindable:
    """Makes variables and early variables."""
    early = {
        epoch: unpack_variables({}, part, [], problem)
        for epoch, part in zip(settings["epochs"], parts, strict=True)
        if part
    }
    return Rewindable(unpack_variables({}, arrays, [], problem), early)


def pack_sisa(state: sisa.State) -> Packed:
    """Takes a state of SISA apart: a part a slice.

    Raises:
      InputError: a shard is not trained.
    """
    sisa.check_trained(state)
    names = "key_bits", "digests", "shard", "slice", "active"
    arrays = {name: np.asarray(getattr(state, name)) for name in names}
    parts = [
        None if model is None else (name, common.to_arrays(model))
        for models, hashes in zip(state.checkpoints, arrays["digests"], strict=True)
        for model, name in zip(models, map(sisa.name_of, hashes), strict=True)
    ]
    return Packed(state.settings._asdict(), arrays, parts)


def unpack_sisa(
    settings: dict, arrays: Arrays, parts: list[Arrays | None], problem: Problem
) -> sisa.State:
    """Makes a state of SISA."""
    like, slices = slice_training.structure(problem), settings["slices"]
    models = [p and common.from_arrays(p, like) for p in parts]
    return sisa.State(
        **arrays,
        checkpoints=tuple(
            tuple(models[s * slices : (s + 1) * slices])
            for s in range(settings["shards"])
        ),
        problem=problem,
        settings=slice_training.Settings(**settings),
    )


def pack_amnesiac(state: amnesiac.State) -> Packed:
    """Takes a state of amnesiac apart: a part an update."""
    names = "sensitive", "active", "batches"
    arrays = {name: np.asarray(getattr(state, name)) for name in names}
    arrays |= under("variables", state.variables)
    if state.updates is None:
        arrays["serving"] = np.array(True)
    recipes = ("recipe", state.settings.recipe), ("repair", state.settings.repair)
    settings = state.settings._asdict() | {n: r._asdict() for n, r in recipes}
    parts = rows_of(state.updates, len(arrays["batches"]), 1)
    return Packed(settings, arrays, parts)


def unpack_amnesiac(
    settings: dict, arrays: Arrays, parts: list[Arrays | None], problem: Problem
) -> amnesiac.State:
    """Makes a state of amnesiac."""
    recipes = {name: Recipe(**settings[name]) for name in ("recipe", "repair")}
    constants: dict[str, Any] = settings | recipes
    variables = unpack_variables(settings, arrays, parts, problem)
    updates = None
    if "serving" not in arrays:
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((len(parts), *x.shape), x.dtype),
            variables["params"],
        )
        updates = joined(parts, like)
    names = "sensitive", "active", "batches"
    return amnesiac.State(
        **{name: arrays[name] for name in names},
        variables=variables,
        updates=updates,
        problem=problem,
        settings=amnesiac.Settings(**constants),
    )


def pack_certified(state: certified.State) -> Packed:
    """Takes a state of certified apart: a part a block of features, then the net."""
    arrays = {"active": np.asarray(state.active), "fits": np.asarray(state.fits)}
    arrays |= under("bits", state.bits._asdict())
    if state.key_bits is not None:
        arrays["key_bits"] = np.asarray(state.key_bits)
    parts = []
    if state.features is not None:
        features = np.asarray(state.features)
        rows = max(1, BLOCK_BYTES // max(features[:1].nbytes, 1))
        parts = rows_of({"features": features}, len(features), rows)
    if state.variables is not None:  # once for all versions
        parts.append(("", under("variables", state.variables)))
    return Packed(state.settings._asdict(), arrays, parts)


def unpack_certified(
    settings: dict, arrays: Arrays, parts: list[Arrays | None], problem: Problem
) -> certified.State:
    """Makes a state of certified."""
    bits = {name: arrays[f"bits['{name}']"] for name in certified.Head._fields}
    blocks = [part["['features']"] for part in parts if part and "['features']" in part]
    nets = (part for part in (arrays, *parts) if part and inside("variables", part))
    net = next(nets, None)
    variables = unpack_variables(settings, net, parts, problem) if net else None
    return certified.State(
        bits=certified.Head(**bits),
        features=np.concatenate(blocks) if blocks else None,
        variables=variables,
        active=arrays["active"],
        key_bits=arrays.get("key_bits"),
        fits=arrays["fits"],
        kept=None,
        problem=problem,
        settings=certified.Settings(**settings),
    )


def rows_of(tree: Any, count: int, size: int) -> list[tuple[str, Arrays] | None]:
    """Cuts a tree of arrays [count, ...] into parts of `size` rows."""
    arrays = common.to_arrays(tree)
    starts = range(0, count if arrays else 0, size)
    return [("", {n: x[i : i + size] for n, x in arrays.items()}) for i in starts]


def joined(parts: list[Arrays | None], like: Any) -> Any:
    """Makes a tree of the structure and shapes of `like` of all its rows, in order."""
    arrays = {
        jax.tree_util.keystr(path): np.concatenate(
            [np.zeros((0, *leaf.shape[1:]), leaf.dtype)]
            + [part[jax.tree_util.keystr(path)] for part in parts if part]
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(like)
    }
    return common.from_arrays(arrays, like)


PACKINGS = {
    "variables": Packing(pack_variables, unpack_variables),
    "rewindable": Packing(pack_rewindable, unpack_rewindable),
    "sisa": Packing(pack_sisa, unpack_sisa),
    "amnesiac": Packing(pack_amnesiac, unpack_amnesiac),
    "certified": Packing(pack_certified, unpack_certified),
}
