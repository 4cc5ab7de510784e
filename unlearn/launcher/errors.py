"""One line for whatever goes wrong."""

import contextlib
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.errors import InputError
from unlearn.launcher.flags import flat
from unlearn.launcher.last_words import ENDED
from unlearn.user_code import first_line, missing_extra

if TYPE_CHECKING:
    from ml_collections import ConfigDict

INSTALLED = (Path(__file__).parents[1] / "experiments").is_dir()  # as a wheel has it
REMEDY = (
    "pip install 'unlearn-jax[experiments]'"
    if INSTALLED
    else "pip install -r requirements.txt"
)


def explain(
    error: Exception,
    config: "ConfigDict | None" = None,
    folder: Path | None = None,
) -> str:
    """Says what went wrong and what to do.

    Args:
      error: whatever was raised; a traceback of an unexpected one is saved.
      config: the experiment's settings, once known.
      folder: the run folder, once the run has begun.

    Returns:
      One line; "" if nobody reads: the reader of a listing has closed the pipe.
    """
    if isinstance(error, InputError):
        return first_line(as_flags(str(error), config))
    if isinstance(error, ModuleNotFoundError) and missing_extra(error):
        return f"{error.name} is not installed: {REMEDY}"
    if isinstance(error, BrokenPipeError):
        return "standard output was closed" if folder else ""
    if isinstance(error, OSError) and error.strerror:
        place = error.filename or " or ".join(
            str(place) for place in ("standard output", folder) if place
        )
        return f"{place}: {error.strerror}"
    text = first_line(str(error) or repr(error))
    stored = sys.modules.get("unlearn.stored")  # else nothing has been read
    unread = stored.failure() if stored else None
    if unread and "callback" in str(error).lower():
        return explain(unread, config, folder)
    if re.search(r"gloo|CoordinationService|coordination service", text, re.I):
        return ENDED
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        known = dict(flat(config)) if config is not None else {}
        names = [name for name in ("train.batch_size", "audit.chunk") if name in known]
        lower = " or ".join(f"--config.{name}" for name in names) or "the batch size"
        return f"out of memory: lower {lower}, or use a smaller model ({text})"
    return (
        f"unexpected {type(error).__name__}: {text}; the traceback is in "
        f"{save_traceback(error, folder)}"
    )


def as_flags(message: str, config: "ConfigDict | None") -> str:
    """Spells the library's advice as flags: `forget.classes=7,`, another folder."""
    names = [re.escape(name) for name, _ in flat(config)] if config else []
    if names:
        message = re.sub(
            rf"(?<![\w.-])({'|'.join(names)})=(?=\S)", r"--config.\1=", message
        )
    return message.replace("another folder", "another folder (--workdir=...)", 1)


def save_traceback(error: Exception, folder: Path | None) -> Path | str:
    """Writes a traceback into the run folder or, failing that, a temporary one."""
    text = "".join(traceback.format_exception(error))
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None or not place.is_dir():
            continue
        with contextlib.suppress(OSError):
            handle, path = tempfile.mkstemp(".txt", "traceback-", place)
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return Path(path)
    return "no file: none could be written"
