"""A multi-layer perceptron."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


class MLP(nn.Module):
    """Dense layers with ReLU. 28×28×1, 10 classes, 256–256: 269,322 parameters.

    `dtype="bfloat16"` computes in bfloat16; parameters and logits stay float32.
    """

    num_classes: int
    widths: Sequence[int] = (256, 256)
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = images.reshape(len(images), -1)
        for width in self.widths:
            hidden = nn.relu(nn.Dense(width, dtype=jnp.dtype(self.dtype))(hidden))
        return nn.Dense(self.num_classes)(hidden.astype(jnp.float32))
