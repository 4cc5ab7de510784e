"""What can happen to a file."""

from collections.abc import Iterator


def damages(content: bytes) -> Iterator[bytes]:
    """The content with a byte flipped, in several places, and cut short."""
    for place in {0, 9, len(content) // 2, len(content) - 1}:
        yield bytes(b ^ 0xFF if i == place else b for i, b in enumerate(content))
    yield content[: len(content) // 2]
    yield content + b" "
    yield b""
