"""Layers whose gradients are fast inside `lax.scan` on the CPU as well.

XLA's CPU backend loses its fast convolution inside loops when a convolution is not in
its plain form (NHWC images, HWIO kernels, no dilation). The gradients that JAX derives
are not, and a training epoch in one `lax.scan` runs ten times slower for it
(jax-ml/jax#12868). Here every gradient is a plain convolution or a matrix product. On
other backends `conv_general_dilated` is the one of `jax.lax`, but for the few channels
of many small nets that are vectorised (`many_nets`): of these XLA makes a grouped
convolution, where a product of matrices, one a net, was ten times as fast.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

PLAIN = ("NHWC", "HWIO", "NHWC")
FEW_IMAGES = 3  # up to here patches are faster for the kernel gradient
FEW_CHANNELS = 32  # up to here they are for vectorised nets on an accelerator

_MANY: contextvars.ContextVar[bool] = contextvars.ContextVar("many", default=False)


@contextlib.contextmanager
def many_nets() -> Generator[None]:
    """Has convolutions traced as of one of many nets with weights of their own."""
    token = _MANY.set(True)
    try:
        yield
    finally:
        _MANY.reset(token)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    **options: Any,
) -> jax.Array:
    """Computes `jax.lax.conv_general_dilated`; its gradients are fast in CPU loops.

    Give it to any linen model: `nn.Conv(..., conv_general_dilated=...)`. Plain 2-d
    convolutions (NHWC images, HWIO kernels, no groups, no dilation) get the fast
    gradients; everything else is handed to `jax.lax`. Forward-mode differentiation
    works through a gradient (`jax.jvp` of `jax.grad`) but on a CPU not directly.
    """
    general = functools.partial(
        lax.conv_general_dilated,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        **options,
    )
    on_cpu = jax.default_backend() == "cpu"
    if (
        not (on_cpu or (_MANY.get() and rhs.shape[-2] <= FEW_CHANNELS))
        or not _is_plain(lhs, rhs, dimension_numbers)
        or lhs.dtype != rhs.dtype
        or any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        or (feature_group_count, batch_group_count) != (1, 1)
        or preferred_element_type is not None
        or any(value is not None for value in options.values())
    ):
        return general(lhs, rhs, window_strides, padding)
    strides, size = tuple(window_strides), rhs.shape[:2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], size, strides, padding)
    padding = tuple((int(low), int(high)) for low, high in padding)
    fits = all(
        min(pads) >= 0 and length + sum(pads) >= window
        for pads, length, window in zip(padding, lhs.shape[1:3], size, strict=True)
    )
    if not fits:
        return general(lhs, rhs, strides, padding)
    if size == (1, 1) and not any(map(any, padding)):
        lhs = lhs[:, :: strides[0], :: strides[1]]
        return lax.dot_general(
            lhs, rhs[0, 0], (((3,), (0,)), ((), ())), precision=precision
        )
    if on_cpu:
        return _conv(lhs, rhs, strides, padding, precision)
    if strides == (1, 1):
        return _product_of_patches(lhs, rhs, padding, precision)
    return general(lhs, rhs, strides, padding)


def _is_plain(lhs, rhs, dimension_numbers) -> bool:
    if lhs.ndim != 4 or rhs.ndim != 4:
        return False
    given = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return given == lax.conv_dimension_numbers(lhs.shape, rhs.shape, PLAIN)


def _plain_conv(images, kernel, strides, padding, precision):
    return lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=PLAIN, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(images, kernel, strides, padding, precision):
    return _plain_conv(images, kernel, strides, padding, precision)


def _conv_forward(images, kernel, strides, padding, precision):
    out = _plain_conv(images, kernel, strides, padding, precision)
    return out, (images, kernel)


def _conv_backward(strides, padding, precision, saved, gradient):
    images, kernel = saved
    if strides == (1, 1):
        full = [
            (size - 1 - low, size - 1 - high)
            for size, (low, high) in zip(kernel.shape[:2], padding, strict=True)
        ]
        return (
            _image_gradient(gradient, kernel, full, precision),
            _kernel_gradient(images, gradient, padding, precision),
        )
    return _strided_gradients(images, kernel, gradient, strides, padding, precision)


_conv.defvjp(_conv_forward, _conv_backward)


def _image_gradient(gradient, kernel, padding, precision):
    """The output gradient convolved with the flipped, channel-transposed kernel."""
    kernel = jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2)
    return _plain_conv(gradient, kernel, (1, 1), padding, precision)


def _kernel_gradient(images, gradient, padding, precision):
    """The images convolved with the output gradient, batch and channels swapped; of few
    images, their patches times the output gradient."""
    if len(images) <= FEW_IMAGES:
        return _kernel_gradient_of_patches(images, gradient, padding, precision)
    images, gradient = images.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
    kernel = _plain_conv(images, gradient, (1, 1), padding, precision)
    return kernel.transpose(1, 2, 0, 3)


def _patches(images, size, padding):
    """Returns `[B, H, W, height * width * C]`, what a kernel of `size` sees."""
    images = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    height, width = size
    rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
    corners = [
        images[:, i : i + rows, j : j + columns] for i, j in np.ndindex(height, width)
    ]
    return jnp.concatenate(corners, axis=-1)


def _product_of_patches(images, kernel, padding, precision):
    return lax.dot_general(
        _patches(images, kernel.shape[:2], padding),
        kernel.reshape(-1, kernel.shape[-1]),
        (((3,), (0,)), ((), ())),
        precision=precision,
    )


def _kernel_gradient_of_patches(images, gradient, padding, precision):
    rows, columns, out_channels = gradient.shape[1:]
    height, width = (
        length + sum(pads) - size + 1
        for length, pads, size in zip(
            images.shape[1:3], padding, (rows, columns), strict=True
        )
    )
    patches = _patches(images, (height, width), padding)
    kernel = jnp.matmul(
        patches.reshape(-1, patches.shape[-1]).T,
        gradient.reshape(-1, out_channels),
        precision=precision,
    )
    return kernel.reshape(height, width, -1, out_channels)


def _strided_gradients(images, kernel, gradient, strides, padding, precision):
    """A strided convolution is a sum of plain ones: every `stride`-th row and column of
    the images with every `stride`-th of the kernel, for each offset."""
    (height, width), (rows, columns) = images.shape[1:3], gradient.shape[1:3]
    images = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    tall, wide = (
        -(-size // s) for size, s in zip(images.shape[1:3], strides, strict=True)
    )
    empty = jnp.zeros((len(images), tall, wide, images.shape[3]), images.dtype)
    kernel_gradient = jnp.zeros_like(kernel)
    image_gradients = []
    for i, j in np.ndindex(*strides):
        part = kernel[i :: strides[0], j :: strides[1]]
        if not part.size:
            image_gradients.append(empty)
            continue
        h, w = part.shape[0] - 1, part.shape[1] - 1
        full = ((h, tall - rows), (w, wide - columns))
        image_gradients.append(_image_gradient(gradient, part, full, precision))
        corner = images[:, i :: strides[0], j :: strides[1]]
        corner = corner[:, : rows + h, : columns + w]
        kernel_gradient = kernel_gradient.at[i :: strides[0], j :: strides[1]].set(
            _kernel_gradient(corner, gradient, ((0, 0), (0, 0)), precision)
        )
    image_gradient = _interleave(image_gradients, strides)
    (top, _), (left, _) = padding
    return (
        image_gradient[:, top : top + height, left : left + width],
        kernel_gradient,
    )


def _interleave(parts, strides):
    """`parts[i * strides[1] + j]` on rows `i::strides[0]`, columns `j::strides[1]`."""
    batch, tall, wide, channels = parts[0].shape
    across = strides[1]
    lines = [
        jnp.stack(parts[start : start + across], 3)
        for start in range(0, len(parts), across)
    ]
    whole = jnp.stack(lines, 2)  # [B, tall, stride, wide, stride, C]
    return whole.reshape(batch, tall * strides[0], wide * strides[1], channels)


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""`flax.linen.Conv` with the fast gradients."""


@jax.custom_vjp
def max_pool(images: jax.Array) -> jax.Array:
    """Takes the maximum of each 2×2 window of `[B, H, W, C]`.

    An odd last row or column is left out. Of equal entries the first (row by row) gets
    the gradient, as in `flax.linen.max_pool`.
    """
    return nn.max_pool(images, (2, 2), strides=(2, 2))


def _max_pool_forward(images):
    pooled = nn.max_pool(images, (2, 2), strides=(2, 2))
    return pooled, (images, pooled)


def _max_pool_backward(saved, gradient):
    images, pooled = saved
    rows, columns = pooled.shape[1:3]
    taken = jnp.zeros(pooled.shape, bool)
    parts = []
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = images[:, i::2, j::2][:, :rows, :columns]
        chosen = (corner == pooled) & ~taken
        taken |= chosen
        parts.append(jnp.where(chosen, gradient, 0))
    spread = _interleave(parts, (2, 2))
    odd_rows, odd_columns = images.shape[1] % 2, images.shape[2] % 2
    return (jnp.pad(spread, ((0, 0), (0, odd_rows), (0, odd_columns), (0, 0))),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _sum_examples(values):
    """Sums `[..., C]` over all axes but the last: on the CPU as a matrix product."""
    if jax.default_backend() != "cpu":
        return values.sum(range(values.ndim - 1))
    values = values.reshape(-1, values.shape[-1])
    return jnp.ones(len(values), values.dtype) @ values


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize(inputs, scale, bias, epsilon):
    """float32[..., C] normalised by its own statistics; these (mean, variance) too."""
    return _normalize_forward(inputs, scale, bias, epsilon)[0]


def _normalize_forward(inputs, scale, bias, epsilon):
    count = inputs.size // inputs.shape[-1]
    mean = _sum_examples(inputs) / count
    variance = _sum_examples(jnp.square(inputs)) / count - jnp.square(mean)
    variance = jnp.maximum(variance, 0)
    factor = scale * lax.rsqrt(variance + epsilon)
    out = inputs * factor + (bias - mean * factor)
    return (out, mean, variance), (inputs, scale, mean, variance)


def _normalize_backward(epsilon, saved, gradients):
    inputs, scale, mean, variance = saved
    gradient, mean_gradient, variance_gradient = gradients
    count = inputs.size // inputs.shape[-1]
    inverse = lax.rsqrt(variance + epsilon)
    bias_gradient = _sum_examples(gradient)
    scale_gradient = _sum_examples(gradient * (inputs - mean)) * inverse
    # The input gradient is linear in the output gradient and the input, per channel.
    on_gradient = scale * inverse
    on_input = 2 * variance_gradient - on_gradient * inverse * scale_gradient
    constant = mean_gradient - on_gradient * bias_gradient - on_input * mean
    input_gradient = gradient * on_gradient + (inputs * on_input + constant) / count
    return input_gradient, scale_gradient, bias_gradient


_normalize.defvjp(_normalize_forward, _normalize_backward)


class BatchNorm(nn.Module):
    """`flax.linen.BatchNorm` over all axes but the last, with fast statistics.

    The same variables and values. `momentum` is the share of the old statistics that
    is kept (PyTorch's `1 - momentum`).
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        channels = (inputs.shape[-1],)
        zeros, ones, float32 = nn.initializers.zeros, nn.initializers.ones, jnp.float32
        scale = self.param("scale", ones, channels, float32)
        bias = self.param("bias", zeros, channels, float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, float32)
        variance = self.variable("batch_stats", "var", jnp.ones, channels, float32)
        if not train:
            factor = scale * lax.rsqrt(variance.value + self.epsilon)
            shift = bias - mean.value * factor
            return (inputs * factor + shift).astype(self.dtype)
        out, batch_mean, batch_variance = _normalize(
            inputs.astype(jnp.float32), scale, bias, self.epsilon
        )
        if not self.is_initializing():
            keep = self.momentum
            mean.value = keep * mean.value + (1 - keep) * batch_mean
            variance.value = keep * variance.value + (1 - keep) * batch_variance
        return out.astype(self.dtype)


def make_norm(
    norm: str, train: bool, dtype: DTypeLike = jnp.float32
) -> Callable[[jax.Array], jax.Array]:
    """Makes the layer for `"batch"`, `"group"` (at most 32 groups) or `"none"`."""
    if norm == "batch":
        return functools.partial(BatchNorm(dtype=dtype), train=train)
    if norm == "group":
        return lambda inputs: nn.GroupNorm(
            num_groups=math.gcd(32, inputs.shape[-1]), dtype=dtype
        )(inputs)
    return lambda inputs: inputs


def recomputed(
    block: Callable[..., jax.Array], remat: bool, *static: int
) -> Callable[..., jax.Array]:
    """Makes the backward pass compute a block's inner activations again, if `remat`.

    Only what enters `block(module, hidden, ...)` is then kept for the gradients, for a
    third more computation. `static` are the numbers of arguments that are no arrays.
    XLA's CPU backend does not free what is not kept; it is for accelerators.
    """
    return nn.remat(block, static_argnums=static) if remat else block
