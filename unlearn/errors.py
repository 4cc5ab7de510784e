"""The one exception a user's mistake raises, and the words of lines that users read."""


class InputError(ValueError):
    """Bad input; the message is one line that says what is wrong and what to do."""


def first_line(error: BaseException) -> str:
    """Returns the first line of what went wrong, at most 200 characters."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (text.strip() or type(error).__name__).splitlines()[0][:200]


def typed_line(error: BaseException) -> str:
    """Returns the type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def counted(number: int, noun: str) -> str:
    """Returns `1 file`, `1,200 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
