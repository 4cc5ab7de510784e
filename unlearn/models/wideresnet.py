"""Wide residual nets (Zagoruyko & Komodakis, 2016, arXiv:1605.07146)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.models.layers import Conv, make_norm, recomputed


class WideResNet(nn.Module):
    """Three stages of residual blocks, normalised before each convolution.

    `depth` counts the convolutions, 4 more than a multiple of 6; `widen` times 16, 32
    and 64 are the widths of the stages. `dropout` is the share of features dropped
    between the convolutions of a block when training (the paper: 0, 0.3 for SVHN).
    `norm` is `"batch"` or `"group"`. `dtype="bfloat16"` computes in bfloat16;
    parameters, statistics and logits stay float32. `remat` keeps only what is between
    blocks for the gradients. WRN-28-10, the default, 32×32×3, 10 classes: 36,479,194
    parameters with either norm.
    """

    num_classes: int
    norm: str = "batch"
    dtype: str = "float32"
    depth: int = 28
    widen: int = 10
    dropout: float = 0.0
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        if self.depth < 10 or self.depth % 6 != 4:
            raise InputError(
                "depth of model wideresnet must be 4 more than a multiple of 6, as "
                f"16, 22, 28 or 40; it is {self.depth}"
            )
        dtype = jnp.dtype(self.dtype)

        def conv(features, inputs, size=3, stride=1):
            return Conv(
                features,
                (size, size),
                strides=stride,
                padding=size // 2,
                use_bias=False,
                dtype=dtype,
            )(inputs)

        def active(inputs):
            return nn.relu(make_norm(self.norm, train, dtype)(inputs))

        def block(_, hidden, features, stride):
            shortcut, inputs = hidden, active(hidden)
            if hidden.shape[-1] != features or stride > 1:
                shortcut = conv(features, inputs, size=1, stride=stride)
            hidden = active(conv(features, inputs, stride=stride))
            hidden = nn.Dropout(self.dropout)(hidden, deterministic=not train)
            return conv(features, hidden) + shortcut

        block = recomputed(block, self.remat and train, 2, 3)
        hidden = conv(16, images)
        for stage in range(3):
            for number in range((self.depth - 4) // 6):
                stride = 2 if stage and not number else 1
                hidden = block(self, hidden, 16 * self.widen * 2**stage, stride)
        hidden = active(hidden).mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes)(hidden)
