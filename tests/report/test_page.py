"""The page as text and as a tree of elements."""

import base64
import copy
import json
import math
from itertools import pairwise

import numpy as np
import pytest
from nasty import NAMES
from page_facts import (
    EMPTY,
    FIGURES,
    FORGET,
    LONG,
    REASON,
    Tree,
    cell,
    leaves,
    make_facts,
)

from unlearn.errors import InputError
from unlearn.report import page, schema


@pytest.fixture(scope="module")
def text():
    return page.render(make_facts(), FIGURES)


@pytest.fixture(scope="module")
def tree(text):
    return Tree(text)


NOT_SHOWN = {"created", "key", "id", "file", "kind", "verdict", "expected", "outcome"}


def test_every_string_of_the_facts_is_on_the_page(tree):
    shown = tree.text()
    strings = 0
    for path, value in leaves(make_facts()):
        if isinstance(value, str) and NOT_SHOWN.isdisjoint(path):
            assert " ".join(value.split()) in shown, path
            strings += 1
        if path[-2:-1] in (("versions",), ("terms",), ("constants",)):
            assert path[-1] in shown
    assert strings > 100


def test_every_number_of_the_tables_is_in_its_cell(text):
    facts = make_facts()
    start = text.index('<table class="evidence">')
    body = Tree(text[start : text.index("</table>", start)] + "</table>")
    cells = [" ".join(one["text"].split()) for one in body.all("td")]
    table = facts["tables"][0]
    expected = []
    for row in table["rows"]:
        for column in table["columns"]:
            one = row["cells"].get(column["key"], cell(None))
            digits = 4 if column["key"] == "metric_2" else 2
            value = one["value"]
            if value is None or value != value:
                shown = "–"
            elif isinstance(value, str):
                shown = value
            else:
                shown = "∞" if math.isinf(value) else f"{value:.{digits}f}"
            if one["low"] is not None:
                shown += f"[{one['low']:.{digits}f}, {one['high']:.{digits}f}]"
            expected.append(shown.replace("-", "−"))
    assert cells == expected
    heads = [one["text"] for one in body.all("th") if one["scope"] == "col"]
    assert heads[1:3] == ["Label 0 %", "Label 1 points"]


def test_other_numbers_are_on_the_page(tree):
    shown = tree.text()
    for one in (
        "21 November 2026, 16:19 UTC",
        "129 training examples of the classes below",
        "(10.0 % of all)",
        f"three, {LONG}",
        "1294 for training",
        "144 for validation, 359 for testing",
        "5 training seeds, 64 shadow models",
        "1 h 10 min",
        "with changes that were not committed",
        "learning_rate=0.02",
        "layers=(1, 2)",
        "head=True",
        "0.05 s 8.6×",
        "0.50 s ∞",
        "5.00 s –",
        "About 23 models, with as many times the examples, would settle it.",
        "train.epochs=30",
        "model.cnn.widths=(16, 32)",
        "This run can decide.",
        "Controls: 1 of 3 as expected",
    ):
        assert one in shown


def test_verdicts_are_words_and_signs_not_only_colours(tree):
    cards = [" ".join(one["text"].split()) for one in tree.all("li")]
    assert (
        sum(
            card.startswith(
                (
                    "method_number_0+finetune ✗ outside tolerance Avg. Gap 0.90",
                    "method_number_1+finetune ? inconclusive Avg. Gap 0.91",
                    "method_number_2+finetune ✓ within tolerance Avg. Gap 0.92",
                    "control 0 ✓ fails, as it must The known model 0. Attack",
                    "control 1 ✗ fails, but must pass The known model 1. Attack",
                    "control 2 ? inconclusive, must fail The known model 2. Attack",
                )
            )
            for card in cards
        )
        == 6
    )


def test_markup_in_the_facts_is_text(text, tree):
    assert not tree.all("script")
    assert "&lt;script&gt;alert(" in text
    assert REASON in tree.text()
    assert tree.all("img")[0]["alt"] == f"What {FORGET} 0. {LONG}"


def test_markup_in_any_fact_is_text():
    evil = "<i x='\"'>&"
    facts = schema.plain(make_facts())
    fixed = NOT_SHOWN - {"key"} | {"value", "speedup"}
    for path, value in list(leaves(facts)):
        if isinstance(value, str) and fixed.isdisjoint(path):
            parent = facts
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = value + evil
    for table in facts["tables"]:
        for row in table["rows"]:
            row["cells"] = {key + evil: one for key, one in row["cells"].items()}
    facts["terms"] = {word + evil: one for word, one in facts["terms"].items()}
    tree = Tree(page.render(facts, FIGURES))
    assert not tree.all("i")
    assert tree.text().count(evil) > 100


def test_page_without_methods_tables_and_figures():
    shown = Tree(page.render(EMPTY, {})).text()
    assert "? This run cannot decide." in shown
    assert "Glossary" not in shown and "Controls" not in shown


@pytest.mark.parametrize(
    "value, digits, shown",
    [
        (None, 2, "–"),
        ("Infinity", 2, "∞"),
        ("-Infinity", 2, "−∞"),
        ("within", 2, "within"),
        (98.604, 2, "98.60"),
        (-0.5, 1, "−0.5"),
        (-0.001, 2, "0.00"),
        (12, 0, "12"),
        (2.5e12, 1, "2.5e+12"),
    ],
)
def test_numbers(value, digits, shown):
    assert page.number(value, digits) == shown


def test_durations():
    shown = [page.duration(x) for x in (0.054, 12.34, 99.96, 125.4, 4211.3, None)]
    assert shown == ["0.05 s", "12.3 s", "100.0 s", "2 min 5 s", "1 h 10 min", "–"]


def test_links_code_and_breaks_are_made_of_escaped_text():
    assert page.prose("`a<b`, arXiv:2406.09073 (https://x.org/a?b=1).") == (
        "<code>a&lt;b</code>, "
        '<a href="https://arxiv.org/abs/2406.09073">arXiv:2406.09073</a> '
        '(<a href="https://x.org/a?b=1">https://x.org/a?b=1</a>).'
    )
    assert page.breakable("a_<b+c_") == "a_<wbr>&lt;b+<wbr>c_"
    assert page.unbroken("x --a=<b> c--d") == "x <span>--a</span>=&lt;b&gt; c--d"


def test_columns_of_numbers_are_aligned_as_such():
    def is_text(*values):
        rows = [{"cells": {"x": cell(value)}} for value in values]
        return page.is_text({"key": "x"}, [{"cells": {}}, *rows])

    assert is_text(None, "within") and is_text(1.0, "within")
    assert not is_text(1.0, None) and not is_text(None) and not is_text("Infinity")


def test_page_loads_nothing(text, tree):
    tags = {one["tag"] for one in tree.elements}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
    for one in tree.elements:
        assert one.keys().isdisjoint({"srcset", "poster", "background", "action"})
        assert not [name for name in one if name.startswith("on")]
        if "src" in one:
            assert one["src"].startswith("data:image/png;base64,")
        if "href" in one:
            assert one["tag"] == "a"
            assert one["href"].startswith(("#", "https://arxiv.org/abs/"))
    style = tree.all("style")[0]["text"]
    assert "url(" not in style and "@import" not in style
    policy = [one["content"] for one in tree.all("meta") if "http-equiv" in one]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none';")
    images = [base64.b64decode(one["src"].split(",")[1]) for one in tree.all("img")]
    assert images == list(FIGURES.values())


def test_page_is_accessible(tree):
    assert tree.all("html")[0]["lang"] == "en"
    assert tree.all("title")[0]["text"] == f"Unlearning 129 digits {LONG}"
    levels = [int(one["tag"][1]) for one in tree.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [one["id"] for one in tree.elements if "id" in one]
    assert len(ids) == len(set(ids))
    links = [one["href"] for one in tree.all("a") if one["href"][0] == "#"]
    assert len(links) == 7
    labels = [
        one["aria-labelledby"] for one in tree.elements if "aria-labelledby" in one
    ]
    assert {*labels, *(link[1:] for link in links)} <= set(ids)
    assert len(tree.all("table")) == len(tree.all("caption")) == len(labels) == 4
    assert all(one["scope"] in ("row", "col") for one in tree.all("th"))
    assert all(one["alt"] and one["width"] for one in tree.all("img"))
    sections = [one["text"] for one in tree.all("h2")]
    assert [one[0] for one in sections] == [*"123456", "G"]


@pytest.fixture
def folder(tmp_path):
    for name, data in FIGURES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_report_json_says_the_same_as_the_page(folder):
    facts = make_facts()
    facts["run"]["seeds"] = np.int64(5)
    facts["methods"][0]["seconds"] = np.float32(0.5)
    facts["methods"][0]["constants"]["layers"] = (1, 2)
    before = copy.deepcopy(facts)
    page.write(folder, facts)
    assert repr(facts) == repr(before)

    def no_constant(name):
        raise AssertionError(name)

    text = (folder / "report.json").read_text()
    read = json.loads(text, parse_constant=no_constant)
    assert read == schema.plain(facts)
    assert read["run"]["seeds"] == 5 and read["methods"][0]["seconds"] == 0.5
    assert [one["speedup"] for one in read["methods"]] == [8.61, "Infinity", None]
    rows = read["tables"][0]["rows"]
    assert rows[0]["cells"]["metric_1"] == cell(None)
    assert rows[1]["cells"]["metric_3"]["value"] == "Infinity"
    html = (folder / "report.html").read_text()
    assert html == page.render(read, FIGURES)
    assert sorted(one.name for one in folder.iterdir()) == [
        "figures",
        "report.html",
        "report.json",
    ]


@pytest.mark.parametrize("data", [None, b"GIF89a, not a PNG"])
def test_nothing_is_written_without_the_figures(folder, data):
    path = folder / "figures" / "margins.png"
    path.unlink()
    if data:
        path.write_bytes(data)
    with pytest.raises(InputError, match=r"figures/margins\.png, a figure of the page"):
        page.write(folder, make_facts())
    assert [one.name for one in folder.iterdir()] == ["figures"]


def test_render_needs_every_figure():
    with pytest.raises(InputError, match=r"figures/roc\.png, .* was not given"):
        page.render(make_facts(), {})


def test_any_text_is_on_a_page_that_can_be_written(folder):
    facts = make_facts()
    texts = " ".join(NAMES)
    facts["title"] = facts["request"]["reason"] = texts
    facts["request"]["classes"] = list(NAMES)
    facts["methods"][0]["name"] = facts["controls"][0]["name"] = texts
    facts["terms"] = {texts: texts}
    facts["run"]["command"] = "python launch.py --workdir=caf\udce9"
    facts["run"]["settings"] = {"data.name": texts}
    facts["tables"][0]["rows"][1]["model"] = texts
    page.write(folder, facts)
    html = (folder / "report.html").read_bytes().decode()
    read = json.loads((folder / "report.json").read_bytes().decode())
    assert html == page.render(read, FIGURES)
    assert read["run"]["command"].endswith(r"caf\xe9")
    tree = Tree(html)
    assert not tree.all("script")
    assert r"$\frac$" in tree.text() and "{{ x }} {% x %}" in tree.text()
