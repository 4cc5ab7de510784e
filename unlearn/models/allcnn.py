"""The all-convolutional net All-CNN-C (Springenberg et al., 2015, arXiv:1412.6806)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.models.layers import Conv, make_norm


class AllCNN(nn.Module):
    """Nine convolutions, two of them strided, and a global mean; no dense layer.

    Without the paper's dropout, and all are padded: there the seventh is not, and the
    mean is over 6×6. `norm` after each hidden convolution is `"batch"`, `"group"` or
    `"none"` (the paper's). `dtype="bfloat16"` computes in bfloat16; parameters,
    statistics and logits stay float32. 32×32×3, 10 classes: 1,370,986 parameters;
    1,369,738 without norm.
    """

    num_classes: int
    width: int = 96
    norm: str = "batch"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        dtype = jnp.dtype(self.dtype)
        narrow, wide = self.width, 2 * self.width
        layers = [(narrow, 3, 1), (narrow, 3, 1), (narrow, 3, 2)]
        layers += [(wide, 3, 1), (wide, 3, 1), (wide, 3, 2)]
        layers += [(wide, 3, 1), (wide, 1, 1)]
        hidden = images
        for features, size, stride in layers:
            hidden = Conv(
                features,
                (size, size),
                strides=stride,
                padding=size // 2,
                use_bias=self.norm == "none",
                dtype=dtype,
            )(hidden)
            hidden = nn.relu(make_norm(self.norm, train, dtype)(hidden))
        hidden = hidden.astype(jnp.float32)
        return Conv(self.num_classes, (1, 1))(hidden).mean((1, 2))
