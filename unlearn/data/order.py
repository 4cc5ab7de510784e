"""Text as a person sorts it: img2 before img10, class folder 2 before 10."""

import re
import unicodedata


def natural(text: str) -> tuple:
    """Makes a key that sorts numbers in text by their value; never equal for two texts.

    Case and the way Unicode writes a letter count only between texts that are else the
    same.
    """
    folded = unicodedata.normalize("NFC", text).casefold()
    parts = []
    for part in re.split("([0-9]+)", folded):
        if part[:1] in tuple("0123456789"):
            digits = part.lstrip("0")
            parts.append((0, len(digits), digits))
        elif part:
            parts.append((1, 0, part))
    return tuple(parts), text


def shown(text: str) -> str:
    """Writes text for a message: on one line, and such that it can be printed."""
    return text if text.isprintable() else ascii(text)


def plain(text: str) -> str:
    """Makes what two texts share that a reader of a list could not tell apart.

    Their way of writing a letter in Unicode may differ, and white space around them.
    """
    return unicodedata.normalize("NFC", text).strip()
