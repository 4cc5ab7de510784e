"""A net for fast trainings of CIFAR-10 on an accelerator.

Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU",
https://arxiv.org/abs/2404.00498. There the first layer whitens the patches of the
training images. Here its filters whiten the patches of a model of images, so that they
hold nothing about anybody's data and nothing of it has to be forgotten.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError
from unlearn.models.layers import BatchNorm, Conv, conv_general_dilated, max_pool

PIXELS = 0.93  # correlation of neighbouring pixels
COLOURS = 0.91  # correlation of neighbouring colours of a pixel


class SpeedNet(nn.Module):
    """Stages of `depth` 3×3 convolutions, the first one pooled 2×2, and a scaled head.

    Images first go through fixed filters that whiten 2×2 patches, see
    `whitening_filters`. With `depth` 3 or more a shortcut leads around all but the
    first convolution of a stage. `dtype="bfloat16"` computes in bfloat16; parameters,
    statistics and logits stay float32. Images have at least 9 pixels a side. 32×32×3,
    10 classes: 1,972,504 parameters.
    """

    num_classes: int
    widths: Sequence[int] = (64, 256, 256)
    depth: int = 2
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        least = 2 ** len(self.widths) + 1
        if min(images.shape[1:3]) < least:
            raise InputError(
                f"model speednet with {len(self.widths)} widths needs images of at "
                f"least {least} pixels a side; these are {list(images.shape[1:])}: "
                "take fewer widths"
            )
        dtype = jnp.dtype(self.dtype)

        def normalised(hidden):
            return BatchNorm(momentum=0.6, dtype=dtype)(hidden, train=train)

        def conv(width, hidden):
            return Conv(width, (3, 3), use_bias=False, dtype=dtype)(hidden)

        hidden = nn.gelu(Whiten(dtype=self.dtype)(images))
        for width in self.widths:
            hidden = nn.gelu(normalised(max_pool(conv(width, hidden))))
            shortcut = hidden
            for number in range(1, self.depth):
                hidden = normalised(conv(width, hidden))
                if self.depth > 2 and number == self.depth - 1:
                    hidden = hidden + shortcut
                hidden = nn.gelu(hidden)
        hidden = hidden.max((1, 2)).astype(jnp.float32)
        head = nn.Dense(self.num_classes, use_bias=False)
        return head(hidden) / np.sqrt(hidden.shape[-1])


class Whiten(nn.Module):
    """Whitens 2×2 patches of `[B, H, W, C]` by fixed filters, both ways round.

    Only a bias is trained: `[B, H-1, W-1, 8C]`.
    """

    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        dtype = jnp.dtype(self.dtype)
        filters = whitening_filters(images.shape[-1])
        kernel = jnp.asarray(np.concatenate([filters, -filters], -1), dtype)
        out = conv_general_dilated(
            images.astype(dtype),
            kernel,
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        bias = self.param("bias", nn.initializers.zeros, (kernel.shape[-1],))
        return out + bias.astype(dtype)


def whitening_filters(channels: int, epsilon: float = 5e-4) -> np.ndarray:
    """Returns filters [2, 2, C, 4C] that whiten 2×2 patches of a model of images.

    In the model all pixels have variance 1, and correlations fall by a factor with each
    step along rows, columns and colours: `PIXELS` and `COLOURS`. (Standardised images
    of CIFAR-10 have .94, .93 and .92.) Filters are the eigenvectors of this covariance,
    over the square roots of the eigenvalues plus `epsilon`.
    """
    along, basis = _eigenvectors(PIXELS, 2)
    of_colour, colours = _eigenvectors(COLOURS, channels)
    values = np.kron(np.kron(along, along), of_colour)
    vectors = np.kron(np.kron(basis, basis), colours)
    return (vectors / np.sqrt(values + epsilon)).reshape(2, 2, channels, -1)


def _eigenvectors(factor: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the eigenvalues and eigenvectors along one axis.

    They differ, and the vectors begin with positive numbers, so that a net that was
    trained on one machine finds the same filters on every other.
    """
    steps = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    values, vectors = np.linalg.eigh(factor**steps)
    return values, vectors * np.sign(vectors[0])
