"""A small residual net for small images, quick to train on a CPU.

The parts are those that fast CIFAR-10 trainings have in common (Page, "How to train
your ResNet", 2018; Jordan, 2024, arXiv:2404.00498): pooling before normalisation, few
channels where there are many pixels, and no dense layer but the last.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.models.layers import Conv, make_norm, max_pool


class PoolNet(nn.Module):
    """Stages of a 3×3 convolution that is pooled 2×2 and one with a shortcut.

    A stage a width; each convolution is followed by `norm` (`"batch"` or `"group"`)
    and ReLU, and the last stage by a global mean and a dense layer. `dtype="bfloat16"`
    computes in bfloat16; parameters, statistics and logits stay float32. 32×32×3, 10
    classes: 288,746 parameters with either norm.
    """

    num_classes: int
    widths: Sequence[int] = (32, 64, 128)
    norm: str = "batch"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        dtype = jnp.dtype(self.dtype)

        def layer(width, inputs, pool=lambda outputs: outputs):
            outputs = pool(Conv(width, (3, 3), use_bias=False, dtype=dtype)(inputs))
            return nn.relu(make_norm(self.norm, train, dtype)(outputs))

        hidden = images
        for width in self.widths:
            hidden = layer(width, hidden, max_pool)
            hidden = hidden + layer(width, hidden)
        hidden = hidden.mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes)(hidden)
