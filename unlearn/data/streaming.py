"""Which examples stay in their file, and where they lie in it."""

import math
import zipfile
from pathlib import Path

from unlearn import memory
from unlearn.data.limits import most_bytes
from unlearn.errors import InputError
from unlearn.npz_members import Header, offset_of, read_header
from unlearn.stored import Source, Stored, state_of

SHARE = 0.25  # of a device's or the machine's memory: larger sets stay in their file
PART = 2**24  # bytes read at once


def stays(size: int, resident: bool | None) -> bool:
    """Says whether examples of so many bytes stay in their file.

    Args:
      resident: None: if they are more than a quarter of the memory there is, or than
        a data set may take of it.
    """
    if resident is None:
        return size > min(SHARE * memory.limit(), most_bytes())
    return not resident


def stored(path: Path, header: Header, replaced: bool = False) -> Stored | None:
    """Returns an array in an npz file without reading it; None if it is compressed.

    Or in Fortran order, or in another machine's order of bytes.

    Args:
      replaced: the file is never written to, only replaced.
    """
    offset = offset_of(path, header)
    if offset is None:
        return None
    shape = tuple(int(side) for side in header.shape)
    where, state = str(Path(path).resolve()), state_of(path, replaced)
    return Stored((Source(where, offset, shape, header.dtype, state),))


def declared(header: Header) -> int:
    """Returns the bytes that an array should have; they do not wrap."""
    return math.prod(map(int, header.shape)) * header.dtype.itemsize


def check_whole(path: Path, *keys: str) -> None:
    """Reads arrays of an npz file once, which compares them with their checksums.

    Raises:
      zipfile.BadZipFile: one is damaged.
    """
    with zipfile.ZipFile(path) as file:
        for key in keys:
            with file.open(f"{key}.npy") as opened:
                while opened.read(PART):
                    pass


def stored_members(path: Path, *keys: str) -> list[Stored] | None:
    """Returns arrays of a cache, by name; None if one has to be read."""
    with zipfile.ZipFile(path) as file:
        found = []
        for key in keys:
            member = file.getinfo(f"{key}.npy")
            with file.open(member) as opened:
                array = stored(path, read_header(member, opened), replaced=True)
            if array is None:
                return None
            found.append(array)
    return found


def refuse(name: str, why: str) -> InputError:
    """Makes the error for examples that cannot stay in their file."""
    return InputError(
        f"{name}: {why}, so its examples cannot stay in the file: set "
        "data.resident=True, or save uint8[N, H, W, C] images (or float32 or int32 "
        "inputs) by numpy.savez"
    )
