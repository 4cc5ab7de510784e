"""Examples as trees of arrays, and what a model is applied to.

An example is a row of any tree of arrays: uint8 images, floats, token ids, a dict of
them. `preparation` says how inputs of the model are made of rows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.stored import Reading, Stored, blocks


class InputSpec(NamedTuple):
    """The tree, shapes and dtypes of a model's inputs, less the batch axis.

    It is static: known even where the examples are withheld.
    """

    tree: jax.tree_util.PyTreeDef
    leaves: tuple[tuple[tuple[int, ...], np.dtype], ...]

    def struct(self, count: int = 1) -> Any:
        """Returns the `jax.ShapeDtypeStruct`s of `count` inputs."""
        leaves = [jax.ShapeDtypeStruct((count, *s), dtype) for s, dtype in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)

    def zeros(self, count: int = 1) -> Any:
        """Returns `count` inputs of zeros."""
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.struct(count))

    def continuous_shape(self, axes: int | None = None) -> tuple[int, ...]:
        """Returns the shape of an input that is one array of floats.

        Raises:
          InputError: it is not, or it does not have so many axes.
        """
        one = len(self.leaves) == 1 and jax.tree_util.treedef_is_leaf(self.tree)
        shape, dtype = self.leaves[0]
        if not one or not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(
                f"needs inputs that are one array of floats; these are {in_words(self)}"
            )
        if axes not in (None, len(shape)):
            raise InputError(f"needs images [H, W, C]; these are {in_words(self)}")
        return shape


def input_spec(inputs: Any) -> InputSpec:
    """Returns the spec of a tree of arrays (or of their shapes) [B, ...]."""
    leaves, tree = jax.tree.flatten(inputs)
    return InputSpec(tree, tuple((x.shape[1:], np.dtype(x.dtype)) for x in leaves))


def in_words(spec: InputSpec) -> str:
    """Says what an input is: `uint8[28, 28, 1]`."""
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in spec.leaves)


# Rows to inputs


@dataclasses.dataclass(frozen=True)
class Standardize:
    """Makes inputs of uint8 images by mean and standard deviation of each channel.

    Equal constants make equal objects, so that what was compiled is found again.
    """

    mean: tuple[float, ...]  # in units of [0, 1]
    std: tuple[float, ...]

    def __call__(self, images: jax.Array) -> jax.Array:
        """Converts uint8[..., C] to float32[..., C]."""
        mean, std = (np.asarray(x, np.float32) for x in (self.mean, self.std))
        scale, shift = 1 / (255 * std), mean / std
        return images.astype(jnp.float32) * scale - shift


def standardisation(preprocess: Callable[[Any], Any]) -> Standardize | None:
    """Returns how images are standardised, wherever they lie; None: not at all."""
    if isinstance(preprocess, Reading):
        preprocess = preprocess.prepare
    return preprocess if isinstance(preprocess, Standardize) else None


def as_they_are(rows: Any) -> Any:
    """Returns its argument: the inputs of examples that need no preparation."""
    return rows


def are_images(examples: Any) -> bool:
    """Says whether examples are uint8[N, H, W, C], which alone are standardised."""
    return (
        jax.tree_util.all_leaves([examples])
        and examples.dtype == np.uint8
        and examples.ndim == 4
    )


def preparation(
    examples: Any, mean: ArrayLike = 0.5, std: ArrayLike = 0.5
) -> Callable[[Any], Any]:
    """Returns how inputs are made: uint8[N, H, W, C] standardised, others as they are.

    Raises:
      InputError: a mean or std that does not fit the channels, lies above 1, or is
        given where nothing is standardised; a std of 0 or less.
    """
    if not are_images(examples):
        if any(np.any(np.asarray(x) != 0.5) for x in (mean, std)):
            raise InputError(
                "mean and std are for uint8 images [N, H, W, C]; other inputs are taken"
                " as they are: standardise them, and leave mean and std out"
            )
        return as_they_are
    channels = examples.shape[-1]
    try:
        values = [
            tuple(np.broadcast_to(np.asarray(x, np.float32), channels).tolist())
            for x in (mean, std)
        ]
    except ValueError as error:
        raise InputError(
            f"mean and std must be one number, or one of each of the {channels} "
            "channels"
        ) from error
    if not all(s > 0 for s in values[1]):
        raise InputError(f"std must be above 0; it is {values[1]}")
    if max(values[0]) > 1 or max(values[1]) > 1:
        raise InputError(
            f"mean and std are of pixels in [0, 1]; they are {values[0]} and "
            f"{values[1]}: divide them by 255"
        )
    return Standardize(*values)


# Trees of rows


def rows(examples: Any, indices: Any) -> Any:
    """Returns the examples at `indices` (or a slice) of a tree of arrays [N, ...]."""
    return jax.tree.map(lambda x: x[indices], examples)


def joined(*parts: Any) -> Any:
    """Returns trees of arrays [N, ...] one after another, as one."""
    return jax.tree.map(lambda *xs: jnp.concatenate(xs), *parts)


def count(examples: Any) -> int:
    """Returns N, the number of examples in a tree of arrays [N, ...]."""
    return len(jax.tree.leaves(examples)[0])


# What a user gives


def on_device(tree: Any) -> Any:
    """Puts a tree of arrays on the device, with one copy of each on the way.

    `jnp.asarray` makes two of a NumPy array, or none in older versions. `device_put`
    makes none where a CPU can use the memory as it is, which then would change whenever
    its owner writes to it: of such arrays it gets a copy that is nobody else's.
    """

    def one(leaf):
        placed = jax.device_put(leaf)
        if isinstance(leaf, np.ndarray) and np.may_share_memory(leaf, _seen(placed)):
            return jax.device_put(leaf.copy())
        return placed

    return jax.tree.map(one, tree)


def _seen(placed: jax.Array) -> np.ndarray:
    """Returns an array's memory on a CPU, nothing of one that lies elsewhere."""
    on_cpu = all(device.platform == "cpu" for device in placed.devices())
    return np.asarray(placed) if on_cpu else np.zeros(0)


def as_arrays(inputs: Any, size: int | None = None) -> Any:
    """Returns a tree of NumPy arrays, each of a dtype that JAX keeps.

    A list of numbers is one array, and so is a list of `size` arrays of one shape: the
    examples one by one. float64 becomes float32 and int64 int32, unless JAX has 64 bits
    enabled, and big-endian numbers become native ones.

    Raises:
      InputError: rows of unlike lengths, something that is no array of numbers, or
        whole numbers that do not fit.
    """
    if isinstance(inputs, list | tuple) and not hasattr(inputs, "_fields"):
        inputs = _stacked(inputs, size)
    return jax.tree.map(_as_array, inputs)


def _stacked(inputs, size):
    """Makes one array of a list that is not a tree."""
    shapes = {np.shape(x) for x in inputs} if _is_arrays(inputs) else None
    examples = shapes and len(shapes) == 1 and len(inputs) == size != _first(shapes)
    if not (_is_numbers(inputs) or examples):
        return inputs
    try:
        return np.asarray(inputs)
    except ValueError as error:
        raise InputError(
            "the rows of the inputs differ in length: pad them to one"
        ) from error


def _is_numbers(value) -> bool:
    while isinstance(value, list | tuple) and len(value):
        value = value[0]
    return isinstance(value, int | float)


def _is_arrays(values) -> bool:
    return len(values) > 0 and all(hasattr(x, "shape") for x in values)


def _first(shapes):
    (shape,) = shapes
    return shape[0] if shape else None


def _as_array(x) -> np.ndarray | Stored:
    if isinstance(x, Stored):
        return x
    x = np.asarray(x)
    if not (jnp.issubdtype(x.dtype, np.number) or x.dtype == bool):
        raise InputError(f"inputs must be arrays of numbers, not {x.dtype}")
    native = x.dtype.newbyteorder("=")  # JAX takes no other order of bytes
    kept = jax.dtypes.canonicalize_dtype(native)
    if jnp.issubdtype(kept, np.integer) and kept != x.dtype and x.size:
        limits = np.iinfo(kept)
        if x.min() < limits.min or x.max() > limits.max:
            raise InputError(
                f"inputs {x.dtype} of {x.min()}..{x.max()} do not fit {kept}: give "
                "them as floats, or enable jax_enable_x64"
            )
    with np.errstate(over="ignore"):  # `check_examples` says so
        return x.astype(kept, copy=False)


def check_examples(examples: Any, labels: np.ndarray, what: str) -> None:
    """Refuses examples and labels of wrong shapes or dtypes, and none at all."""
    leaves = jax.tree.leaves(examples)
    if not leaves or any(not x.ndim for x in leaves):
        raise InputError(f"{what} inputs must be arrays with an axis of examples")
    sizes = sorted({len(x) for x in leaves})
    if len(sizes) > 1:
        raise InputError(f"{what} inputs differ in their number of examples: {sizes}")
    if labels.shape != (sizes[0],) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{what} labels must be int[{sizes[0]}], one an example; these are "
            f"{labels.dtype}{list(labels.shape)}{_label_advice(labels, sizes[0])}"
        )
    if not sizes[0]:
        raise InputError(f"the {what} set is empty")
    if jax.tree_util.all_leaves([examples]) and examples.dtype == np.uint8:
        _check_images(examples, what)
    for x in leaves:
        inexact = jnp.issubdtype(x.dtype, np.inexact)
        if inexact and not all(np.isfinite(part).all() for part in blocks(x)):
            raise InputError(f"{what} inputs are not finite in {x.dtype}")


def _label_advice(labels: np.ndarray, size: int) -> str:
    """Says how to make labels of what was given, where that is certain."""
    if labels.shape == (size, 1):
        return ": give labels[:, 0]"
    if labels.shape[:1] == (size,) and labels.ndim == 2:
        return ": of one-hot rows give labels.argmax(1)"
    if labels.shape == (size,):
        return ": number the classes from 0"
    return ""


def _check_images(x: np.ndarray, what: str) -> None:
    if x.ndim == 3:
        raise InputError(
            f"{what} images must be uint8[N, H, W, C]; these are uint8{list(x.shape)}: "
            "add the axis of channels, images[..., None]; what is no image, give as "
            "another dtype"
        )
    if x.ndim == 4 and _is_channels_first(x.shape):
        raise InputError(
            f"{what} images must be uint8[N, H, W, C]; these, {list(x.shape)}, "
            "look channels-first: transpose them with images.transpose(0, 2, 3, 1)"
        )


def _is_channels_first(shape) -> bool:
    """Whether [N, H, W, C] is certainly [N, C, H, W]."""
    _, first, second, last = shape
    known = first in (1, 3) or second == last
    return last > 4 and first < min(second, last) and known


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuses labels outside [0, num_classes)."""
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"labels must lie in 0..{num_classes - 1}; "
            f"they span {labels.min()}..{labels.max()}"
        )
