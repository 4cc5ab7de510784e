"""Decoded images, one after another: in memory, or in a file where they are to stay."""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from unlearn import caches, stored
from unlearn.data import streaming
from unlearn.data.limits import check_bytes, most_bytes
from unlearn.errors import InputError
from unlearn.stored import Source, Stored, state_of

SUFFIX = ".incomplete"


class Spool:
    """Collects images [H, W, C] of one size, which become rows [N, H, W, C].

    Grey ones become colour once there is colour among them. If uint8 images are to stay
    in a file they go to one beside the cache, which is there until the end of `with`.
    """

    def __init__(self, name: str, cache: Path | None, resident: bool | None):
        """Makes an empty one.

        Args:
          name: the data set's.
          cache: the file that will be made of the images; None: there can be none.
          resident: see `streaming.stays`.
        """
        self.shape: tuple[int, ...] = ()  # of a row, once there is one
        self._name, self._cache, self._resident = name, cache, resident
        self._expected = self._added = 0
        self._array = np.empty(0, np.uint8)
        self._file: IO[bytes] | None = None
        self._files = contextlib.ExitStack()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def expect(self, count: int) -> None:
        """Says how many images will come, or fewer."""
        self._expected = count

    def add(self, image: np.ndarray) -> None:
        """Adds an image, of the height, width and type of those before.

        Raises:
          InputError: all of them take more memory than they may, or more space than is
            free; the file cannot be written.
        """
        if not self.shape or image.shape[-1] > self.shape[-1]:
            self._make_room(image)
        if self._file is None:
            self._array[self._added] = image
        else:
            row = np.ascontiguousarray(np.broadcast_to(image, self.shape))
            with self._writing():
                self._file.write(row.data)
        self._added += 1

    def parts(self, counts: Sequence[int]) -> list[np.ndarray | Stored]:
        """Returns the rows: so many, then so many, ..."""
        rows = self._rows()
        ends = itertools.accumulate(counts)
        return [rows[end - size : end] for end, size in zip(ends, counts, strict=True)]

    def _rows(self) -> np.ndarray | Stored:
        if self._file is None:
            return self._array[: self._added]
        with self._writing():
            self._file.flush()
        path, shape = self._file.name, (self._added, *self.shape)
        state = state_of(path, replaced=True)
        return Stored((Source(path, 0, shape, np.dtype(np.uint8), state),))

    def _make_room(self, image: np.ndarray) -> None:
        """Makes room for rows like an image, and moves those that there are."""
        before = self._rows()
        with self._files.pop_all():  # the file that they may lie in
            self.shape, self._added = image.shape, 0
            size = self._expected * image.nbytes
            self._file = self._open(size) if image.dtype == np.uint8 else None
            self._array = np.empty(0, np.uint8)
            if self._file is None:
                check_bytes(self._name, size)
                self._array = np.empty((self._expected, *image.shape), image.dtype)
            step = max(1, stored.BLOCK // max(1, image.nbytes))
            for start in range(0, len(before), step):
                for row in np.asarray(before[start : start + step]):
                    self.add(row)

    def _open(self, size: int) -> IO[bytes] | None:
        """Opens a file for so many bytes; None: they are to be in memory."""
        if self._cache is None or not streaming.stays(size, self._resident):
            return None
        try:
            with self._writing():
                file = open_beside(self._cache)
                caches.hold(file)
                self._files.callback(_delete, file)
                _check_space(self._name, self._cache.parent, 2 * size)  # the cache too
        except InputError:
            if self._resident is None and size <= most_bytes():
                return None
            raise
        return file

    @contextlib.contextmanager
    def _writing(self):
        try:
            yield
        except OSError as error:
            raise unwritable(self._name, self._cache) from error


def open_beside(path: Path) -> IO[bytes]:
    """Opens a new file in the folder of `path`, for what is not complete yet.

    Raises:
      OSError: it cannot be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f"{path.name}.", suffix=SUFFIX, delete=False
    )


def unwritable(name: str, path: Path | None) -> InputError:
    """Makes the error for examples that should stay in a cache."""
    return InputError(
        f"{name}: {path} cannot be written, and examples should stay there: free "
        "some space, or set data.resident=True"
    )


def _check_space(name: str, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{name}: decoding takes {needed / 2**30:.1f} GiB in {folder}, half of it "
            f"for a while, and {free / 2**30:.1f} are free: free some, or set the "
            "environment variable XDG_CACHE_HOME (or cache_dir) to a folder with more"
        )


def _delete(file: IO[bytes]) -> None:
    """Deletes a file, and frees its space even where a reader has it open."""
    for step in (file.close, lambda: os.truncate(file.name, 0)):
        with contextlib.suppress(OSError):
            step()
    with contextlib.suppress(OSError):
        os.unlink(file.name)
