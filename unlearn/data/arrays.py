"""Arrays of images to uint8[N, H, W, C]; arrays of other inputs as they are."""

from collections.abc import Mapping

import numpy as np

from unlearn.errors import InputError
from unlearn.stored import Stored, as_array, blocks

Splits = Mapping[str, np.ndarray | Stored]
BANDS = (1, 3, 4)  # grey, colour, colour and alpha
ROWS = 1024  # converted at once


def as_images(
    name: str, splits: Splits, *, stretch: bool = False
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Makes uint8[N, H, W, C] of the images of all splits.

    Images are [N, H, W, C], with any number C of bands, or [N, H, W]; [N, C, H, W] is
    turned where the shape leaves no doubt.

    Values, judged over all splits together: whole numbers of any type in 0..255 stay
    what they are; 0 and 1 alone, and truth values, are black and white; wider whole
    numbers are scaled, the lowest to 0 and the highest to 255. Floats in [0, 1] are
    scaled by 255.

    Args:
      splits: arrays by the name of the split.
      stretch: scale other floats as wide whole numbers are; else they are refused.

    Returns:
      The images, and lines that say what was done to them.

    Raises:
      InputError: other shapes or values, NaN or infinity, or a layout in doubt.
    """
    splits = {key: as_array(images) for key, images in splits.items()}
    turned = {key: _channels_last(name, key, v) for key, v in splits.items()}
    notes = [
        f"{key} images of shape [N, {', '.join(map(str, images.shape[1:]))}] are taken "
        "as channels-first"
        for key, images in splits.items()
        if turned[key].shape[1:] != images.shape[1:] and images.ndim == 4
    ]
    images, more = to_bytes(name, turned, stretch=stretch)
    return images, notes + more


def as_inputs(name: str, splits: Splits) -> dict[str, np.ndarray]:
    """Makes float32 or int32 [N, ...] of features or tokens, with their values.

    Raises:
      InputError: less than two axes, no numbers, NaN or infinity, or values that
        float32 or int32 cannot hold.
    """
    made = {}
    for key, inputs in splits.items():
        inputs = as_array(inputs)
        if inputs.dtype.kind not in "biuf" or inputs.ndim < 2 or 0 in inputs.shape:
            raise InputError(
                f"{name}: {key} inputs must be numbers of shape [N, ...]; they are "
                f"{inputs.dtype} of shape {list(inputs.shape)}"
            )
        whole = inputs.dtype.kind in "iu"
        low, high = _range(name, key, inputs)
        kind = np.int32 if whole else np.float32
        limits = np.iinfo(np.int32) if whole else np.finfo(np.float32)
        if low < float(limits.min) or high > float(limits.max):
            raise InputError(
                f"{name}: {key} inputs lie in [{low:g}, {high:g}], past what "
                f"{kind.__name__} holds"
            )
        made[key] = _cast(inputs, kind)
    return made


def to_bytes(
    name: str, splits: Splits, *, stretch: bool = False
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Makes uint8 of the values of images; see `as_images`."""
    made, notes = {}, []
    for kinds, convert in (("b", _truths), ("iu", _whole), ("f", _floats)):
        part = {key: v for key, v in splits.items() if v.dtype.kind in kinds}
        if part:
            converted, note = convert(name, part, stretch)
            made |= converted
            notes += note
    other = next((key for key in splits if key not in made), None)
    if other:
        raise InputError(
            f"{name}: {other} images must be whole numbers or floats in [0, 1]; they "
            f"are {splits[other].dtype}"
        )
    return {key: made[key] for key in splits}, notes


def _truths(name, splits, stretch):
    return {key: images * np.uint8(255) for key, images in splits.items()}, []


def _whole(name, splits, stretch):
    low, high = _joint_range(name, splits)
    if low >= 0 and 1 < high <= 255 or low == high == 0:
        return {key: _cast(v, np.uint8) for key, v in splits.items()}, []
    if low >= 0 and high <= 1:
        note = "images hold 0 and 1 only: taken as black and white"
        bits = {key: np.asarray(v).astype(np.uint8) for key, v in splits.items()}
        return {key: v * 255 for key, v in bits.items()}, [note]
    if len({v.dtype == np.uint8 for v in splits.values()}) > 1:
        kinds = " and ".join(f"{key} {v.dtype}" for key, v in splits.items())
        raise InputError(
            f"{name}: images are {kinds} with values up to {high}; convert them alike"
        )
    return _stretched(name, splits, low, high)


def _floats(name, splits, stretch):
    low, high = _joint_range(name, splits)
    if low >= 0 and high <= 1:
        made = {key: _scaled(v, 0.0, 255.0) for key, v in splits.items()}
        return made, _rounded(splits, made, of_arrays=not stretch)
    if low >= 0 and high <= 255 and all(map(_all_whole, splits.values())):
        return {key: v.astype(np.uint8) for key, v in splits.items()}, []
    if stretch:
        return _stretched(name, splits, low, high)
    key, images = next(iter(splits.items()))
    raise InputError(
        f"{name}: {key} images of type {images.dtype} must lie in [0, 1], or be whole "
        f"numbers in 0..255; they lie in [{low:g}, {high:g}]. Scale them, or call the "
        "arrays train_inputs and test_inputs to have them taken as they are"
    )


def _rounded(splits, made, *, of_arrays):
    """Says so if floats in [0, 1] were no multiples of 1/255, as 8 bits are."""
    for key, images in splits.items():
        for start in range(0, len(images), ROWS):
            rows = slice(start, start + ROWS)
            off = images[rows].astype(np.float64) * 255 - made[key][rows]
            if np.abs(off).max() > 0.13:  # float16 is off by 1/8 at most
                note = f"{key} floats in [0, 1] are taken as images, rounded to 8 bits"
                more = f"; {key}_inputs would be taken as they are"
                return [note + more * of_arrays]
    return []


def _stretched(name, splits, low, high):
    if low == high:
        raise InputError(f"{name}: every pixel of every image is {low:g}")
    scale = 255 / (float(high) - float(low))
    note = (
        f"images hold {low:g} to {high:g}: scaled to 0..255 by this range, which is of "
        "all images that were loaded. Convert them to 8 bits if some may be taken "
        "away later"
    )
    return {key: _scaled(v, low, scale) for key, v in splits.items()}, [note]


def _scaled(images, low, scale):
    made = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), ROWS):
        rows = slice(start, start + ROWS)
        made[rows] = np.rint((images[rows].astype(np.float64) - float(low)) * scale)
    return made


def _all_whole(images) -> bool:
    starts = range(0, len(images), ROWS)
    parts = (images[start : start + ROWS] for start in starts)
    return all((part == np.rint(part)).all() for part in parts)


def _cast(values, kind):
    """Converts values; where there is nothing to do, none are read or copied."""
    return values if values.dtype == kind else np.asarray(values).astype(kind)


def _range(name, split, values):
    ends = np.array([(part.min(), part.max()) for part in blocks(values)])
    low, high = ends.min(), ends.max()
    if values.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
        what = "NaN" if np.isnan(low) else "infinity"
        raise InputError(f"{name}: {split} images or inputs contain {what}")
    return low.item(), high.item()


def _joint_range(name, splits):
    ranges = [_range(name, key, images) for key, images in splits.items()]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _channels_last(name, split, images):
    """Makes a view [N, H, W, C]."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(
            f"{name}: {split} images must have shape [N, H, W, C] or [N, H, W]; "
            f"theirs is {list(images.shape)}. Other inputs are called train_inputs"
        )
    if not len(images):
        raise InputError(f"{name}: the {split} split is empty")
    first = _is_channels_first(*images.shape[1:])
    if first is None:
        raise InputError(
            f"{name}: {split} images of shape {list(images.shape)} may be channels-last"
            " or channels-first; save them so that C is not one of the sides, or call "
            "them train_inputs to have them taken as they are"
        )
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if first else images


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Says whether images of a shape are [N, H, W, C] without any doubt."""
    return len(shape) == 4 and _is_channels_first(*shape[1:]) is False


def _is_channels_first(first, middle, last) -> bool | None:
    """Says whether [N, first, middle, last] is [N, C, H, W]; None if in doubt."""
    if last == 1 or first == middle != last:
        return False
    if first == middle == last:
        return None
    if middle == last:  # square if the channels come first
        return None if last in BANDS else True
    if last in BANDS:
        return False
    few_first, few_last = first < min(middle, last), last < min(first, middle)
    if first in BANDS:
        return True if few_first else None
    return few_first if few_first != few_last else None
