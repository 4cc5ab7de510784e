"""torch's nets in NumPy, from the documented definitions of their layers.

Weights are a dict by torchvision's names and layouts: a convolution [out, in, h, w], a
dense layer [out, in]. Images are [B, C, H, W] here.
"""

import math

import numpy as np
from scipy.special import erf, softmax


def conv2d(x, weight, stride, padding):
    """The sum over the input channels and the window, at every `stride`-th place."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    return np.einsum("bcijhw,ochw->boij", windows, weight)


def batch_norm(x, weights, name):
    weight, bias, mean, var = (
        weights[f"{name}.{part}"][:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def max_pool(x):
    """3×3 with stride 2, padded by 1 with minus infinity."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    return windows[:, :, ::2, ::2].max((-2, -1))


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def relu(x):
    return np.maximum(x, 0)


def resnet(weights, x, blocks):
    """ResNet-18 with blocks of two convolutions, ResNet-50 with blocks of three."""

    def layer(x, name, norm, stride):
        weight = weights[f"{name}.weight"]
        x = conv2d(x, weight, stride, weight.shape[-1] // 2)
        return batch_norm(x, weights, norm)

    x = max_pool(relu(layer(x, "conv1", "bn1", 2)))
    for stage, count in enumerate(blocks, 1):
        for number in range(count):
            block, stride = f"layer{stage}.{number}", 2 if stage > 1 > number else 1
            shortcut = x
            if f"{block}.downsample.0.weight" in weights:
                names = f"{block}.downsample.0", f"{block}.downsample.1"
                shortcut = layer(x, *names, stride)
            last = 3 if f"{block}.conv3.weight" in weights else 2
            for i in range(1, last + 1):
                own = stride if i == last - 1 else 1  # before the last: the 3×3 of 50
                x = layer(x, f"{block}.conv{i}", f"{block}.bn{i}", own)
                x = relu(x) if i < last else relu(x + shortcut)
    return linear(x.mean((2, 3)), weights, "fc")


def layer_norm(x, weights, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def vit(weights, x, patch, depth, heads):
    """torchvision's VisionTransformer."""
    x = conv2d(x, weights["conv_proj.weight"], patch, 0)
    x = x + weights["conv_proj.bias"][:, None, None]
    x = x.reshape(*x.shape[:2], -1).transpose(0, 2, 1)
    token = np.broadcast_to(weights["class_token"], (len(x), 1, x.shape[-1]))
    x = np.concatenate([token, x], 1) + weights["encoder.pos_embedding"]
    for i in range(depth):
        block = f"encoder.layers.encoder_layer_{i}"
        h = layer_norm(x, weights, f"{block}.ln_1")
        h = h @ weights[f"{block}.self_attention.in_proj_weight"].T
        h = h + weights[f"{block}.self_attention.in_proj_bias"]
        q, k, v = (
            part.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)
            for part in np.split(h, 3, -1)
        )
        share = softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1]), -1)
        h = (share @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + linear(h, weights, f"{block}.self_attention.out_proj")
        h = linear(layer_norm(x, weights, f"{block}.ln_2"), weights, f"{block}.mlp.0")
        h = h * (1 + erf(h / math.sqrt(2))) / 2
        x = x + linear(h, weights, f"{block}.mlp.3")
    return linear(layer_norm(x, weights, "encoder.ln")[:, 0], weights, "heads.head")


# Weights


def draw(shapes, seed=0):
    """Random weights by name; variances and scales are about 1."""
    rng, found = np.random.default_rng(seed), {}
    for name, shape in shapes.items():
        size = np.prod(shape[1:], dtype=int)
        values = rng.normal(size=shape) / math.sqrt(max(size, 1))
        if name.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            values = (name.endswith("weight")) + 0.1 * rng.normal(size=shape)
        found[name] = values.astype(np.float32)
    return found


def resnet_shapes(blocks, width, classes, bottleneck):
    shapes = {}

    def layer(conv, norm, out, inside, size):
        shapes[f"{conv}.weight"] = (out, inside, size, size)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (out,)

    layer("conv1", "bn1", width, 3, 7)
    inside = width
    for stage, count in enumerate(blocks, 1):
        inner = width * 2 ** (stage - 1)
        outer = 4 * inner if bottleneck else inner
        for number in range(count):
            block = f"layer{stage}.{number}"
            convs = [(inner, 1), (inner, 3), (outer, 1)] if bottleneck else []
            before = inside
            for i, (out, size) in enumerate(convs or [(inner, 3), (inner, 3)], 1):
                layer(f"{block}.conv{i}", f"{block}.bn{i}", out, before, size)
                before = out
            if inside != outer:
                down = f"{block}.downsample"
                layer(f"{down}.0", f"{down}.1", outer, inside, 1)
            inside = outer
    return shapes | {"fc.weight": (classes, inside), "fc.bias": (classes,)}


def vit_shapes(patch, width, depth, mlp, tokens, classes):
    shapes = {
        "class_token": (1, 1, width),
        "conv_proj.weight": (width, 3, patch, patch),
        "conv_proj.bias": (width,),
        "encoder.pos_embedding": (1, tokens + 1, width),
    }
    for i in range(depth):
        block = f"encoder.layers.encoder_layer_{i}"
        for name in ("ln_1", "ln_2"):
            shapes[f"{block}.{name}.weight"] = shapes[f"{block}.{name}.bias"] = (width,)
        attention = f"{block}.self_attention"
        shapes[f"{attention}.in_proj_weight"] = (3 * width, width)
        shapes[f"{attention}.in_proj_bias"] = (3 * width,)
        for name, shape in (
            (f"{attention}.out_proj", (width, width)),
            (f"{block}.mlp.0", (mlp, width)),
            (f"{block}.mlp.3", (width, mlp)),
        ):
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    shapes |= {"encoder.ln.weight": (width,), "encoder.ln.bias": (width,)}
    return shapes | {
        "heads.head.weight": (classes, width),
        "heads.head.bias": (classes,),
    }
