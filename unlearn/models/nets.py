"""Nets by name, or by the path of a file that makes one."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.inputs import in_words, input_spec
from unlearn.models.allcnn import AllCNN
from unlearn.models.cnn import CNN
from unlearn.models.linen import from_linen
from unlearn.models.loss_scale import scaled
from unlearn.models.mlp import MLP
from unlearn.models.own_file import find_file, is_path, load_model
from unlearn.models.poolnet import PoolNet
from unlearn.models.resnet import ResNet18, ResNet50
from unlearn.models.resnet9 import ResNet9
from unlearn.models.speednet import SpeedNet
from unlearn.models.vgg import VGG16
from unlearn.models.vit import ViT, ViTBase, ViTSmall, ViTTiny
from unlearn.models.wideresnet import WideResNet
from unlearn.problem import Model, Variables

NETS = {
    "mlp": MLP,
    "cnn": CNN,
    "allcnn": AllCNN,
    "poolnet": PoolNet,
    "speednet": SpeedNet,
    "resnet9": ResNet9,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
    "wideresnet": WideResNet,
    "vgg16": VGG16,
    "vit": ViT,
    "vit_ti": ViTTiny,
    "vit_s": ViTSmall,
    "vit_b": ViTBase,
}
NORMS = "batch", "group"
STEMS = "small", "large"
CHOICES = {
    ("cnn", "pool"): ("each", "last"),
    ("allcnn", "norm"): (*NORMS, "none"),
    ("poolnet", "norm"): NORMS,
    ("resnet9", "norm"): NORMS,
    ("resnet18", "norm"): NORMS,
    ("resnet18", "stem"): STEMS,
    ("resnet50", "norm"): NORMS,
    ("resnet50", "stem"): STEMS,
    ("wideresnet", "norm"): NORMS,
    ("vgg16", "norm"): (*NORMS, "none"),
    ("vgg16", "head"): STEMS,
}
DTYPES = "float32", "bfloat16", "float16"
CHOICES |= {(name, "dtype"): DTYPES for name in NETS}
REMAT = [name for name, net in NETS.items() if "remat" in net.__dataclass_fields__]
CHOICES |= {(name, "remat"): (False, True) for name in REMAT}


def create(name: str, num_classes: int, **options: Any) -> Model:
    """Makes one of the nets, or the one that a function in a file makes.

    The same arguments give the same `Model`, so that what was compiled for it is found
    again. Parameters are He-scaled.

    Args:
      name: of the net, a key of `NETS`; or `PATH.py:function`, see `own_file`.
      num_classes: K, the number of logits.
      options: fields of the net's class, see `options`; or arguments of the function.

    Raises:
      InputError: an unknown net or option, or an option's value that does not fit; or
        the file or its function is not there or fails.
    """
    if is_path(name):
        return load_model(name, num_classes, **options)
    check_name(name)
    net = NETS[name]
    known = [f for f in net.__dataclass_fields__ if f not in _NOT_OPTIONS]
    for option, value in options.items():
        if option not in known:
            raise InputError(
                f"model {name} has no option {option!r}: it has {', '.join(known)}"
            )
        choices = CHOICES.get((name, option))
        if choices and value not in choices:
            raise InputError(
                f"{option} of model {name} must be one of "
                f"{', '.join(map(str, choices))}; "
                f"it is {value!r}"
            )
        if option == "dropout":
            if not (isinstance(value, int | float) and 0 <= value < 1):
                raise InputError(
                    f"dropout of model {name} must be from 0 to below 1; it is "
                    f"{value!r}"
                )
        elif choices is None and not _is_size(value, several=option == "widths"):
            what = "positive whole numbers" if option == "widths" else "a positive int"
            raise InputError(
                f"{option} of model {name} must be {what}; it is {value!r}"
            )
    options = {k: tuple(v) if k == "widths" else v for k, v in options.items()}
    return _create(net(num_classes, **options))  # ty: ignore[invalid-argument-type]


def check_name(name: str) -> None:
    """Refuses the name of a net that is not there, before anything is made."""
    if is_path(name):
        find_file(name)
    elif name not in NETS:
        raise InputError(
            f"there is no model {name!r}: choose from {', '.join(NETS)}, or give a "
            "function of yours as PATH.py:function"
        )


def options() -> dict[str, dict]:
    """Lists the options of every net but `dtype`, which all have, with defaults."""
    return {
        name: {
            field.name: field.default
            for field in net.__dataclass_fields__.values()
            if field.name not in (*_NOT_OPTIONS, "dtype")
        }
        for name, net in NETS.items()
    }


_NOT_OPTIONS = ("num_classes", "parent", "name")


def _is_size(value, several: bool) -> bool:
    if several and not isinstance(value, list | tuple):
        return False
    return all(type(v) is int and v > 0 for v in (value if several else [value]))


@functools.cache
def _create(module: nn.Module) -> Model:
    model = from_linen(module)._replace(init=functools.partial(he_init, module))
    return scaled(model) if module.dtype == "float16" else model


@functools.partial(jax.jit, static_argnums=0)
def he_init(module: nn.Module, key: jax.Array, images: jax.Array) -> Variables:
    """Draws variables: He-scaled uniform kernels, biases 0, scales and variances 1.

    All random numbers are drawn as one vector: a draw for each tensor takes seconds to
    compile for a ResNet.

    Raises:
      InputError: the net is for images, and the inputs are none.
    """
    ours = [name for name, net in NETS.items() if type(module) is net]
    if ours not in ([], ["mlp"]) and getattr(images, "ndim", 0) != 4:
        raise InputError(
            f"model {ours[0]} is for images [N, H, W, C]; these inputs are "
            f"{in_words(input_spec(images))}: take mlp"
        )
    shapes = jax.eval_shape(module.init, key, images)
    kernels = [
        leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
        if path[-1].key == "kernel"
    ]
    sizes = [math.prod(shape) for shape in kernels]
    numbers = jax.random.uniform(key, (sum(sizes),), jnp.float32, -1.0)
    offset = 0

    def fill(path, leaf):
        nonlocal offset
        if path[-1].key == "position_embedding":
            key_position = jax.random.fold_in(key, 1)
            return 0.02 * jax.random.normal(key_position, leaf.shape, leaf.dtype)
        if path[-1].key != "kernel":
            ones = path[-1].key in ("scale", "var")
            return jnp.full(leaf.shape, float(ones), leaf.dtype)
        size = math.prod(leaf.shape)
        part = numbers[offset : offset + size].reshape(leaf.shape)
        offset += size
        return part * math.sqrt(6 / math.prod(leaf.shape[:-1]))

    return jax.tree_util.tree_map_with_path(fill, shapes)


def parameter_count(variables: Variables) -> int:
    """Counts the trained parameters (batch statistics are not among them)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
