"""Where the arrays of an npz file lie in it."""

import struct
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

LOCAL = 30  # bytes of the header before a member of a zip file, less its two texts


class Header(NamedTuple):
    """What an array in an npz file says of itself."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False
    start: int = 0  # bytes of the member before the first of the array


def read_header(member: zipfile.ZipInfo, opened: IO[bytes]) -> Header:
    """Reads the header of an array in an npz file; an unknown one is of objects."""
    version = np.lib.format.read_magic(opened)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        return Header(member, (), np.dtype(object))
    shape, fortran, dtype = readers[version](opened)
    return Header(member, shape, dtype, fortran, opened.tell())


def offset_of(path: str | Path, header: Header) -> int | None:
    """Returns the byte of the file at which an array begins, as it lies in memory.

    None: it is compressed, in Fortran order, in another machine's order of bytes or
    without axes.
    """
    member = header.member
    plain = member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
    if not (plain and header.dtype.isnative and header.shape) or header.fortran:
        return None
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        name, extra = struct.unpack("<HH", file.read(LOCAL)[26:])
    return member.header_offset + LOCAL + name + extra + header.start


def mapped(
    path: str | Path, file: zipfile.ZipFile, member: zipfile.ZipInfo
) -> np.ndarray | None:
    """Maps an array of plain numbers in the file into memory; None if it cannot be."""
    with file.open(member) as opened:
        header = read_header(member, opened)
    offset = None if header.dtype.hasobject else offset_of(path, header)
    if offset is None:
        return None
    return np.memmap(path, header.dtype, "r", offset, header.shape)
