"""Residual nets (He et al., 2016, arXiv:1512.03385).

With `stem="large"` they are torchvision's: the same layers, strides and paddings, so
that weights trained there give the same logits here (`models.weights`).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.models.layers import Conv, make_norm, recomputed

Layer = Callable[[int, int, int, jax.Array], jax.Array]
"""`layer(features, size, stride, inputs)`: a convolution and its normalisation."""


def _convolution(norm: str, train: bool, dtype) -> Layer:
    def layer(features, size, stride, inputs):
        conv = Conv(
            features,
            (size, size),
            strides=stride,
            padding=size // 2,
            use_bias=False,
            dtype=dtype,
        )
        return make_norm(norm, train, dtype)(conv(inputs))

    return layer


def _stem(stem: str, width: int, conv: Layer, images: jax.Array) -> jax.Array:
    """A 3×3 convolution, or 7×7 and pooling, both with stride 2."""
    if stem == "small":
        return nn.relu(conv(width, 3, 1, images))
    hidden = nn.relu(conv(width, 7, 2, images))
    return nn.max_pool(hidden, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


class ResNet18(nn.Module):
    """Four stages of two residual blocks.

    `stem` is `"small"` (3×3, no pooling: for small images) or `"large"` (7×7 with
    stride 2 and pooling, the paper's). `norm` is `"batch"` or `"group"`.
    `dtype="bfloat16"` computes in bfloat16; the parameters, the statistics and the
    logits stay float32. `width` is that of the first stage. `remat` keeps only what is
    between blocks for the gradients. 32×32×3, 10 classes: 11,173,962 parameters with
    either norm; 1,000 classes and the large stem: 11,689,512.
    """

    num_classes: int
    norm: str = "batch"
    dtype: str = "float32"
    width: int = 64
    stem: str = "small"
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        conv = _convolution(self.norm, train, jnp.dtype(self.dtype))
        hidden = _stem(self.stem, self.width, conv, images)

        def block(_, hidden, features, stride):
            shortcut = hidden
            if hidden.shape[-1] != features:
                shortcut = conv(features, 1, stride, hidden)
            hidden = nn.relu(conv(features, 3, stride, hidden))
            return nn.relu(conv(features, 3, 1, hidden) + shortcut)

        block = recomputed(block, self.remat and train, 2, 3)
        for stage in range(4):
            for stride in (2 if stage else 1, 1):
                hidden = block(self, hidden, self.width * 2**stage, stride)
        hidden = hidden.mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes)(hidden)


class ResNet50(nn.Module):
    """Stages of 3, 4, 6 and 3 bottleneck blocks, the stride in the 3×3 convolution.

    The options are those of `ResNet18`; a block puts out four times its width.
    32×32×3, 10 classes: 23,520,842 parameters; 1,000 classes and the large stem:
    25,557,032.
    """

    num_classes: int
    norm: str = "batch"
    dtype: str = "float32"
    width: int = 64
    stem: str = "small"
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        conv = _convolution(self.norm, train, jnp.dtype(self.dtype))
        hidden = _stem(self.stem, self.width, conv, images)

        def block(_, hidden, inner, stride):
            shortcut, outer = hidden, 4 * inner
            if hidden.shape[-1] != outer or stride > 1:
                shortcut = conv(outer, 1, stride, hidden)
            hidden = nn.relu(conv(inner, 1, 1, hidden))
            hidden = nn.relu(conv(inner, 3, stride, hidden))
            return nn.relu(conv(outer, 1, 1, hidden) + shortcut)

        block = recomputed(block, self.remat and train, 2, 3)
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for number in range(blocks):
                stride = 2 if stage and not number else 1
                hidden = block(self, hidden, self.width * 2**stage, stride)
        hidden = hidden.mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes)(hidden)
