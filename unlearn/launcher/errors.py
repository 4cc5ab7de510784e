"""One line for whatever goes wrong."""

import contextlib
import re
import tempfile
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn.errors import InputError
from unlearn.launcher.flags import flat

if TYPE_CHECKING:
    from ml_collections import ConfigDict

INSTALLED = (Path(__file__).parents[1] / "experiments").is_dir()  # as a wheel has it
REMEDY = (
    "pip install 'unlearn-jax[experiments]'"
    if INSTALLED
    else "pip install -r requirements.txt"
)
EXTRAS = (  # what `import unlearn` does without
    "absl",
    "array_record",
    "filelock",
    "flax",
    "importlib_resources",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "ml_collections",
    "orbax",
    "PIL",
    "rich",
    "tensorflow_datasets",
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


@contextlib.contextmanager
def errors_in(path: Path) -> Generator[None, None, None]:
    """Raises what a user's file raises as one line, with the line of the file."""
    try:
        yield
    except InputError:
        raise
    except SystemExit as error:
        raise InputError(f"{path} ends the process (exit code {error.code})") from error
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and missing_extra(error):
            raise
        text = f"{type(error).__name__}: {first_line(str(error) or repr(error))}"
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == path
        ]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines, text = [error.lineno], f"{type(error).__name__}: {error.msg}"
        line = f", line {lines[-1]}" if lines else ""
        raise InputError(f"{path}{line}: {text}") from error


def missing_extra(error: ModuleNotFoundError) -> bool:
    """Says whether a package is missing that only experiments need."""
    return (error.name or "").partition(".")[0] in EXTRAS


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


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
