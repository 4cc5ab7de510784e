"""How much a data set may hold."""

import pytest
from data_cases import rejects

from unlearn.data import limits


def test_bytes_and_how_to_allow_more(monkeypatch):
    monkeypatch.delenv(limits.VARIABLE, raising=False)
    limits.check_bytes("n", 8 * 2**30)
    rejects(lambda: limits.check_bytes("n", 9 * 2**30), "n: ", "9.0", "8", "GIB=10")
    monkeypatch.setenv(limits.VARIABLE, "10")
    limits.check_bytes("n", 9 * 2**30)


@pytest.mark.parametrize("text", ["lots", "-1", "0", "nan"])
def test_the_variable_is_checked(monkeypatch, text):
    monkeypatch.setenv(limits.VARIABLE, text)
    rejects(lambda: limits.check_bytes("n", 1), limits.VARIABLE, text)


def test_pixels():
    limits.check_pixels(8000, 8000)
    rejects(lambda: limits.check_pixels(100_000, 900), "100000x900", "89 million")
