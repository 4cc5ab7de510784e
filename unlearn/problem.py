"""The unlearning problem: the data, what to forget, what to keep, and the model.

A `Problem` is all that a method may see. Its arrays are leaves of a pytree and live on
the device once; the rest is static. Other forget sets of the same size are other index
arrays, so `jax.vmap` over `forget` and `retain` maps a method over splits.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from unlearn.errors import InputError
from unlearn.forget_sets import check_forget_indices

Variables = dict[str, Any]
"""`{"params": tree, "batch_stats": tree}`; the second only if the model has one."""


class Model(NamedTuple):
    """A classifier as two pure functions.

    `unlearn.models.from_linen` makes one from a linen module; any pair that follows the
    signatures below will do.
    """

    init: Callable[[jax.Array, jax.Array], Variables]
    """`init(key, images[B, H, W, C]) -> variables`."""
    apply: Callable[..., tuple[jax.Array, Variables]]
    """`apply(variables, images, *, train=False, key=None) -> (logits[B, K], new)`.

    With `train=True` batch statistics are those of the batch and come back updated.
    """
    activations: Callable[..., tuple[dict, jax.Array, Variables]] | None = None
    """Like `apply`, with the input of each layer before the logits.

    A dict from the path of a layer in the parameters, such as `("Dense_0",)`, to what
    it was applied to, in the order of the forward pass; the last is the head. A layer
    owns a kernel, or the scale and bias of a normalisation. Optional: some methods look
    inside the net and say so where it is missing.
    """


class Batch(NamedTuple):
    """Examples as a training step sees them."""

    inputs: jax.Array  # float32[B, H, W, C], standardised (and augmented)
    labels: jax.Array  # int32[B]
    weights: jax.Array  # float32[B]: 1, or 0 for the filling of a ragged last batch


class Examples(Protocol):
    """Examples by index, as a `Problem` gives them."""

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices`; augmented if a key is given."""
        ...


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "images",
        "labels",
        "forget",
        "retain",
        "forget_classes",
        "mean",
        "std",
        "validation",
    ],
    meta_fields=["model", "num_classes", "image_shape", "augment"],
)
@dataclasses.dataclass(frozen=True)
class Problem:
    """Training data, the forget and the retain set, and the model.

    `forget` and `retain` are indices into `images`. What a method does not need is
    `None` when the pipeline runs it (`withhold`). `forget_classes` holds the classes
    that are to be forgotten as a whole; it is empty in random forgetting.
    """

    images: jax.Array  # uint8[N, H, W, C]
    labels: jax.Array  # int32[N]
    forget: jax.Array  # int32[F]
    retain: jax.Array  # int32[R]
    mean: jax.Array  # float32[C], in units of [0, 1]
    std: jax.Array  # float32[C]
    model: Model
    num_classes: int
    image_shape: tuple[int, int, int]  # static: known even with the images withheld
    forget_classes: jax.Array = None  # int32[.]
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    validation: "Problem | None" = None

    def replace(self, **changes: Any) -> "Problem":
        """Returns a copy with other fields."""
        return dataclasses.replace(self, **changes)

    def inputs(self, indices: jax.Array) -> jax.Array:
        """Returns standardised float32[B, H, W, C]: only here uint8 becomes float."""
        return standardize(self.images[indices], self.mean, self.std)

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices`; augmented if a key is given."""
        inputs = self.inputs(indices)
        if key is not None and self.augment is not None:
            inputs = self.augment(key, inputs)
        if weights is None:
            weights = jnp.ones(indices.shape, jnp.float32)
        return Batch(inputs, self.labels[indices], weights)


def standardize(images: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Converts uint8[..., C] to float32[..., C] by mean and standard deviation."""
    scale, shift = 1 / (255 * std), mean / std
    return images.astype(jnp.float32) * scale - shift


def make_problem(
    images: ArrayLike,
    labels: ArrayLike,
    forget: ArrayLike,
    model: Model,
    *,
    num_classes: int | None = None,
    forget_classes: ArrayLike = (),
    mean: ArrayLike = 0.5,
    std: ArrayLike = 0.5,
    augment: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
) -> Problem:
    """Checks the arrays and puts them on the device.

    Args:
      images: uint8[N, H, W, C], the training set.
      labels: int[N] in `[0, num_classes)`.
      forget: indices of the forget set; the retain set is every other index.
      model: a `Model`.
      num_classes: default: the largest label plus one.
      forget_classes: the classes that `forget` removes as a whole.
      mean, std: per channel, in units of [0, 1].
      augment: `(key, inputs) -> inputs` on standardised inputs.
      validation: `(images, labels)` held out of training.

    Raises:
      InputError: wrong shapes or dtypes, labels out of range, an index out of range or
        repeated, an empty forget or retain set.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    check_images(images, labels, "training")
    num_classes = num_classes or int(labels.max()) + 1
    check_labels(labels, num_classes)
    forget = check_forget_indices(forget, len(labels))
    retain = np.setdiff1d(np.arange(len(labels), dtype=np.int32), forget)
    channels = images.shape[-1]

    def channelwise(values):
        values = np.broadcast_to(np.asarray(values, np.float32), channels)
        return jnp.asarray(values)

    problem = Problem(
        images=jnp.asarray(images),
        labels=jnp.asarray(labels, jnp.int32),
        forget=jnp.asarray(forget),
        retain=jnp.asarray(retain),
        forget_classes=jnp.asarray(forget_classes, jnp.int32),
        mean=channelwise(mean),
        std=channelwise(std),
        model=model,
        num_classes=num_classes,
        image_shape=images.shape[1:],
        augment=augment,
    )
    if validation is None:
        return problem
    held_out, held_out_labels = (np.asarray(x) for x in validation)
    check_images(held_out, held_out_labels, "validation")
    check_labels(held_out_labels, num_classes)
    if held_out.shape[1:] != images.shape[1:]:
        raise InputError(
            f"validation images are {list(held_out.shape[1:])}, "
            f"training images {list(images.shape[1:])}"
        )
    return problem.replace(
        validation=problem.replace(
            images=jnp.asarray(held_out),
            labels=jnp.asarray(held_out_labels, jnp.int32),
            forget=None,
            retain=jnp.arange(len(held_out), dtype=jnp.int32),
            augment=None,
        )
    )


def check_images(images: np.ndarray, labels: np.ndarray, what: str) -> None:
    """Refuses images and labels of wrong shapes or dtypes, and none at all."""
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(
            f"{what} images must be uint8[N, H, W, C]; "
            f"these are {images.dtype}{list(images.shape)}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{what} labels must be int[{len(images)}], one an image; "
            f"these are {labels.dtype}{list(labels.shape)}"
        )
    if not len(images):
        raise InputError(f"the {what} set is empty")


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuses labels outside [0, num_classes)."""
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(
            f"labels must lie in 0..{num_classes - 1}; "
            f"they span {labels.min()}..{labels.max()}"
        )


def sample_retain(key: jax.Array, problem: Problem, count: int) -> Problem:
    """Returns the problem with a random `count` of its retain set."""
    count = min(count, len(problem.retain))
    chosen = jax.random.choice(key, problem.retain, (count,), replace=False)
    return problem.replace(retain=chosen)


def withhold(problem: Problem, needs: Sequence[str]) -> Problem:
    """Keeps only what `needs` names; everything else is gone, not hidden.

    `needs` may name `forget`, `retain`, `forget_classes` and `validation`. With only
    one of the two sets, the images and labels are cut down to that set.
    """
    return drop_fields(cut_to_sets(problem, needs), needs)


def cut_to_sets(problem: Problem, needs: Sequence[str]) -> Problem:
    """Cuts images and labels down to the sets that `needs` names."""
    kept = [name for name in ("forget", "retain") if name in needs]
    if len(kept) == 2:
        return problem
    changes: dict[str, Any] = dict.fromkeys(("forget", "retain", "images", "labels"))
    for name in kept:
        indices = getattr(problem, name)
        changes |= {
            "images": problem.images[indices],
            "labels": problem.labels[indices],
            name: jnp.arange(len(indices), dtype=jnp.int32),
        }
    return problem.replace(**changes)


def drop_fields(problem: Problem, needs: Sequence[str]) -> Problem:
    """Drops the classes to forget and the validation set unless `needs` names them."""
    gone = [name for name in ("validation", "forget_classes") if name not in needs]
    return problem.replace(**dict.fromkeys(gone))
