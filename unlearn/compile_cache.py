"""Compiled programs on disk, each with a checksum, within a size.

JAX's own cache on disk writes entries in place and never checks them. With `zstandard`
installed little in an entry notices damage (42 of 59 flipped bits passed), and damaged
programs crash the process (3 of 14 starts of a tiny one); a damaged entry stays,
because what is there is not written again. That cache grows without bound unless
`jax_compilation_cache_max_size` is set, which locks the whole folder, for up to ten
seconds, on every access.

So JAX gets another store for its entries here. An entry is the SHA-256 of its content
and the content, and appears whole by renaming; one that does not match is deleted and
compiled anew. Processes need no lock: an entry that another one deletes is only a miss.
Entries are checked when they are read, so nothing has to be recorded or verified when a
process starts or ends, which a list of checksums beside JAX's own cache would need.

JAX has no public way to choose that store: `enable` replaces a function of a private
module, the same from jax 0.7.2 to 0.10.2. A version without it goes without a cache.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from unlearn import caches

LIMIT = 2**30  # bytes
SUFFIX = ".entry"


class CheckedCache:
    """What JAX asks for entries by key; see the module's docstring."""

    def __init__(self, path: str | Path, limit: int = LIMIT):
        self._path = self.folder = Path(path)
        self.limit = limit
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
        caches.remove_leftovers(self.folder, ".*.partial")
        self.size = caches.prune(self.folder, f"*{SUFFIX}", limit)

    def get(self, key: str) -> bytes | None:
        """Reads an entry; None if there is none, or a damaged one."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, value = content[:32], content[32:]
        if hashlib.sha256(value).digest() != digest:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        caches.mark_used(path)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Writes an entry, if the disk takes it."""
        if len(value) > self.limit:
            return
        path = self.folder / f"{key}{SUFFIX}"
        partial = path.with_name(f".{os.getpid()}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(hashlib.sha256(value).digest() + value)
            os.replace(partial, path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            return
        self.size += 32 + len(value)
        if self.size > self.limit:
            self.size = caches.prune(self.folder, f"*{SUFFIX}", self.limit, keep=path)


class CheckedOrFileCache:
    """Gives JAX the cache of a path: a checked one for `folders`, else its own."""

    def __init__(self, folders: set[str], file_cache: Callable):
        self.folders, self.file_cache = folders, file_cache

    def __call__(self, path: str) -> tuple[Any, str] | None:
        if path in self.folders:
            return CheckedCache(path), path
        return self.file_cache(path)


def enable(folder: str | Path) -> bool:
    """Keeps compiled programs in `folder`; call it before the first one is compiled.

    Returns:
      Whether this version of JAX lets us.
    """
    try:
        from jax._src import compilation_cache as internals

        file_cache = internals.get_file_cache
    except (ImportError, AttributeError):
        return False
    folder = str(folder)
    known = getattr(file_cache, "folders", None)
    if known is None:
        known = {folder}
        internals.get_file_cache = CheckedOrFileCache(known, file_cache)
    known.add(folder)
    jax.config.update("jax_compilation_cache_dir", folder)
    return True
