"""A small convolutional net."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from unlearn.models.layers import Conv, max_pool


class CNN(nn.Module):
    """3×3 convolutions with ReLU and 2×2 pooling, then a dense layer.

    `pool` says after which convolutions to pool: `"each"` or only the `"last"`.
    28×28×1, 10 classes: 206,922 parameters as it is; 1,625,866 as
    `widths=(32, 64), pool="last"`.
    """

    num_classes: int
    widths: Sequence[int] = (16, 32)
    dense: int = 128
    pool: str = "each"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = images
        for depth, width in enumerate(self.widths, 1):
            hidden = nn.relu(Conv(width, (3, 3))(hidden))
            if self.pool == "each" or depth == len(self.widths):
                hidden = max_pool(hidden)
        hidden = hidden.reshape(len(hidden), -1)
        hidden = nn.relu(nn.Dense(self.dense)(hidden))
        return nn.Dense(self.num_classes)(hidden)
