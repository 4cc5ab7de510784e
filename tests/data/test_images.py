"""Image files of every kind to arrays."""

import io
import os
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_cases import rejects
from PIL import Image, ImageOps

from unlearn.data.images import decode, read, read_bytes

GREY = np.tile(np.linspace(0, 255, 8).astype(np.uint8), (6, 1))
COLOUR = np.stack([GREY, GREY[::-1] // 2, 255 - GREY], -1)


def encode(image, format="PNG", **options):
    buffer = io.BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def deep_png(pixels, kind):
    """A PNG file of 16 bits a value, which Pillow cannot write for colours."""

    def chunk(name, content):
        sum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum)

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


WIDE = {
    "16 bits": (GREY.astype(np.uint16) * 257, "PNG"),
    "12 bits in 16": (GREY.astype(np.uint16) * 16, "PNG"),
    "8 bits in 16": (GREY.astype(np.uint16), "PNG"),
    "big-endian": ((GREY.astype(np.uint16) * 257).astype(">u2"), "TIFF"),
    "16-bit pgm": (GREY.astype(np.uint16) * 257, "PPM"),
    "32 bits to 255": (GREY.astype(np.int32), "TIFF"),
    "32 bits to a million": (GREY.astype(np.int32) * 4000, "TIFF"),
    "32 bits below 0": (GREY.astype(np.int32) * 10 - 1000, "TIFF"),
    "floats to 1": (GREY.astype(np.float32) / 255, "TIFF"),
    "floats to 255": (GREY.astype(np.float32), "TIFF"),
    "floats of any range": (GREY.astype(np.float32) * 3 - 0.5, "TIFF"),
}


@pytest.mark.parametrize("kind", WIDE)
def test_wide_values_keep_their_differences(kind):
    pixels, format = WIDE[kind]
    content = encode(pixels, format)
    np.testing.assert_array_equal(decode(content, None)[..., 0], GREY)
    found = read(content)
    assert found.pixels.shape == (6, 8, 1) and found.told.depth != "8 bits"
    np.testing.assert_array_equal(found.pixels[..., 0], pixels)
    assert read(content, None, (3, 4)).pixels.shape == (3, 4, 1)
    rejects(lambda: decode(content, 3), "RGB")


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_colours_of_16_bits_are_refused(kind):
    """Pillow drops their lower bits: 12 bits in 16 would be black."""
    bands = {2: 3, 4: 2, 6: 4}[kind]
    pixels = np.dstack([GREY.astype(np.uint16) * 16] * bands)
    rejects(lambda: decode(deep_png(pixels, kind), None), "16 bits a colour")
    assert read(deep_png(pixels[..., :1], 0)).pixels.max() == 255 * 16


def test_what_cannot_be_scaled_for_certain():
    rejects(
        lambda: decode(encode(GREY * np.uint16(257), transparency=0), None), "trans"
    )
    unsigned = encode(GREY.astype(np.int32) - 1, "TIFF")
    assert decode(unsigned, None).shape  # signed: -1 is -1
    tag = struct.pack("<HHII", 339, 3, 1, 2)
    assert tag in unsigned
    unsigned = unsigned.replace(tag, struct.pack("<HHII", 339, 3, 1, 1))
    rejects(lambda: decode(unsigned, None), "2^31")
    floats = np.where(GREY == 0, np.nan, 0.5).astype(np.float32)
    rejects(lambda: decode(encode(floats, "TIFF"), None), "NaN")


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "PPM", "WEBP"])
def test_8_bits_are_as_pillow_has_them(format):
    options = {"lossless": True} if format == "WEBP" else {}
    colour = encode(COLOUR, format, **options)
    with Image.open(io.BytesIO(colour)) as image:
        np.testing.assert_array_equal(decode(colour, None), image.convert("RGB"))
    if format not in ("GIF", "WEBP"):
        np.testing.assert_array_equal(decode(encode(GREY, format), None)[..., 0], GREY)


def test_palette_one_bit_and_cmyk():
    palette = Image.fromarray(COLOUR).quantize(200)
    assert decode(encode(palette), None).shape == (6, 8, 3)
    assert abs(decode(encode(palette), None).astype(int) - COLOUR).max() <= 8
    bits = decode(encode(Image.fromarray(GREY > 128)), None)
    np.testing.assert_array_equal(bits[..., 0], np.where(GREY > 128, 255, 0))
    cmyk = encode(Image.fromarray(COLOUR).convert("CMYK"), "TIFF")
    np.testing.assert_array_equal(decode(cmyk, None), COLOUR)


def drawings():
    """Drawings that are seen in alpha alone, black and then white."""
    for colour in (0, 255):
        plain = np.full((6, 8, 3), colour, np.uint8)
        yield colour, encode(np.dstack([plain, GREY]))
        grey = Image.merge(
            "LA", [Image.new("L", (8, 6), colour), Image.fromarray(GREY)]
        )
        yield colour, encode(grey)
        palette = Image.fromarray((GREY > 128).astype(np.uint8), "P")
        palette.putpalette([colour] * 6)
        yield colour, encode(palette, transparency=0)
        yield colour, encode(palette, "GIF", transparency=0)


def test_transparency_is_laid_over_what_shows_it():
    for colour, content in drawings():
        made = decode(content, None)
        assert made.min() == 0 and made.max() == 255
        background = 255 - colour
        np.testing.assert_array_equal(made[:, 0], np.full_like(made[:, 0], background))
        assert abs(int(made[0, -1, 0]) - colour) <= 1
        assert read(content).told.background == ("black" if colour else "white")


def test_transparent_colours_blend_with_white():
    alpha = GREY[..., None] / 255
    made = decode(encode(np.dstack([COLOUR, GREY])), None)
    expected = COLOUR * alpha + 255 * (1 - alpha)
    assert abs(made - expected).max() <= 1
    np.testing.assert_array_equal(
        decode(encode(np.dstack([COLOUR, GREY])), 4), np.dstack([COLOUR, GREY])
    )
    keyed = encode(COLOUR, transparency=tuple(COLOUR[0, 0].tolist()))
    assert decode(keyed, None)[0, 0].tolist() == [255] * 3
    keyed = encode(GREY, transparency=int(GREY[0, 1]))
    expected = np.where(GREY[0, 1] == GREY, 255, GREY)
    np.testing.assert_array_equal(decode(keyed, None)[..., 0], expected)
    assert (decode(encode(np.zeros((4, 4, 4), np.uint8)), None) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
def test_images_are_turned_upright(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = np.repeat(np.repeat(GREY[:, :4], 8, 0), 8, 1)
    image[:16] = 200
    content = encode(image, format, exif=exif)
    with Image.open(io.BytesIO(content)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(decode(content, None)[..., 0], upright)
    wide = orientation > 4
    assert decode(content, None).shape == ((32, 48, 1) if wide else (48, 32, 1))


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames(format):
    frames = [Image.fromarray(image) for image in (COLOUR, 255 - COLOUR)]
    options = {"lossless": True} if format == "WEBP" else {}
    several = encode(
        frames[0], format, save_all=True, append_images=frames[1:], **options
    )
    one = encode(frames[0], format, **options)
    assert read(several).told.frames and not read(one).told.frames
    np.testing.assert_array_equal(decode(several, None), decode(one, None))


def test_only_named_formats_are_opened():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    for content in (
        eps,
        encode(COLOUR, "PCX"),
        encode(COLOUR, "TGA"),
        encode(COLOUR, "ICO"),
        encode(COLOUR, "PDF"),
    ):
        with pytest.raises(OSError, match="cannot identify"):
            decode(content, None)


@pytest.mark.parametrize("side", [10_000, 13_000, 60_000])
def test_bombs_are_not_inflated(side):
    content = bytearray(encode(GREY))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "load", lambda image: 1 / 0)
        rejects(lambda: decode(bytes(content), None), "pixels")


def test_only_regular_files_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.png")
    rejects(lambda: read_bytes(tmp_path / "a.png"), "not a regular file")
    (tmp_path / "b.png").write_bytes(b"1234")
    (tmp_path / "c.png").symlink_to("b.png")
    assert read_bytes(tmp_path / "c.png") == b"1234"
    monkeypatch.setattr("unlearn.data.images.FILE", 3)
    rejects(lambda: read_bytes(tmp_path / "b.png"), "larger than")


def test_threads_leave_the_filters_of_warnings_as_they_were(monkeypatch):
    real, pauses = Image.open, iter([0.05, 0.1, 0.05, 0.1])

    def slowly(*args, **options):
        time.sleep(next(pauses))
        return real(*args, **options)

    monkeypatch.setattr(Image, "open", slowly)
    before = warnings.filters[:]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read, [encode(COLOUR)] * 4):
            np.testing.assert_array_equal(found.pixels, COLOUR)
    assert warnings.filters == before
