"""The page that is signed."""

import copy
import re

import jinja2
import pytest

from unlearn.report import request_page

HASH = "0123456789abcdef" * 4


@pytest.fixture
def facts():
    sets = {"forget": 2, "retain": 1436, "test": 358}
    return {
        "entry": {
            "number": 7,
            "version": 7,
            "version_before": 6,
            "received": "2026-11-26T09:00:00+00:00",
            "completed": "2026-11-26T09:05:00+00:00",
            "reason": "consent withdrawn <script>alert(1)</script>",
            "reference": "T-12",
            "erased": {"named": ["a/1.png"], "groups": [], "copies": ["b/2.png"]},
            "ids_hash": HASH,
            "method": "sisa",
            "state": {"before": HASH, "after": HASH},
            "weights": {"before": HASH, "after": HASH},
            "package": "0.1.0",
            "revision": "abc",
        },
        "previous": HASH,
        "answered_together": 3,
        "deployment": {
            "name": "clinic",
            "created": "2026-01-01T00:00:00+00:00",
            "data": "folder:/data",
            "model": "resnet18",
            "imported": False,
        },
        "erased": {"train": 2, "validation": 0, "test": 0},
        "left": {"train": 1436, "validation": 0, "test": 358},
        "unknown": ["zz"],
        "gone": {"c/3.png": 4},
        "kept": 0,
        "paper": "arXiv:1912.03817",
        "kind": "exact",
        "constants": {"sisa": {"shards": 5, "slices": 5}},
        "work": "2 of 5 shards were trained again.",
        "guarantee": "Exact: bit for bit.",
        "seconds": 12.5,
        "measured": {
            "accuracy": {
                name: {"examples": count, "before": 0.5, "after": None}
                for name, count in sets.items()
            },
            "losses": [
                {
                    "id": "a/1.png",
                    "before": 0.1,
                    "after": 1e-7,
                    "percentile_before": 3.0,
                    "percentile_after": 60.0,
                }
            ],
            "compared_with": 36,
            "mean_percentile": [3.0, 60.0],
            "attack": {"before": 0.7, "after": 0.5, "null_sd": 0.03},
        },
        "not_shown": ["With one example no attack can be tested."],
        "depends": ["The data themselves."],
        "code": {"versions": {"jax": "0.10", "torch": None}, "device": "cpu"},
        "commands": {"verify": "launch.py verify", "purge": "launch.py purge"},
    }


def text_of(page):
    body = page.partition("<body>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_page_says_who_what_when_and_what_it_means(facts):
    text = text_of(request_page.render(facts))
    for part in (
        *("request 7", "clinic", "26 November 2026, 09:00 UTC", "T-12", "a/1.png"),
        *("b/2.png", "c/3.png", "by request 4", "zz", "2 other requests", "12.5 s"),
        *("2 of 5 shards", "Exact: bit for bit.", "50.0 %", "1e-07", "3 → 60"),
        *("0.70", "no attack can be tested", "The data themselves", HASH, "shards 5"),
        *("launch.py verify", "launch.py purge", "Signature", "jax 0.10", "cpu"),
        *("consent withdrawn &lt;script&gt;", "arXiv:1912.03817"),
    ):
        assert part in text, part


def test_the_page_is_one_file_without_scripts(facts):
    page = request_page.render(facts)
    assert "<script" not in page and "src=" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_a_missing_fact_is_an_error(facts):
    for name in facts:
        less = copy.deepcopy(facts)
        del less[name]
        with pytest.raises((jinja2.UndefinedError, KeyError, TypeError)):
            request_page.render(less)


def test_many_ids_are_cut_and_counted(facts):
    facts["entry"]["erased"]["named"] = [f"id{i:03}" for i in range(100)]
    text = text_of(request_page.render(facts))
    assert "id059" in text and "id060" not in text and "41 more" in text
