"""Test-time mirroring: a model that looks at images and their mirror images."""

import functools
from typing import Any

import jax

from unlearn.errors import InputError
from unlearn.problem import Model, Variables


@functools.cache
def mirrored(model: Model) -> Model:
    """Makes a model that answers the mean of its logits for an image and its mirror.

    Training (`train=True`) is the model's own, and so are the variables; everything
    that is computed in evaluation mode is of the mean: predictions, and the gradients
    of methods that leave batch statistics alone. There `activations` has the mean of
    what the head is applied to, which the mean of the logits belongs to, and of the
    layers before it what they see of the image as it is. The same model gives the same
    one, so that what was compiled for it is found again.

    Raises:
      InputError: at the first use, inputs that are not images [B, H, W, C].
    """
    look = model.activations

    def apply(
        variables: Variables,
        inputs: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Variables]:
        if train:
            return model.apply(variables, inputs, train=True, key=key)
        logits, new = model.apply(variables, inputs, key=key)
        others, _ = model.apply(variables, mirror_images(inputs), key=key)
        return (logits + others) / 2, new

    def activations(
        variables: Variables,
        inputs: jax.Array,
        *,
        train: bool = False,
        key: jax.Array | None = None,
    ) -> tuple[dict, jax.Array, Variables]:
        assert look is not None
        if train:
            return look(variables, inputs, train=True, key=key)
        found, logits, new = look(variables, inputs, key=key)
        seen, others, _ = look(variables, mirror_images(inputs), key=key)
        head = list(found)[-1]
        found = {**found, head: (found[head] + seen[head]) / 2}
        return found, (logits + others) / 2, new

    return Model(model.init, apply, None if look is None else activations)


def mirror_images(inputs: Any) -> jax.Array:
    """Mirrors images [B, H, W, C], left to right.

    Raises:
      InputError: other inputs.
    """
    if getattr(inputs, "ndim", None) != 4:
        shape = list(inputs.shape[1:]) if hasattr(inputs, "shape") else "no array"
        raise InputError(
            f"model.test_flip, or models.mirrored, is for images [H, W, C]; these "
            f"inputs are {shape}: leave it out"
        )
    return inputs[:, :, ::-1]
