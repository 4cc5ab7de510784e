"""Names and layouts of torchvision's and timm's ResNets and vision transformers.

A convolution is `[out, in, height, width]` there and `[height, width, in, out]` here, a
dense layer is transposed, running means are `batch_stats`, and the three projections of
an attention are one array there.
"""

import itertools
import re
from collections.abc import Mapping

from unlearn.models.weight_files import Entry

WRAPPERS = ("module.", "_orig_mod.", "model.")  # of DataParallel, compile, Lightning
DROPPED = "num_batches_tracked"
STATISTICS = {"running_mean": "mean", "running_var": "var"}
TORCHVISION_BLOCK = {
    "ln_1": "norm_1",
    "self_attention.out_proj": "out",
    "ln_2": "norm_2",
    "mlp.0": "dense_1",
    "mlp.linear_1": "dense_1",
    "mlp.3": "dense_2",
    "mlp.linear_2": "dense_2",
}
TIMM_BLOCK = {
    "norm1": "norm_1",
    "attn.proj": "out",
    "norm2": "norm_2",
    "mlp.fc1": "dense_1",
    "mlp.fc2": "dense_2",
}
TOKENS = {
    "class_token": "params.class_token",
    "cls_token": "params.class_token",
    "encoder.pos_embedding": "params.position_embedding",
    "pos_embed": "params.position_embedding",
}


def translate(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Gives arrays of torchvision or timm the names and layouts of the nets here.

    Those of other files are returned as they are. What has no counterpart keeps its
    name.
    """
    entries = _unwrapped(entries)
    if {"conv1.weight", "layer1.0.conv1.weight"} <= entries.keys():
        layers = _resnet_layers(entries)
    elif entries.keys() & {"class_token", "cls_token"} and _is_torch(entries):
        layers = _vit_layers(entries)
    else:
        return entries
    found: dict[str, Entry] = {}
    for name, entry in entries.items():
        layer, _, leaf = name.rpartition(".")
        if leaf == DROPPED:
            continue
        attention = re.fullmatch(
            r"(.*)(?:attn\.qkv\.|self_attention\.in_proj_)(\w+)", name
        )
        if name in TOKENS:
            found[TOKENS[name]] = entry
        elif attention:
            block = _block(attention[1])
            found |= _split(f"params.{block}", attention[2], entry)
        elif layer in layers:
            found |= _layer(layers[layer], leaf, entry)
        else:
            found[name] = entry
    return found


def _is_torch(entries: Mapping[str, Entry]) -> bool:
    """Whether there are torch's names: the nets here have a `class_token` as well."""
    return any(name.endswith(".weight") for name in entries)


def _unwrapped(entries: dict[str, Entry]) -> dict[str, Entry]:
    for prefix in WRAPPERS:
        if entries and all(name.startswith(prefix) for name in entries):
            return _unwrapped({n.removeprefix(prefix): e for n, e in entries.items()})
    return entries


def _layer(layer: str, leaf: str, entry: Entry) -> dict[str, Entry]:
    if leaf in STATISTICS:
        return {f"batch_stats.{layer}.{STATISTICS[leaf]}": entry}
    if leaf == "weight":
        name = "kernel" if len(entry.shape) > 1 else "scale"
        return {f"params.{layer}.{name}": _turned(entry)}
    return {f"params.{layer}.{leaf}": entry}


def _turned(entry: Entry) -> Entry:
    """`[out, in, ...]` as `[..., in, out]`."""
    count = len(entry.shape)
    if count < 2:
        return entry
    axes = (*range(2, count), 1, 0)
    shape = tuple(entry.shape[axis] for axis in axes)
    return Entry(shape, entry.dtype, lambda: entry.read().transpose(axes))


def _split(block: str, leaf: str, entry: Entry) -> dict[str, Entry]:
    """The query, key and value projections, which are one array there."""
    size = entry.shape[0] // 3
    name = "kernel" if leaf == "weight" else leaf
    shape = size, *entry.shape[1:]

    def part(number):
        rows = slice(number * size, (number + 1) * size)
        return _turned(Entry(shape, entry.dtype, lambda: entry.read()[rows]))

    kinds = enumerate(("query", "key", "value"))
    return {f"{block}.{kind}.{name}": part(number) for number, kind in kinds}


def _resnet_layers(entries: Mapping[str, Entry]) -> dict[str, str]:
    """Numbers convolutions and norms in the order in which the nets here make them."""
    pairs = [("conv1", "bn1")]
    for stage in range(1, 5):
        for number in itertools.count():
            block = f"layer{stage}.{number}"
            if f"{block}.conv1.weight" not in entries:
                break
            inner = [(f"{block}.conv{i}", f"{block}.bn{i}") for i in (1, 2, 3)]
            inner.insert(0, (f"{block}.downsample.0", f"{block}.downsample.1"))
            pairs += [pair for pair in inner if f"{pair[0]}.weight" in entries]
    layers = {"fc": "Dense_0"}
    for number, (conv, norm) in enumerate(pairs):
        layers |= {conv: f"Conv_{number}", norm: f"BatchNorm_{number}"}
    return layers


def _vit_layers(entries: Mapping[str, Entry]) -> dict[str, str]:
    layers = {"conv_proj": "patch", "encoder.ln": "norm", "heads.head": "head"}
    layers |= {"patch_embed.proj": "patch", "norm": "norm", "head": "head"}
    for name in entries:
        layer = name.rpartition(".")[0]
        parts = re.fullmatch(r"((?:encoder\.layers|blocks)\.\w+\.)(.+)", layer)
        known = TORCHVISION_BLOCK | TIMM_BLOCK
        if parts and parts[2] in known:
            layers[layer] = f"{_block(parts[1])}.{known[parts[2]]}"
    return layers


def _block(prefix: str) -> str:
    """`encoder.layers.encoder_layer_3.` and `blocks.3.` are `block_3`."""
    return f"block_{re.findall(r'[0-9]+', prefix)[-1]}"
