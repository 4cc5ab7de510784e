"""ResNet-9, the net of data attribution and of the data-unlearning benchmark.

Park et al., 2023, "TRAK", https://arxiv.org/abs/2303.14186; Rinberg et al., 2024,
https://arxiv.org/abs/2410.23232. It goes back to Page, "How to train your ResNet",
2018.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.models.layers import Conv, make_norm, max_pool


class ResNet9(nn.Module):
    """Eight convolutions, two of them pairs beside a shortcut, and a scaled head.

    `width` is that of the first convolution, `norm` `"batch"` or `"group"`.
    `dtype="bfloat16"` computes in bfloat16; parameters, statistics and logits stay
    float32. Images have at least 12 pixels a side. 32×32×3, 10 classes: 2,274,880
    parameters with either norm.
    """

    num_classes: int
    norm: str = "batch"
    dtype: str = "float32"
    width: int = 64

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        if min(images.shape[1:3]) < 12:
            raise InputError(
                "model resnet9 needs images of at least 12 pixels a side; these are "
                f"{list(images.shape[1:])}: take cnn or poolnet"
            )
        dtype = jnp.dtype(self.dtype)

        def layer(features, inputs, size=3, stride=1, padding=1):
            conv = Conv(
                features,
                (size, size),
                strides=stride,
                padding=padding,
                use_bias=False,
                dtype=dtype,
            )
            return nn.relu(make_norm(self.norm, train, dtype)(conv(inputs)))

        def residual(inputs):
            features = inputs.shape[-1]
            return inputs + layer(features, layer(features, inputs))

        width = self.width
        hidden = layer(width, images)
        hidden = residual(layer(2 * width, hidden, size=5, stride=2, padding=2))
        hidden = residual(max_pool(layer(4 * width, hidden)))
        hidden = layer(2 * width, hidden, padding=0).max((1, 2)).astype(jnp.float32)
        return 0.2 * nn.Dense(self.num_classes, use_bias=False)(hidden)
