"""Files of the user's that are run: what goes wrong in them is one line."""

import contextlib
import traceback
from collections.abc import Generator
from pathlib import Path

from unlearn.errors import InputError

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
    "safetensors",
    "tensorflow_datasets",
)


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


def first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
