"""Natural order."""

import itertools

from unlearn.data.order import natural, plain, shown


def test_numbers_by_value_and_text_else():
    expected = [
        "0",
        "1",
        "2",
        "9",
        "10",
        "11",
        "100",
        "a2",
        "A10",
        "a10b",
        "img2",
        "é1",
    ]
    for shuffled in (expected[::-1], sorted(expected)):
        assert sorted(shuffled, key=natural) == expected
    assert sorted(["12.png", "3.png", "003.png"], key=natural)[-1] == "12.png"


def test_the_order_is_total():
    names = [
        "a",
        "A",
        "é",
        "e\u0301",
        "E\u0301",
        "1",
        "01",
        "001",
        "²",
        "caf\udce9",
        "9" * 6000,
    ]
    orders = {tuple(sorted(p, key=natural)) for p in itertools.permutations(names[:6])}
    assert len(orders) == 1
    assert len({natural(name) for name in names}) == len(names)
    assert sorted(names, key=natural)


def test_text_for_messages_and_comparison():
    assert plain(" e\u0301 ") == plain("é")
    assert shown("naïve.png") == "naïve.png"
    for text in ("a\nb", "caf\udce9", "a\x1b[31m"):
        assert shown(text).isprintable()
        shown(text).encode()
