"""Texts that others chose, made safe to print, to write and to put into tables."""

import pytest
from nasty import NAMES

from unlearn.report.text import encodable, markdown_cell, printable


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_one_line_of_valid_text(name):
    for text in (printable(name), markdown_cell(name)):
        text.encode()
        assert text.isprintable() and len(text.splitlines()) <= 1
    assert printable(printable(name)) == printable(name)


def test_names_stay_apart():
    assert len({printable(name) for name in NAMES}) == len(NAMES)


def test_ordinary_names_stay_as_they_are():
    for name in ("cat", "caf\u00e9", "\u732b", "a_b+c", r"$\frac$", "a, b (c)"):
        assert printable(name) == encodable(name) == name


def test_what_cannot_be_said_is_escaped():
    assert printable("caf\udce9") == r"caf\xe9"
    assert printable("\ud800") == r"\ud800"
    assert printable("a\n b\t c") == "a b c"
    assert printable("\x1b[31m") == r"\x1b[31m"
    assert encodable("a\nb") == "a\nb"
    assert encodable("caf\u00e9 \u2713", "ascii") == r"caf\xe9 \u2713"
    assert encodable("caf\u00e9 \u2713", "latin-1") == "caf\u00e9 \\u2713"


def test_a_cell_does_not_end_at_a_bar():
    assert markdown_cell("a|b") == r"a\|b"
    assert markdown_cell(r"a\|b") == r"a\\\|b"
    assert markdown_cell("<b>") == r"\<b>"
