"""The vision transformer (Dosovitskiy et al., 2021, arXiv:2010.11929)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.models.layers import Conv, recomputed


class ViT(nn.Module):
    """Patches and a class token through pre-norm transformer blocks, as ViT-B/16.

    `patch` is the side of a patch in pixels, `mlp` the hidden width of a block's
    two dense layers. With `patch=16, width=768, depth=12, heads=12, mlp=3072` it is
    torchvision's `vit_b_16`: 224×224×3 and 1,000 classes have 86,567,656 parameters.
    32×32×3, 10 classes as it is: 809,354. `dropout` is the share of features dropped
    when training, after each dense layer and of the tokens (the paper: 0.1 from
    scratch). `dtype="bfloat16"` computes in bfloat16; parameters and logits stay
    float32. `remat` keeps only what is between blocks for the gradients.
    """

    NAME = "vit"

    num_classes: int
    patch: int = 4
    width: int = 128
    depth: int = 4
    heads: int = 4
    mlp: int = 512
    dtype: str = "float32"
    dropout: float = 0.0
    remat: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        self._check(images.shape)
        dtype, sides = jnp.dtype(self.dtype), (self.patch, self.patch)
        patches = Conv(
            self.width, sides, strides=sides, padding="VALID", dtype=dtype, name="patch"
        )(images)
        tokens = patches.reshape(len(images), -1, self.width)
        zeros, normal = nn.initializers.zeros, nn.initializers.normal(0.02)
        first = self.param("class_token", zeros, (1, 1, self.width), jnp.float32)
        first = jnp.broadcast_to(first, (len(images), 1, self.width)).astype(dtype)
        tokens = jnp.concatenate([first, tokens], axis=1)
        shape = (1, *tokens.shape[1:])
        position = self.param("position_embedding", normal, shape, jnp.float32)
        tokens = tokens + position.astype(dtype)
        tokens = nn.Dropout(self.dropout)(tokens, deterministic=not train)

        def block(_, tokens, name):
            inner = Block(self.heads, self.mlp, dtype, self.dropout, name=name)
            return inner(tokens, train)

        block = recomputed(block, self.remat and train, 2)
        for number in range(self.depth):
            tokens = block(self, tokens, f"block_{number}")
        tokens = _norm("norm", dtype)(tokens)
        return nn.Dense(self.num_classes, name="head")(tokens[:, 0].astype(jnp.float32))

    def _check(self, shape) -> None:
        if len(shape) != 4 or shape[1] % self.patch or shape[2] % self.patch:
            raise InputError(
                f"model {self.NAME} cuts images into patches of {self.patch} pixels: "
                f"the inputs are {list(shape[1:])}; set patch to a divisor of their "
                "sides, or data.image_size to a multiple of it"
            )
        if self.width % self.heads:
            raise InputError(
                f"model {self.NAME} has width {self.width}, which its {self.heads} "
                "heads do not divide: change one of them"
            )


class ViTTiny(ViT):
    """ViT-Ti/16 (Touvron et al., 2021): 224×224×3, 1,000 classes: 5,717,416."""

    NAME = "vit_ti"

    patch: int = 16
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp: int = 768


class ViTSmall(ViT):
    """ViT-S/16 (Touvron et al., 2021): 224×224×3, 1,000 classes: 22,050,664."""

    NAME = "vit_s"

    patch: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp: int = 1536


class ViTBase(ViT):
    """ViT-B/16, torchvision's `vit_b_16`: 224×224×3, 1,000 classes: 86,567,656."""

    NAME = "vit_b"

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072


class Block(nn.Module):
    """Self-attention and two dense layers, each after a norm and beside a shortcut."""

    heads: int
    mlp: int
    dtype: jnp.dtype
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        width, dtype = tokens.shape[-1], self.dtype

        def drop(hidden):
            return nn.Dropout(self.dropout)(hidden, deterministic=not train)

        hidden = _norm("norm_1", dtype)(tokens)
        query, key, value = (
            nn.Dense(width, dtype=dtype, name=name)(hidden).reshape(
                *tokens.shape[:2], self.heads, width // self.heads
            )
            for name in ("query", "key", "value")
        )
        attended = nn.dot_product_attention(query, key, value, dtype=dtype)
        attended = attended.reshape(tokens.shape)
        tokens = tokens + drop(nn.Dense(width, dtype=dtype, name="out")(attended))
        hidden = _norm("norm_2", dtype)(tokens)
        hidden = nn.Dense(self.mlp, dtype=dtype, name="dense_1")(hidden)
        hidden = drop(nn.gelu(hidden, approximate=False))
        return tokens + drop(nn.Dense(width, dtype=dtype, name="dense_2")(hidden))


def _norm(name: str, dtype) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, dtype=dtype, name=name)
