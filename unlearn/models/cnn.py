"""A small convolutional net."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.models.layers import Conv, max_pool


class CNN(nn.Module):
    """3×3 convolutions with ReLU and 2×2 pooling, then a dense layer.

    `pool` says after which convolutions to pool: `"each"` or only the `"last"`.
    28×28×1, 10 classes: 206,922 parameters as it is; 1,625,866 as
    `widths=(32, 64), pool="last"`. `dtype="bfloat16"` computes in bfloat16; parameters
    and logits stay float32.
    """

    num_classes: int
    widths: Sequence[int] = (16, 32)
    dense: int = 128
    pool: str = "each"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        hidden, dtype = images, jnp.dtype(self.dtype)
        for depth, width in enumerate(self.widths, 1):
            hidden = nn.relu(Conv(width, (3, 3), dtype=dtype)(hidden))
            if self.pool == "each" or depth == len(self.widths):
                hidden = max_pool(hidden)
        hidden = hidden.reshape(len(hidden), -1)
        hidden = nn.relu(nn.Dense(self.dense, dtype=dtype)(hidden))
        return nn.Dense(self.num_classes)(hidden.astype(jnp.float32))
