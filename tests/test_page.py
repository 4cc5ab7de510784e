"""The page as text and as a tree of elements; in a real browser where there is one."""

import base64
import contextlib
import copy
import io
import json
import math
import os
import re
import select
import shutil
import subprocess
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.report import page

REASON = "Erasure request 17 <script>alert('&')</script> of \"A. Person\""
FORGET = "image/forget <&>"
LONG = "unbroken" * 12  # wider than a phone


def cell(value, half=None):
    ends = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": ends[0], "high": ends[1]}


def png(width, height):
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(data, "png")
    return data.getvalue()


FIGURES = {"figures/roc.png": png(1300, 650), "figures/margins.png": png(800, 400)}


def make_facts():
    columns = [
        {
            "key": f"metric_{i}",
            "label": f"Label {i}",
            "unit": unit,
            "help": f"How to read {i}.",
        }
        for i, unit in enumerate(("%", "points", "", "s", "nats", "%", "%", "%", "%"))
    ]
    columns[2]["digits"] = 4
    rows = [
        {
            "model": "floor",
            "kind": "floor",
            "cells": {"metric_0": cell(0.25), "metric_1": cell(math.nan)},
        },
        {
            "model": "original",
            "kind": "control",
            "cells": {"metric_0": cell(99.123, 0.456), "metric_3": cell(math.inf)},
        },
    ]
    rows += [
        {
            "model": f"method_number_{i}+finetune",
            "kind": "method",
            "cells": {
                column["key"]: cell(float(i) - 5.0625, 1.5) for column in columns[:-1]
            }
            | {"metric_8": cell("inconclusive")},
        }
        for i in range(12)
    ]
    methods = [
        {
            "name": f"method_number_{i}+finetune",
            "paper": "NeurIPS 2023 challenge, arXiv:2406.09073",
            "faithful": f"not quite: simplification {i} {LONG}",
            "constants": {"learning_rate": 0.01 * i, "layers": [1, 2], "head": True},
            "seconds": 0.05 * 10**i,
            "speedup": (8.61, math.inf, math.nan)[i],
            "verdict": verdict,
            "because": [f"Avg. Gap 0.9{i} [0.6, 1.1].", f"Attack {LONG} 0.7{i}."],
            "models_needed": 23 if verdict == "inconclusive" else None,
        }
        for i, verdict in enumerate(("outside", "inconclusive", "within"))
    ]
    controls = [
        {
            "name": f"control {i}",
            "what": f"The known model {i}.",
            "expected": expected,
            "outcome": outcome,
            "because": f"Attack {LONG} 0.8{i}.",
        }
        for i, (expected, outcome) in enumerate(
            [("fail", "fail"), ("pass", "fail"), ("fail", "inconclusive")]
        )
    ]
    return {
        "schema": 1,
        "title": f"Unlearning 129 digits {LONG}",
        "created": "2026-11-21T16:19:00+00:00",
        "request": {
            "reason": REASON,
            "kind": "class",
            "examples": 129,
            "classes": ["three", LONG],
            "sha256": "1a" * 32,
        },
        "data": {
            "name": "digits",
            "sha256": "2b" * 32,
            "train": 1294,
            "validation": 144,
            "test": 359,
        },
        "run": {
            "experiment": "digits_evidence",
            "preset": "cpu",
            "command": "python launch.py --methods=ssd,scrub "
            + "--config.methods.ssd.alpha=3 " * 5
            + "--workdir=runs/"
            + "long" * 30,
            "settings": {
                "train.epochs": 30,
                "model.cnn.widths": [16, 32],
                "data.name": LONG,
                "forget.file": None,
            },
            "seeds": 5,
            "shadow_models": 64,
            "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
            "device": f"NVIDIA H100 {LONG}",
            "backend": "gpu",
            "git_revision": "3c" * 20 + "+",
            "seconds": 4211.0,
        },
        "checkpoints": [
            {"model": model, "seed": seed, "sha256": f"{i}{seed}" * 32}
            for i, model in enumerate(("original", "retrain", "ssd"))
            for seed in range(3)
        ],
        "conclusive": True,
        "conclusion": f"One method forgets. {LONG}",
        "methods": methods,
        "controls": controls,
        "tables": [
            {
                "id": "summary",
                "title": "All measures",
                "note": f"Unrounded in summary.csv. {LONG}",
                "columns": columns,
                "rows": rows,
            },
            {
                "id": "small",
                "title": "A small one",
                "note": "",
                "columns": columns[:1],
                "rows": [
                    {"model": "x", "kind": "floor", "cells": {"metric_0": cell(1)}}
                ],
            },
        ],
        "figures": [
            {
                "file": file,
                "title": f"Figure {i}",
                "caption": f"What {FORGET} {i}. {LONG}",
            }
            for i, file in enumerate(FIGURES)
        ],
        "not_guaranteed": ["That no other attack finds a trace.", LONG],
        "terms": {"floor": f"Two retrained models. {LONG}", LONG: "Log-odds."},
    }


EMPTY = make_facts() | dict.fromkeys(
    ("checkpoints", "methods", "controls", "tables", "figures", "not_guaranteed"), ()
)
EMPTY |= {"terms": {}, "conclusive": False}


class Tree(HTMLParser):
    """Elements of a page with their text; every tag must be closed, in order."""

    VOID = {"meta", "img", "wbr", "br"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [one for one in self.elements if one["tag"] in tags]

    def text(self):
        return " ".join(self.all("body")[0]["text"].split())


@pytest.fixture(scope="module")
def text():
    return page.render(make_facts(), FIGURES)


@pytest.fixture(scope="module")
def tree(text):
    return Tree(text)


def leaves(value, path=()):
    """`(path, value)` of everything in nested dicts and lists, the keys as well."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        yield (*path, key), one
        if isinstance(one, (dict, list)):
            yield from leaves(one, (*path, key))


# What is on the page

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
    facts = page.plain(make_facts())
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


# The page as a document


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


# report.json


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
    assert read == page.plain(facts)
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


# The schema


def dotted(path):
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return text.lstrip(".")


OPEN = ("versions", "settings", "constants", "cells", "terms")  # any keys


def test_check_names_whatever_is_missing_or_of_another_type():
    facts = page.plain(make_facts())
    facts["tables"][0]["rows"] = facts["tables"][0]["rows"][:3]
    page.check(facts)
    page.check(EMPTY)
    seen = 0
    for path, value in list(leaves(facts)):
        if {"layers", "model.cnn.widths"} & set(path[:-1]):
            continue  # a list of constants is one field
        *steps, last = path
        parent = facts
        for step in steps:
            parent = parent[step]
        parent[last] = {1}
        with pytest.raises(InputError, match=f"{re.escape(dotted(path))} is "):
            page.check(facts)
        any_key = steps and steps[-1] in OPEN
        if isinstance(parent, dict) and last != "digits" and not any_key:
            del parent[last]
            with pytest.raises(InputError, match=f"lack {re.escape(dotted(path))} "):
                page.check(facts)
        parent[last] = value
        seen += 1
    assert seen > 250


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("schema", 2, "schema is 2, not 1"),
        ("schema", True, "schema is True, not 1"),
        ("run.seeds", 5.0, "run.seeds is 5.0, not a whole number"),
        ("run.seeds", True, "run.seeds is True, not a whole number"),
        ("run.sedes", 5, "run.sedes is 5, not a field of the schema"),
        ("run.seconds", "NaN", "run.seconds is 'NaN', not a number or null or"),
        ("run.git_revision", 7, "run.git_revision is 7, not a string or null"),
        ("conclusive", 1, "conclusive is 1, not true or false"),
        ("created", "yesterday", "created is 'yesterday', not a time of ISO 8601"),
        ("created", "2026-11-21T16:19:00", "not a time of ISO 8601 with its offset"),
        ("methods.0.verdict", "wihtin", "not 'within' or 'outside' or 'inconclusive'"),
        ("methods.1.because", "one", r"methods\[1\].because is 'one', not a list"),
        ("tables.0.id", "two words", r"tables\[0\].id is 'two words', not letters"),
        ("tables.1.id", "summary", r"tables\[1\].id is 'summary', not .* used once"),
        (
            "tables.0.rows.1.cells.other",
            cell(1.0),
            r"rows\[1\].cells.other is .* in a column: m",
        ),
    ],
)
def test_check_says_what_is_wrong(path, value, message):
    facts = make_facts()
    parent = facts
    *steps, last = (int(one) if one.isdigit() else one for one in path.split("."))
    for step in steps:
        parent = parent[step]
    parent[last] = value
    with pytest.raises(InputError, match=message) as caught:
        page.check(facts)
    assert "\n" not in str(caught.value)


# In a browser


def find_browser():
    """A program of the Chromium family, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    for name in (*names, "chrome"):
        if path := shutil.which(name):
            return path
    with contextlib.suppress(Exception):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            return shutil.which(playwright.chromium.executable_path)
    return None


class Browser:
    """A headless browser, driven by the Chrome DevTools Protocol over pipes."""

    def __init__(self, program, profile):
        shell = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            ["sh", "-c", shell, "sh", program, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.session, self.count, self.events, self.rest = {}, 0, [], b""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        answer = self("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": answer["sessionId"]}
        self("Page.enable")
        self("Network.enable")

    def __call__(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params, **self.session}
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        while (answer := self.next()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def next(self, seconds=60):
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            left = max(end - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise TimeoutError(f"the browser said nothing for {seconds} s")
            if not (data := os.read(self.process.stdout.fileno(), 1 << 20)):
                raise ConnectionError("the browser ended")
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, path, width, scheme, media="screen"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self("Emulation.setEmulatedMedia", media=media, features=features)
        size = {"width": width, "height": 844, "deviceScaleFactor": 1}
        self("Emulation.setDeviceMetricsOverride", mobile=width < 500, **size)
        self.events.clear()
        self("Page.navigate", url=Path(path).as_uri())
        while "Page.loadEventFired" not in [one.get("method") for one in self.events]:
            self.events.append(self.next())

    def value(self, expression):
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def close(self):
        with contextlib.suppress(Exception):
            self("Browser.close")
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip("no browser of the Chromium family is installed")
    try:
        browser = Browser(program, tmp_path_factory.mktemp("profile"))
    except (OSError, TimeoutError) as error:
        pytest.skip(f"{program} does not start: {error}")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text)
    return path


# Every visible text, its contrast to the nearest background, the least first.
CONTRASTS = """(() => {
const parse = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => parse(colour).slice(0, 3).map(x => x / 255)
  .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
  .reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
for (let node; node = texts.nextNode();) {
  const element = node.parentElement;
  if (!node.data.trim() || !element.getClientRects().length) continue;
  let behind = element;
  while (behind && (parse(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 1)
    behind = behind.parentElement;
  const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255 255 255)";
  const ends = [getComputedStyle(element).color, ground].map(light);
  found.push([(Math.max(...ends) + .05) / (Math.min(...ends) + .05), node.data]);
}
return found.sort((a, b) => a[0] - b[0]);
})()"""

SCROLLING = """[...document.querySelectorAll("*")].filter(
  x => x.scrollWidth > x.clientWidth + 1 && getComputedStyle(x).overflowX == "auto"
).length"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_page_in_a_browser(browser, report, width, scheme):
    browser.open(report, width, scheme)
    assert browser.value("document.title") == f"Unlearning 129 digits {LONG}"
    page_width, window = browser.value(
        "[document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert page_width <= window == width
    shade = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", shade))) > 600) == (scheme == "light")
    contrasts = browser.value(CONTRASTS)
    assert len(contrasts) > 300
    assert contrasts[0][0] >= 4.5, contrasts[:5]
    assert browser.value("[...document.images].every(x => x.naturalWidth > 0)")
    requests = [
        one["params"]["request"]["url"]
        for one in browser.events
        if one.get("method") == "Network.requestWillBeSent"
    ]
    assert [one for one in requests if not one.startswith("data:")] == [report.as_uri()]
    if width == 390:  # wide tables scroll in their boxes, the models' names stay
        assert browser.value(SCROLLING) >= 2
        left = """(() => {
            const table = document.querySelector(".evidence");
            table.parentElement.scrollLeft = 200;
            const cells = [...table.querySelectorAll("th:first-child")];
            return cells.map(x => x.getBoundingClientRect().left);
        })()"""
        assert set(browser.value(left)) == {16}


def test_a_hash_is_shortened_but_selected_whole(browser, report):
    browser.open(report, 1200, "light")
    width, chosen = browser.value("""(() => {
        const hash = document.querySelectorAll(".short .hash")[4];
        getSelection().selectAllChildren(hash);
        return [hash.offsetWidth, getSelection().toString()];
    })()""")
    assert width < 150 and chosen == "11" * 32


def test_page_on_paper(browser, report):
    browser.open(report, 690, "dark", media="print")  # A4 within its margins
    shade = browser.value("getComputedStyle(document.body).backgroundColor")
    assert shade == "rgb(255, 255, 255)"
    assert browser.value("document.documentElement.scrollWidth") <= 690
    assert browser.value(SCROLLING) == 0
    assert min(browser.value(CONTRASTS))[0] >= 4.5
    link = "getComputedStyle(document.querySelector('td a'), '::after').content"
    assert "https://arxiv.org/abs/2406.09073" in browser.value(
        f"{link}.replace('attr(href)', document.querySelector('td a').href)"
    )
    boxes = "[...document.querySelectorAll('.scroll, .plot, .short .hash')]"
    overflow = browser.value(f"{boxes}.map(x => getComputedStyle(x).overflow)")
    assert len(overflow) == 15 and set(overflow) == {"visible"}
    data = browser("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]
    assert base64.b64decode(data).startswith(b"%PDF")
