"""Names that others chose (of classes, models, folders), wherever they are shown."""

import re


def encodable(text: str, encoding: str = "utf-8") -> str:
    r"""Replaces what an encoding cannot write by escapes; the rest stays as it is.

    A byte of a name that is not UTF-8, which Python keeps as a lone surrogate, becomes
    `\xff`; any other character that the encoding does not have becomes `\u732b`.
    """
    text = re.sub("[\udc80-\udcff]", lambda m: rf"\x{ord(m[0]) - 0xDC00:02x}", text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def printable(text: str) -> str:
    """Makes one line of a text: white space as single spaces, the invisible escaped."""
    text = " ".join(encodable(text).split())
    return "".join(c if c.isprintable() else escape(c) for c in text)


def markdown_cell(text: str) -> str:
    """Makes a text one cell of a Markdown table: a `|` does not end it."""
    return re.sub(r"([\\|<])", r"\\\1", printable(text))


def escape(character: str) -> str:
    r"""Writes a character as `\u732b`."""
    return character.encode("unicode_escape").decode()
