"""The unlearning problem: the data, what to forget, what to keep, and the model.

A `Problem` is all that a method may see. Its arrays are leaves of a pytree and live on
the device once; the rest is static. Other forget sets of the same size are other index
arrays, so `jax.vmap` over `forget` and `retain` maps a method over splits.

An example is a row of any tree of arrays: uint8 images, floats, token ids, a dict of
them. `Problem.inputs` alone makes of rows what the model is applied to.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from unlearn import spread, stored
from unlearn.errors import InputError
from unlearn.forget_sets import check_forget_indices
from unlearn.inputs import (
    InputSpec,
    as_arrays,
    check_examples,
    check_labels,
    count,
    in_words,
    input_spec,
    joined,
    on_device,
    preparation,
    rows,
)
from unlearn.model_checks import check_augment, check_classes, count_outputs

__all__ = [
    "Batch",
    "Examples",
    "Model",
    "Problem",
    "Variables",
    "count",
    "joined",
    "make_problem",
    "on_devices",
    "rows",
    "sample_retain",
    "withhold",
]

Variables = dict[str, Any]
"""`{"params": tree, "batch_stats": tree}`; the second only if the model has one."""


def as_float32(logits: Any) -> Any:
    """Returns logits of half precision in float32; others as they are."""
    half = getattr(logits, "dtype", None) in (jnp.bfloat16, jnp.float16)
    return logits.astype(jnp.float32) if half else logits


class Model(NamedTuple):
    """A classifier as two pure functions.

    `unlearn.models.from_linen` makes one from a linen module; any pair that follows the
    signatures below will do.
    """

    init: Callable[[jax.Array, jax.Array], Variables]
    """`init(key, inputs[B, ...]) -> variables`."""
    apply: Callable[..., tuple[jax.Array, Variables]]
    """`apply(variables, inputs, *, train=False, key=None) -> (logits[B, K], new)`.

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

    inputs: Any  # of the model, [B, ...] each: float32[B, H, W, C] of images
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
        "examples",
        "labels",
        "forget",
        "retain",
        "forget_classes",
        "validation",
        "early",
        "epoch",
    ],
    meta_fields=[
        "model",
        "num_classes",
        "preprocess",
        "input_spec",
        "augment",
        "total_forget",
        "total_retain",
        "mesh",
    ],
)
@dataclasses.dataclass(frozen=True)
class Problem:
    """Training data, the forget and the retain set, and the model.

    `forget` and `retain` are indices into `examples`. What a method does not need is
    `None` when the pipeline runs it (`withhold`). `forget_classes` holds the classes
    that are to be forgotten as a whole; it is empty in random forgetting. Where a
    method is given only a sample of a set (`sample_retain`), `total_forget` or
    `total_retain` is the size of the real one; `None` says that the set is whole.
    Batches are spread over the devices of `mesh`, if there is one: see `on_devices`.
    `early`, for methods that rewind, has the original's variables after some epochs of
    its training, by their number; they depend on all examples, forgotten ones too, but
    for those after none. `epoch`, while a training counts them: see `in_epoch`.
    """

    examples: Any  # a tree of arrays [N, ...], such as uint8[N, H, W, C]
    labels: jax.Array  # int32[N]
    forget: jax.Array  # int32[F]
    retain: jax.Array  # int32[R]
    model: Model
    num_classes: int
    preprocess: Callable[[Any], Any]  # rows of `examples` to inputs of the model
    input_spec: InputSpec
    forget_classes: jax.Array = None  # int32[.]
    augment: Callable[[jax.Array, Any], Any] | None = None
    validation: "Problem | None" = None
    early: dict[int, Variables] | None = None
    epoch: tuple[jax.Array, jax.Array] | None = None
    total_forget: int | None = None
    total_retain: int | None = None
    mesh: Mesh | None = None

    def replace(self, **changes: Any) -> "Problem":
        """Returns a copy with other fields.

        A new forget or retain set is whole, unless its total is given with it.
        """
        for name in ("forget", "retain"):
            if name in changes:
                changes.setdefault(f"total_{name}", None)
        return dataclasses.replace(self, **changes)

    @property
    def forget_share(self) -> float:
        """F / (F + R): the share of the training data that the request names."""
        sizes = [
            len(indices) if total is None else total
            for indices, total in (
                (self.forget, self.total_forget),
                (self.retain, self.total_retain),
            )
        ]
        return sizes[0] / sum(sizes)

    def inputs(self, indices: jax.Array) -> Any:
        """Returns what the model is applied to, [B, ...]; only here it is made."""
        return self.preprocess(rows(self.examples, indices))

    def in_epoch(self, key: jax.Array, number: int | jax.Array) -> "Problem":
        """Returns the problem as a training sees it in an epoch; numbers are from 0.

        It is the same unless the augmentation depends on the epoch. `key` is that of
        the whole training.
        """
        if not hasattr(self.augment, "in_epoch"):
            return self
        return self.replace(epoch=(key, jnp.asarray(number, jnp.int32)))

    def batch(
        self,
        indices: jax.Array,
        weights: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> Batch:
        """Returns the examples at `indices`; augmented if a key is given."""
        indices, weights = spread.over_devices((indices, weights), self.mesh)
        inputs = spread.over_devices(self.inputs(indices), self.mesh)
        augment = self.augment
        if key is not None and augment is not None:
            of_epoch = getattr(augment, "in_epoch", None)
            if of_epoch is not None and self.epoch is not None:
                augment = of_epoch(*self.epoch, indices)
            inputs = augment(key, inputs)
        if weights is None:
            weights = jnp.ones(indices.shape, jnp.float32)
        return Batch(inputs, self.labels[indices], weights)


def make_problem(
    inputs: Any,
    labels: ArrayLike,
    forget: ArrayLike,
    model: Model,
    *,
    num_classes: int | None = None,
    forget_classes: ArrayLike = (),
    mean: ArrayLike = 0.5,
    std: ArrayLike = 0.5,
    augment: Callable[[jax.Array, Any], Any] | None = None,
    validation: tuple[Any, ArrayLike] | None = None,
) -> Problem:
    """Checks the arrays and puts them on the device.

    Args:
      inputs: the training set: uint8[N, H, W, C] images, which are standardised, or
        any tree of arrays [N, ...], which are taken as they are: float features, bits,
        token ids, float images, a dict of such arrays. 64-bit numbers become 32-bit
        ones, as everywhere in JAX. Those of a `stored.Stored` stay in their file.
      labels: int[N] in `[0, num_classes)`.
      forget: indices of the forget set, or bool[N]; the retain set is every other
        index. It may be empty, for training before the first request.
      model: a `Model`.
      num_classes: default: the outputs of the model, which must be the largest label
        plus one or more.
      forget_classes: the classes that `forget` removes as a whole.
      mean, std: of uint8 images, per channel, in units of [0, 1].
      augment: `(key, inputs) -> inputs` on what the model is applied to.
      validation: `(inputs, labels)` held out of training.

    Raises:
      InputError: wrong shapes or dtypes, labels out of range, an index out of range or
        repeated, an empty retain set, classes that are not what is forgotten, a model
        with too few outputs, a model or an augmentation that does not take the inputs.
    """
    labels = np.asarray(labels)
    whole = as_arrays(inputs, labels.size)
    check_examples(whole, labels, "training")
    prepare = preparation(whole, mean, std)
    examples, preprocess = stored.numbered(whole, prepare)
    spec = input_spec(jax.eval_shape(preprocess, rows(examples, slice(1))))
    outputs = count_outputs(model, spec)
    if num_classes is None:
        num_classes = max(outputs, int(labels.max()) + 1)
    check_classes(num_classes, outputs, labels)
    check_labels(labels, num_classes)
    check_augment(augment, spec)
    forget = forget_indices(forget, len(labels))
    check_forget_classes(forget_classes, forget, labels, num_classes)
    retain = np.setdiff1d(np.arange(len(labels), dtype=np.int32), forget)
    problem = Problem(
        examples=on_device(examples),
        labels=jnp.asarray(labels, jnp.int32),
        forget=jnp.asarray(forget),
        retain=jnp.asarray(retain),
        forget_classes=jnp.asarray(forget_classes, jnp.int32).reshape(-1),
        model=model,
        num_classes=num_classes,
        preprocess=preprocess,
        input_spec=spec,
        augment=augment,
    )
    if validation is None:
        return problem
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise InputError("validation must be a pair (inputs, labels)")
    held_out_labels = np.asarray(validation[1])
    held_out = as_arrays(validation[0], held_out_labels.size)
    check_examples(held_out, held_out_labels, "validation")
    check_labels(held_out_labels, num_classes)
    own, others = input_spec(whole), input_spec(held_out)
    if own != others:
        raise InputError(
            f"validation inputs are {in_words(others)}, training inputs {in_words(own)}"
        )
    held_out, reading = stored.numbered(held_out, prepare)
    if reading != preprocess:
        raise InputError(
            "training and validation inputs do not lie in the same files: pass them "
            "through stored.together first"
        )
    return problem.replace(
        validation=problem.replace(
            examples=on_device(held_out),
            labels=jnp.asarray(held_out_labels, jnp.int32),
            forget=None,
            retain=jnp.arange(len(held_out_labels), dtype=jnp.int32),
            augment=None,
        )
    )


def on_devices(problem: Problem, mesh: Mesh | None) -> Problem:
    """Returns the problem with its arrays on every device, and its batches spread.

    Args:
      mesh: see `spread.make_mesh`; None: on one device, whole.
    """
    if mesh == problem.mesh:
        return problem
    held_out = problem.validation
    if held_out is not None:
        held_out = held_out.replace(mesh=mesh)
    problem = problem.replace(validation=held_out, mesh=mesh)
    if mesh is None:
        return jax.tree.map(jnp.asarray, jax.tree.map(np.asarray, problem))
    return spread.replicate(problem, mesh)


def forget_indices(forget: ArrayLike, size: int) -> np.ndarray:
    """Returns sorted int32 indices of a forget set, which may be empty.

    Args:
      forget: indices, or bool[N].
      size: N.

    Raises:
      InputError: see `forget_sets.check_forget_indices`; a mask of another length.
    """
    if isinstance(forget, set | frozenset):
        forget = sorted(forget)
    forget = np.asarray(forget)
    if forget.dtype == bool:
        if forget.shape != (size,):
            raise InputError(
                f"a mask of the forget set must be bool[{size}]; this is "
                f"bool{list(forget.shape)}"
            )
        forget = np.flatnonzero(forget)
    if not forget.size:
        return np.zeros(0, np.int32)
    return check_forget_indices(forget, size)


def check_forget_classes(
    classes: ArrayLike, forget: np.ndarray, labels: np.ndarray, num_classes: int
) -> None:
    """Refuses classes that are not, all of them and alone, what is forgotten."""
    classes = np.asarray(classes)
    if not classes.size:
        return
    outside = [c for c in classes.ravel().tolist() if c not in range(num_classes)]
    if outside:
        raise InputError(
            f"forget_classes names class {outside[0]}: the classes are "
            f"0..{num_classes - 1}"
        )
    if len(np.unique(classes)) < classes.size:
        raise InputError(
            "forget_classes names a class twice: name each once, "
            f"{np.unique(classes).tolist()}"
        )
    wanted = np.isin(labels, classes)
    found = np.zeros(len(labels), bool)
    found[forget] = True
    left, others = np.sum(wanted & ~found), np.sum(found & ~wanted)
    if left or others:
        what = (
            f"{left} examples of them are not in the forget set"
            if left
            else f"the forget set has {others} examples of other classes"
        )
        names = ", ".join(map(str, classes.ravel().tolist()))
        raise InputError(
            f"forget_classes says that {names} are forgotten as a whole, but {what}: "
            "leave forget_classes out, or forget exactly these classes"
        )


def sample_retain(key: jax.Array, problem: Problem, count: int) -> Problem:
    """Returns the problem with a random `count` of its retain set.

    Its `total_retain` tells the size of the whole set.
    """
    size = len(problem.retain)
    total = size if problem.total_retain is None else problem.total_retain
    chosen = jax.random.choice(key, problem.retain, (min(count, size),), replace=False)
    return problem.replace(retain=chosen, total_retain=total)


def withhold(problem: Problem, needs: Sequence[str]) -> Problem:
    """Keeps only what `needs` names; everything else is gone, not hidden.

    `needs` may name `forget`, `retain`, `forget_classes`, `validation` and `early`
    (which `start` is a part of).
    With only one of the two sets, the examples and labels are cut down to that set, and
    nothing tells the size of the other.
    """
    return drop_fields(cut_to_sets(problem, needs), needs)


def cut_to_sets(problem: Problem, needs: Sequence[str]) -> Problem:
    """Cuts examples and labels down to the sets that `needs` names."""
    kept = [name for name in ("forget", "retain") if name in needs]
    if len(kept) == 2:
        return problem
    changes: dict[str, Any] = dict.fromkeys(("forget", "retain", "examples", "labels"))
    for name in kept:
        indices = getattr(problem, name)
        changes |= {
            "examples": rows(problem.examples, indices),
            "labels": problem.labels[indices],
            name: jnp.arange(len(indices), dtype=jnp.int32),
        }
    return problem.replace(**changes)


def drop_fields(problem: Problem, needs: Sequence[str]) -> Problem:
    """Drops what is no set of the training data unless `needs` names it."""
    others = "validation", "forget_classes", "early"
    gone = [name for name in others if name not in needs]
    return problem.replace(**dict.fromkeys(gone))
