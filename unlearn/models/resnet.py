"""ResNet-18 with the stem for small images (He et al., 2016, arXiv:1512.03385)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.models.layers import Conv, make_norm


class ResNet18(nn.Module):
    """Four stages of two residual blocks; a 3×3 stem without pooling.

    `norm` is `"batch"` or `"group"`. `dtype="bfloat16"` computes in bfloat16; the
    parameters, the statistics and the logits stay float32. `width` is that of the first
    stage. 32×32×3, 10 classes: 11,173,962 parameters with either norm.
    """

    num_classes: int
    norm: str = "batch"
    dtype: str = "float32"
    width: int = 64

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        dtype = jnp.dtype(self.dtype)

        def conv(features, size, stride, inputs):
            layer = Conv(
                features,
                (size, size),
                strides=stride,
                padding=size // 2,
                use_bias=False,
                dtype=dtype,
            )
            return make_norm(self.norm, train, dtype)(layer(inputs))

        hidden = nn.relu(conv(self.width, 3, 1, images))
        for stage in range(4):
            features = self.width * 2**stage
            for stride in (2 if stage else 1, 1):
                shortcut = hidden
                if hidden.shape[-1] != features:
                    shortcut = conv(features, 1, stride, hidden)
                hidden = nn.relu(conv(features, 3, stride, hidden))
                hidden = nn.relu(conv(features, 3, 1, hidden) + shortcut)
        hidden = hidden.mean((1, 2)).astype(jnp.float32)
        return nn.Dense(self.num_classes)(hidden)
