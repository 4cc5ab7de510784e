"""Examples that stay in their file: rows are read as programs ask for them.

A `Problem` of `Stored` inputs has row numbers for examples, and reading them is the
first step of its `preprocess`. So everything that works on a problem works on data that
fits neither the device nor the host, in the same order; a compiler may round the last
bit otherwise than on arrays. A compiled program calls back to the host for each batch;
those of an epoch are read while the one before computes, and the operating system keeps
what was read lately. Of a batch that is spread over several devices the first one reads
all rows.

What a method is not given (`problem.withhold`) it does not get from a problem, but a
file holds it all the same: a method that reads rows it was not given is not prevented.
"""

import dataclasses
import functools
import logging
import math
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from unlearn import read_ahead
from unlearn.errors import InputError

BLOCK = 2**26  # bytes that are read at once where all of a file is
MOST = 2**30  # bytes that one read may return; Linux stops at 2 GiB
MOST_AHEAD = 2**26  # bytes of a batch, of all models mapped, that is read ahead


@dataclasses.dataclass(frozen=True)
class Source:
    """Where an array [N, ...] of plain bytes lies in a file."""

    path: str
    offset: int  # bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    state: tuple  # of the file, see `state_of`

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows int[M]: [M, ...]; neighbours in one go.

        Raises:
          InputError: the file is not there, is not what it was or ends before a row.
        """
        made = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if not made.size:
            return made
        raw = made.reshape(len(rows), -1).view(np.uint8)
        most = max(1, MOST // self.row_bytes)
        ends = np.flatnonzero(np.diff(rows) != 1) + 1
        try:
            file = _open(self.path, self.state)
            if state_of(file.number, self.state[2] is None) != self.state:
                raise InputError(f"{self.path} changed while in use: start again")
            for start, stop in zip([0, *ends], [*ends, len(rows)], strict=True):
                for first in range(start, stop, most):
                    part = raw[first : min(first + most, stop)].reshape(-1)
                    place = self.offset + int(rows[first]) * raw.shape[1]
                    self._fill(file.number, part, place)
        except OSError as error:
            raise InputError(
                f"cannot read {self.path} ({error.strerror}), which examples lie in"
            ) from error
        return made

    def _fill(self, handle: int, part: np.ndarray, position: int) -> None:
        while len(part):
            count = os.preadv(handle, [part.data], position)
            if not count:
                raise InputError(f"{self.path} is cut off: the data set is damaged")
            part, position = part[count:], position + count


def state_of(file: str | os.PathLike | int, replaced: bool = False) -> tuple:
    """Returns what tells that a file is another: inode, bytes and time of change.

    `replaced`: it is never written to, only replaced; its time says when it was used.
    """
    found = os.stat(file)
    return found.st_ino, found.st_size, None if replaced else found.st_mtime_ns


class _Handle:
    """An open file, closed once nobody has it any more."""

    def __init__(self, path: str):
        self.number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)


@functools.lru_cache(maxsize=64)
def _open(path: str, state: tuple) -> _Handle:
    """Opens a file, for as long as this is among the last ones."""
    return _Handle(path)


class Stored:
    """Examples [N, ...] in files: what an array is, as far as it need not be read.

    An index chooses rows and reads nothing; `numpy.asarray` reads all of them.
    """

    def __init__(self, sources: tuple[Source, ...], numbers: ArrayLike | None = None):
        """Takes files, one after another, and which of their rows: by default all."""
        self.sources = sources
        total = sum(source.shape[0] for source in sources)
        rows = np.arange(total) if numbers is None else numbers
        self.numbers = np.asarray(rows, np.int32)
        self.dtype = sources[0].dtype
        self.shape = (len(self.numbers), *sources[0].shape[1:])
        self.ndim = len(self.shape)
        self.nbytes = len(self) * sources[0].row_bytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> "Stored":
        numbers = self.numbers[rows]
        if numbers.ndim != 1:
            raise IndexError("rows are chosen by a slice or an array of one axis")
        return Stored(self.sources, numbers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        made = read(self.sources, self.numbers)
        return made if dtype is None else made.astype(dtype, copy=False)


def read(sources: tuple[Source, ...], numbers: ArrayLike) -> np.ndarray:
    """Reads rows by number, int[...], of files one after another: [..., *]."""
    numbers = np.asarray(numbers)
    flat = numbers.reshape(-1).astype(np.int64)
    first, made = 0, None
    for source in sources:
        here = (first <= flat) & (flat < first + source.shape[0])
        if here.all():
            made = source.read(flat - first)
            break
        if here.any():
            if made is None:
                made = np.empty((len(flat), *source.shape[1:]), source.dtype)
            made[here] = source.read(flat[here] - first)
        first += source.shape[0]
    assert made is not None
    return made.reshape(*numbers.shape, *made.shape[1:])


def together(*parts: Stored) -> tuple[Stored, ...]:
    """Numbers the rows of several as those of one, so that one program reads all."""
    sources = tuple(source for part in parts for source in part.sources)
    made, first = [], 0
    for part in parts:
        made.append(Stored(sources, part.numbers + first))
        first += sum(source.shape[0] for source in part.sources)
    return tuple(made)


def as_array(examples: Any) -> np.ndarray | Stored:
    """Returns an array of what is none; what is stored stays where it is."""
    return examples if isinstance(examples, Stored) else np.asarray(examples)


def blocks(array: np.ndarray | Stored) -> Iterator[np.ndarray]:
    """Yields the rows of an array; of a file, a block of them after the other."""
    if not isinstance(array, Stored):
        yield array
        return
    size = max(1, BLOCK // max(1, array.sources[0].row_bytes))
    for start in range(0, len(array), size):
        yield np.asarray(array[start : start + size])


@dataclasses.dataclass(frozen=True, repr=False)
class Reading:
    """Makes inputs of row numbers: reads the rows, then prepares them.

    Equal files make equal objects, so that what was compiled is found again. It is
    written as what prepares the rows, wherever these lie.
    """

    sources: tuple[Source, ...]
    prepare: Callable[[Any], Any]

    def __call__(self, numbers: jax.Array) -> Any:
        """Reads rows int32[...] and prepares them, in a compiled function as well."""
        one = self.sources[0]
        shape = (*numbers.shape, *one.shape[1:])
        rows = jax.pure_callback(
            self.read,
            jax.ShapeDtypeStruct(shape, one.dtype),
            numbers,
            vmap_method="expand_dims",
        )
        return self.prepare(rows)

    def __repr__(self) -> str:
        return repr(self.prepare)

    def read(self, numbers: ArrayLike) -> np.ndarray:
        """Reads rows by number, see `read`; what goes wrong is kept for `failure`."""
        numbers = np.asarray(numbers)
        try:
            found = read_ahead.take(self.sources, numbers)
            return read(self.sources, numbers) if found is None else found
        except InputError as error:
            _failures[:] = [error]
            raise

    def expect(self, numbers: ArrayLike, indices: ArrayLike) -> np.ndarray:
        """Begins to read batches of rows int[..., S, B]; returns `indices`."""
        numbers, indices = np.asarray(numbers), np.asarray(indices)
        batch = numbers[..., :1, :].size * self.sources[0].row_bytes
        if batch <= MOST_AHEAD:
            read_of = functools.partial(read, self.sources)
            read_ahead.expect(self.sources, numbers, read_of)
        return np.broadcast_to(
            indices, np.broadcast_shapes(numbers.shape, indices.shape)
        )

    def struct(self, count: int) -> jax.ShapeDtypeStruct:
        """Returns shape and dtype of `count` rows."""
        one = self.sources[0]
        return jax.ShapeDtypeStruct((count, *one.shape[1:]), one.dtype)


def expecting(preprocess: Callable, examples: Any, indices: jax.Array) -> jax.Array:
    """Returns `indices` int32[S, B] of batches that follow each other.

    If they are those of rows in files, as `numbered` has them, these are read ahead.
    """
    if not isinstance(preprocess, Reading):
        return indices
    return jax.pure_callback(
        preprocess.expect,
        jax.ShapeDtypeStruct(indices.shape, indices.dtype),
        examples[indices],
        indices,
        vmap_method="expand_dims",
    )


_failures: list[InputError] = []


def failure() -> InputError | None:
    """Returns why a compiled program could not read; JAX wraps it in a traceback."""
    return _failures[-1] if _failures else None


# JAX also logs such a traceback.
logging.getLogger("jax._src.callback").addFilter(lambda record: not _failures)


def numbered(
    examples: Any, prepare: Callable[[Any], Any] = lambda rows: rows
) -> tuple[Any, Callable[[Any], Any]]:
    """Returns what a problem holds of examples, and how it makes inputs of it.

    Of `Stored` ones these are row numbers, and a `Reading`; others stay what they are.

    Raises:
      InputError: a `Stored` is part of a tree, or of a type that JAX does not keep.
    """
    if not isinstance(examples, Stored):
        if any(isinstance(leaf, Stored) for leaf in jax.tree.leaves(examples)):
            raise InputError("stored inputs are one array, not a part of a tree")
        return examples, prepare
    kept = jax.dtypes.canonicalize_dtype(examples.dtype)
    if kept != examples.dtype or not examples.dtype.isnative:
        raise InputError(f"stored inputs are {examples.dtype}: save them as {kept}")
    return examples.numbers, Reading(examples.sources, prepare)
