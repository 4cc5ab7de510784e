"""What a run was made with: the code's revision, and the command that repeats it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import unlearn

PACKAGE = Path(__file__).resolve().parent


def revision(package: Path = PACKAGE) -> str:
    """Names this package's code: its git revision, or the version that is installed.

    The revision is that of the checkout whose root holds the package and tracks it, and
    ends in `+` if there are changes. A repository that merely surrounds an installed
    package, such as one with a virtual environment in it, is not asked.
    """
    version = f"unlearn-jax {unlearn.__version__}"
    root = package.parent
    if not (root / ".git").exists():
        return version
    try:
        _git(root, "ls-files", "--error-unmatch", f"{package.name}/__init__.py")
        changes = _git(root, "status", "--porcelain")
        return _git(root, "rev-parse", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return version


def _git(root: Path, *words: str) -> str:
    # A hook of another repository may have set GIT_DIR.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(root), *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
        env=environment,
    )
    return done.stdout.strip()


def command(preset: str | None = None) -> str | None:
    """Quotes the command line that this process was started with, to be pasted.

    Args:
      preset: the preset of the run, added if the command line left it open: the
        default depends on the device.

    Returns:
      `python launch.py …` or `unlearn …`; None if it is neither, as in a notebook.
    """
    program, *words = sys.argv or [""]
    path = Path(program)
    if path.name == "launch.py" and path.resolve() == PACKAGE.parent / "launch.py":
        start = ["python", program]
    elif path.stem in ("unlearn", "unlearn-script") and "unlearn.launcher" in (
        sys.modules
    ):
        start = ["unlearn"]
    else:
        return None
    given = any(re.fullmatch(r"--?preset(=.*)?", word, re.DOTALL) for word in words)
    added = [f"--preset={preset}"] if preset and not given else []
    return shlex.join([*start, *words, *added])
