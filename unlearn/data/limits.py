"""How much a data set may hold: a small file can be made to fill any memory."""

import os

from unlearn.errors import InputError

VARIABLE = "UNLEARN_DATA_GIB"
GIB = 8.0  # of a data set in memory, unless the environment variable says another
PIXELS = 89_000_000  # of one image; Pillow warns above
FILE = 2**30  # bytes of one image file


def most_bytes() -> float:
    """Returns how many bytes of memory the examples of a data set may take.

    Raises:
      InputError: the environment variable UNLEARN_DATA_GIB is no number.
    """
    text = os.environ.get(VARIABLE) or str(GIB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not limit > 0:
        raise InputError(
            f"{VARIABLE} must be a number of GiB, such as 16; it is {text}"
        )
    return limit * 2**30


def check_bytes(name: str, count: int) -> None:
    """Checks that a data set may take `count` bytes of memory.

    Raises:
      InputError: more than the environment variable UNLEARN_DATA_GIB allows, 8 GiB
        without it; or that is no number.
    """
    limit = most_bytes()
    if count > limit:
        raise InputError(
            f"{name}: would take {count / 2**30:.1f} GiB of memory and the limit is "
            f"{limit / 2**30:g}; if that is meant, set the environment variable "
            f"{VARIABLE}={count / 2**30 + 1:.0f}"
        )


def check_pixels(width: int, height: int) -> None:
    """Checks the declared size of an image, before its pixels are decoded.

    Raises:
      InputError: more than 89 million pixels.
    """
    if width * height > PIXELS:
        raise InputError(
            f"{width}x{height} are more than {PIXELS // 10**6} million pixels: make it "
            "smaller, or take it out of the folder"
        )
