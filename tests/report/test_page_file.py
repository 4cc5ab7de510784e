"""The page as a file: elements, numbers, markup, and the facts beside it."""

import base64
import copy
import json
from itertools import pairwise

import numpy as np
import pytest
from nasty import NAMES
from page_facts import FIGURES, LONG, make_facts, stretched
from page_models import cell
from page_tree import Tree

from unlearn.errors import InputError
from unlearn.report import page, schema


@pytest.fixture(scope="module")
def text():
    return page.render(stretched(make_facts()), FIGURES)


@pytest.fixture(scope="module")
def tree(text):
    return Tree(text)


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


def test_sizes_and_shares():
    sizes = [page.size(x) for x in (0, 999, 1000, 99_960, 102_345_678, 5 * 10**15)]
    assert sizes == ["0 B", "999 B", "1.0 kB", "100 kB", "102 MB", "5000 TB"]
    assert [page.percent(x) for x in (0.0257, None, "Infinity")] == ["2.6", "–", "∞"]
    assert page.interval(cell(-0.5, 0.25), 1, 100) == (
        '−50.0 <span class="interval">[−75.0,−25.0]</span>'
    )
    assert page.interval(cell(None)) == "–"


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
    assert tree.all("title")[0]["text"] == f"Unlearning audit: digits_audit {LONG}"
    levels = [int(one["tag"][1]) for one in tree.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [one["id"] for one in tree.elements if "id" in one]
    assert len(ids) == len(set(ids))
    links = [one["href"] for one in tree.all("a") if one["href"][0] == "#"]
    assert len(links) == 7 + len(make_facts()["models"])
    labels = [
        one["aria-labelledby"] for one in tree.elements if "aria-labelledby" in one
    ]
    assert {*labels, *(link[1:] for link in links)} <= set(ids)
    assert len(tree.all("table")) == len(tree.all("caption")) == 8
    assert len(labels) == 2
    assert all(one["scope"] in ("row", "col", "colgroup") for one in tree.all("th"))
    assert all(one["alt"] and one["width"] for one in tree.all("img"))
    sections = [one["text"] for one in tree.all("h2")]
    assert sections[0] == "Verdict" and sections[-1] == "Annex"
    assert len(sections) == 8


@pytest.fixture
def folder(tmp_path):
    for name, data in FIGURES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_report_json_says_the_same_as_the_page(folder):
    facts = make_facts()
    facts["run"]["seeds"] = np.int64(5)
    facts["models"][-1]["seconds"] = np.float32(0.5)
    facts["models"][-1]["constants"]["layers"] = (1, 2)
    before = copy.deepcopy(facts)
    page.write(folder, facts)
    assert repr(facts) == repr(before)

    def no_constant(name):
        raise AssertionError(name)

    text = (folder / "report.json").read_text()
    read = json.loads(text, parse_constant=no_constant)
    assert read == schema.plain(facts)
    assert read["run"]["seeds"] == 5 and read["models"][-1]["seconds"] == 0.5
    speedups = [one["speedup"] for one in read["models"][-4:]]
    assert speedups == [8.61, "Infinity", None, 2.4]
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
    with pytest.raises(
        InputError, match=r"figures/leak_against_accuracy.png, .* was not given"
    ):
        page.render(make_facts(), {})


def test_any_text_is_on_a_page_that_can_be_written(folder):
    facts = make_facts()
    texts = " ".join(NAMES)
    facts["title"] = facts["request"]["reason"] = texts
    facts["request"]["classes"] = list(NAMES)
    facts["models"][-1]["name"] = facts["models"][2]["name"] = texts
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
