"""Image files to arrays."""

import io

import numpy as np

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for images of so many channels."""


def decode(
    content: bytes,
    channels: int | None,
    image_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Decodes an image to uint8[H, W, C].

    If `channels` is None, C is 1 for grey images and 3 for others.

    Raises whatever Pillow raises for a file that is damaged or no image.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        image.load()
        if image.mode.startswith("I"):  # 16 bits; Pillow would clip, not scale
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if channels is None:
            channels = 1 if image.mode in ("1", "L", "LA", "F") else 3
        if image.mode != MODES[channels]:
            image = image.convert(MODES[channels])
        if image_size is not None and image.size != image_size[::-1]:
            image = image.resize(image_size[::-1], Image.Resampling.BILINEAR)
        array = np.asarray(image)
    return array[..., None] if channels == 1 else array
