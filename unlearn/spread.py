"""One model on many devices: every batch is spread over them, weights are on each.

A `Problem` with a `mesh` (of one axis, `data`) spreads the batches that it gives out.
That is all: the compiler follows from there, so that forward and backward passes are
local, gradients are summed over the devices, batch statistics are those of the whole
batch, and a batch that the devices do not divide is filled up. On one device and on
many the numbers are the same but for rounding; on the same number of devices, the same
bits.
"""

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")

AXIS = "data"


def make_mesh(count: int = 0) -> Mesh:
    """Makes a mesh of `count` devices, by default of all devices of all processes."""
    devices = jax.devices()
    devices = devices[: count or len(devices)]
    auto = (AxisType.Auto,)  # what `Problem.batch` does needs it, on every jax
    return Mesh(np.array(devices), (AXIS,), axis_types=auto)


def over_devices(tree: T, mesh: Mesh | None) -> T:
    """Spreads the first axis of arrays over the devices, in a compiled function."""
    if mesh is None:
        return tree
    spread = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.lax.with_sharding_constraint(tree, spread)


def on_each(mesh: Mesh) -> NamedSharding:
    """Returns the placement of what every device has whole."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(tree: T, mesh: Mesh | None) -> T:
    """Puts a tree of arrays on every device; what lies there already stays."""
    if mesh is None:
        return tree
    there = on_each(mesh)
    if jax.process_count() == 1:
        return jax.device_put(tree, there)

    def one(leaf):
        return leaf if getattr(leaf, "sharding", None) == there else put(leaf, there)

    return jax.tree.map(one, tree)


def put(tree: T, sharding: NamedSharding) -> T:
    """Places a tree of arrays, which every process has whole, on devices of all."""

    def one(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = one(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        whole = np.asarray(leaf)  # device_put would ask all whether theirs is the same
        return jax.make_array_from_callback(
            whole.shape, sharding, whole.__getitem__, dtype=whole.dtype
        )

    return jax.tree.map(one, tree)


def gather(tree: Any) -> Any:
    """Returns NumPy arrays of a tree of arrays that are spread over all processes."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    from jax.experimental.multihost_utils import process_allgather

    return process_allgather(tree, tiled=True)


def mesh_of(tree: Any) -> Mesh | None:
    """Returns the mesh that the arrays of a tree lie on every device of, if any does.

    The meshes of `parallel.map_models` are no such.
    """
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding) and sharding.mesh.axis_names == (AXIS,):
            return sharding.mesh
    return None
