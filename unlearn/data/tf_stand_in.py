"""The few TensorFlow functions that builders of tensorflow-datasets call."""

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Generator
from types import SimpleNamespace

import numpy as np


@contextlib.contextmanager
def standing_in() -> Generator[None]:
    """Gives tensorflow-datasets the parts of TensorFlow that builders need.

    Every module of it holds TensorFlow as a lazily imported `tf`; that name is replaced
    and put back. Progress bars are shown on a terminal only.
    """
    from tensorflow_datasets.core.utils import lazy_imports_utils, tqdm_utils

    lazy = lazy_imports_utils.tensorflow
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("tensorflow_datasets.") and vars(module).get("tf") is lazy
    ]
    stand_in, active = _stand_in(), tqdm_utils._active
    try:
        tqdm_utils._active = active and sys.stderr.isatty()
        for module in modules:
            vars(module)["tf"] = stand_in
        yield
    finally:
        tqdm_utils._active = active
        for module in modules:
            vars(module)["tf"] = lazy


def _stand_in():
    def listdir(path):
        return sorted(os.listdir(path))

    def glob(pattern):
        from glob import glob

        return sorted(glob(os.fspath(pattern)))

    gfile = SimpleNamespace(
        GFile=open,
        copy=lambda source, target, overwrite=False: shutil.copyfile(source, target),
        exists=os.path.exists,
        glob=glob,
        isdir=os.path.isdir,
        listdir=listdir,
        makedirs=lambda path: os.makedirs(path, exist_ok=True),
        walk=os.walk,
    )
    return SimpleNamespace(
        io=SimpleNamespace(gfile=gfile),
        image=SimpleNamespace(
            encode_png=lambda array: _encode(array, "PNG"),
            encode_jpeg=lambda array: _encode(array, "JPEG", quality=95),
        ),
        compat=SimpleNamespace(as_text=os.fsdecode, as_bytes=os.fsencode),
        executing_eagerly=lambda: True,
    )


def _encode(array, format, **options):
    """Encoded bytes behind a `numpy()` method, as of a tensor."""
    from PIL import Image

    buffer = io.BytesIO()
    array = array[..., 0] if array.shape[-1] == 1 else array
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format, **options)
    return SimpleNamespace(numpy=buffer.getvalue)
