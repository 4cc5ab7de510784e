"""Image files to arrays."""

import io
import stat
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unlearn.data import arrays
from unlearn.data.limits import FILE, check_pixels
from unlearn.errors import InputError, counted, typed_line

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for images of so many channels."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The decoders that input may reach; others of Pillow start programs, or are old."""

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
}
"""Of file names in small letters."""

GREY = ("1", "L", "LA", "La")

_opening = threading.Lock()


class Told(NamedTuple):
    """What is known of an image beside its pixels."""

    depth: str  # of a pixel's values, as the file has them
    background: str  # that transparency was laid over; "" without any
    frames: bool  # there are more than the first one, which this is


class Decoded(NamedTuple):
    """What an image file holds."""

    pixels: np.ndarray  # [H, W, C]: uint8, or int32 or float32 with C = 1 if wide
    told: Told


def read_bytes(path: Path) -> bytes:
    """Reads an image file.

    Raises:
      InputError: it is no regular file (which could block), or larger than 1 GiB.
      OSError: it cannot be read.
    """
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise InputError("not a regular file")
    if state.st_size > FILE:
        raise InputError(f"larger than {FILE >> 20} MiB")
    return path.read_bytes()


def read_file(path: Path, image_size: tuple[int, int] | None = None) -> Decoded:
    """Reads and decodes an image file, with as many channels as it has; see `read`.

    Raises:
      InputError: says in a few words why it cannot be.
    """
    try:
        image = read(read_bytes(path), None, image_size)
    except Exception as error:  # Pillow raises a dozen types
        why = str(error) if isinstance(error, InputError) else typed_line(error)
        if type(error).__name__ == "UnidentifiedImageError":
            why = f"none of {', '.join(FORMATS)}"
        raise InputError(why) from error
    if image.pixels.dtype.kind == "f" and not np.isfinite(image.pixels).all():
        raise InputError("it has NaN or infinity")
    return image


def decode(
    content: bytes,
    channels: int | None,
    image_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Decodes an image to uint8[H, W, C], see `read`; for one that is no part of a set.

    Values of more than 8 bits are scaled by their range in this image.

    Args:
      content: of the file.
      channels: C; None: 1 for grey images and 3 for others.
      image_size: (height, width) to resize to.

    Raises whatever Pillow raises for a file that is damaged or no image, and InputError
    where `read` does.
    """
    pixels = read(content, channels, image_size).pixels
    if pixels.dtype == np.uint8:
        return pixels
    (image,) = arrays.to_bytes("this image", {"its": pixels[None]}, stretch=True)[
        0
    ].values()
    return image[0]


def read(
    content: bytes,
    channels: int | None = None,
    image_size: tuple[int, int] | None = None,
) -> Decoded:
    """Decodes an image: upright as its EXIF data says, without transparency.

    Transparency is laid over white; over black where nothing could be seen on white.
    With 4 channels it is kept. Of several frames the first is taken.

    Args:
      content: of the file, of one of `FORMATS`.
      channels: C; None: 1 for grey images and 3 for others.
      image_size: (height, width) to resize to.

    Raises:
      InputError: too many pixels; 16 bits a colour, of which Pillow would drop half;
        wide values (16 bits or more, floats) where C is not 1, or some of which stand
        for transparency.
      Exception: whatever Pillow raises for a file that is damaged or no image.
    """
    from PIL import Image, ImageOps

    try:
        # Warnings are the process's, so that no two threads may silence them at once:
        # here those of sizes that `check_pixels` refuses.
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened: Any = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(str(error)) from error
    with opened as image:
        check_pixels(*image.size)
        _check_depth(image, content)
        unsigned = image.format == "TIFF" and image.tag_v2.get(339, (1,))[0] == 1
        frames = bool(getattr(image, "is_animated", False))
        image.load()
        depth, background = _depth(image), ""
        image = ImageOps.exif_transpose(image)
        if depth != EIGHT:
            image = _wide(image, channels)
        else:
            mode = MODES[channels or (1 if image.mode in GREY else 3)]
            if image.has_transparency_data and mode != "RGBA":
                image, background = _opaque(image, mode)
            image = image if image.mode == mode else image.convert(mode)
        if image_size is not None and image.size != image_size[::-1]:
            image = image.resize(image_size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    if unsigned and pixels.min() < 0:  # Pillow has no such mode
        raise InputError("values past 2^31: convert it to 8 or 16 bits")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Decoded(pixels, Told(depth, background, frames))


EIGHT = "8 bits"


def _depth(image) -> str:
    if image.mode.startswith("I;16"):
        return "16 bits"
    return {"I": "32 bits", "F": "floats"}.get(image.mode, EIGHT)


def _wide(image, channels):
    """Makes an image of mode I or F, which Pillow turns and resizes without loss."""
    if channels not in (None, 1):
        raise InputError(f"grey with {_depth(image)} a pixel, not {MODES[channels]}")
    if "transparency" in image.info:
        raise InputError(
            f"{_depth(image)} a pixel, and one value is transparent: convert it to 8"
        )
    return image if image.mode in ("I", "F") else image.convert("I")


def _check_depth(image, content: bytes) -> None:
    """Checks that no colour has more than 8 bits, the lower of which would be lost."""
    bits: Any = 8
    if image.format == "PNG":
        bits = content[24] if image.mode not in ("I", "I;16") else 8
    elif image.format == "TIFF":
        values = image.tag_v2.get(258, (8,))
        bits = max(values) if len(values) > 1 else 8
    if bits > 8:
        raise InputError(
            f"{bits} bits a colour cannot be read without loss: convert it to 8"
        )


def _opaque(image, mode):
    """Lays an image over white, or over black if it is all white itself."""
    from PIL import Image

    image = image.convert("LA" if mode == "L" else "RGBA")
    alpha, colours = image.getchannel("A"), image.convert(mode)
    for background in ("white", "black"):
        made = Image.new(mode, image.size, background)
        made.paste(colours, mask=alpha)
        if not _constant(made) or _constant(alpha):
            break
    return made, background


def _constant(image) -> bool:
    extremes = image.getextrema()
    pairs = extremes if isinstance(extremes[0], tuple) else (extremes,)
    return all(low == high for low, high in pairs)


def remarks(images: Sequence[Told]) -> list[str]:
    """Says what was done to images, and to how many."""
    counts = {
        "transparent image": "white",
        "white and transparent image": "black",
    }
    notes = []
    for what, background in counts.items():
        count = sum(image.background == background for image in images)
        notes += [f"{counted(count, what)}: laid over {background}"] if count else []
    count = sum(image.frames for image in images)
    notes += (
        [f"{counted(count, 'file')} of several images: the first is used"]
        if count
        else []
    )
    return notes
