"""VGG-16 with normalisation (Simonyan & Zisserman, 2015, arXiv:1409.1556)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.models.layers import Conv, make_norm, max_pool

STAGES = (1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)
"""A stage is pooled at its end; each number times `width` is that of a convolution."""


class VGG16(nn.Module):
    """Thirteen convolutions in five stages, each followed by a norm and ReLU.

    `head` is `"small"` (one dense layer on the mean over positions, as the nets for
    CIFAR have it) or `"large"` (the paper's three, the first two with half of their
    features dropped when training). `norm` is `"batch"`, `"group"` or `"none"`;
    `dtype="bfloat16"` computes in bfloat16, parameters, statistics and logits stay
    float32. Images have at least 32 pixels a side, smaller ones are pooled less often.
    32×32×3, 10 classes: 14,728,266 parameters with either norm; 224×224×3, 1,000
    classes and the large head: 138,365,992, torchvision's.
    """

    num_classes: int
    norm: str = "batch"
    dtype: str = "float32"
    width: int = 64
    head: str = "small"

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        dtype, hidden = jnp.dtype(self.dtype), images
        for stage in STAGES:
            for times in stage:
                conv = Conv(times * self.width, (3, 3), padding=1, dtype=dtype)
                hidden = make_norm(self.norm, train, dtype)(conv(hidden))
                hidden = nn.relu(hidden)
            if min(hidden.shape[1:3]) > 1:
                hidden = max_pool(hidden)
        if self.head == "small":
            hidden = hidden.mean((1, 2))
        else:
            hidden = hidden.reshape(len(hidden), -1)
            for _ in range(2):
                hidden = nn.relu(nn.Dense(64 * self.width, dtype=dtype)(hidden))
                hidden = nn.Dropout(0.5)(hidden, deterministic=not train)
        return nn.Dense(self.num_classes)(hidden.astype(jnp.float32))
