"""What the page says."""

import math
from itertools import pairwise

import pytest
from page_facts import (
    EMPTY,
    FIGURES,
    REASON,
    make_facts,
    one_class,
    one_example,
    released,
    stretched,
    unknown,
)
from page_models import METHODS, cell
from page_tree import Tree, leaves

from unlearn.report import page, schema

MOST_WORDS = 1500  # before the annex


@pytest.fixture(scope="module")
def text():
    return page.render(stretched(make_facts()), FIGURES)


@pytest.fixture(scope="module")
def tree(text):
    return Tree(text)


def shown(facts):
    return Tree(page.render(facts, FIGURES)).text()


def main_rows(facts):
    """The rows of the table beside the verdict, as text."""
    text = page.render(facts, FIGURES)
    start = text.index('<table class="models')
    table = Tree(text[start : text.index("</table>", start)] + "</table>")
    return [" ".join(one["text"].split()) for one in table.all("tr")[2:]]


NOT_SHOWN = {"created", "key", "id", "kind", "verdict", "expected", "where"}
NOT_SHOWN |= {"forgetting", "utility", "why"}


def test_every_string_of_the_facts_is_on_the_page():
    facts = released(stretched(make_facts()))
    text = shown(facts)
    strings = 0
    for path, value in leaves(facts):
        sixth = path[-2:-1] == ("paths",) and path[-1] > 5
        of_figure = path[0] == "figures" and path[-1] == "file"
        hidden = sixth or of_figure or not NOT_SHOWN.isdisjoint(path)
        if isinstance(value, str) and not hidden:
            assert " ".join(value.split()) in text, path
            strings += 1
        if path[-2:-1] in (("versions",), ("terms",), ("constants",)):
            assert path[-1] in text
    assert strings > 150


def test_words_before_the_annex():
    for facts in (
        released(make_facts(4)),
        released(make_facts(32)),
        one_class(make_facts(32)),
        one_example(make_facts(32)),
    ):
        text = page.render(facts, FIGURES)
        start, end = text.index("<header>"), text.index('<section class="annex">')
        words = (
            Tree(
                f"<body>{text[start:end]}</main></body>".replace(
                    "<main>", "", 1
                ).replace("</main>", "", 1)
            )
            .text()
            .split()
        )
        assert 300 < len(words) <= MOST_WORDS


def test_a_row_a_model_by_verdict_then_leak_with_its_mark():
    rows = main_rows(make_facts(32))
    assert rows[0].startswith("original ✗outside ✗0.598 [0.594,0.602] 23.5 0.990")
    assert rows[1].startswith("retrain ✓within ✓0.501")
    assert [row.split()[0] for row in rows[2:]] == [
        *map(str, range(1, 33)),
        *("c1", "c2", "c3", "c4"),
    ]
    assert {row.split()[1] for row in rows[2:34]} == set(METHODS)
    signs = [row.split()[2][0] for row in rows[2:34]]
    ranks = ["✓?✗".index(sign) for sign in signs]
    assert ranks == sorted(ranks) and set(ranks) == {0, 1, 2}
    leaks = [float(row.split()[3][1:]) for row in rows[2:34]]
    assert all(
        one <= next_
        for (one, rank), (next_, same) in pairwise(zip(leaks, ranks, strict=True))
        if rank == same
    )


def test_a_row_holds_the_numbers_of_its_model():
    facts = make_facts()
    model = next(one for one in facts["models"] if one["name"] == "salun")
    model |= {
        "forgetting": "inconclusive",
        "utility": "outside",
        "leak": cell(0.5432, 0.01),
        "found": cell(0.0678),
        "whole": cell(0.7654, 0.1),
        "accuracy": cell(0.9123, 0.01),
        "lost": cell(-0.0456, 0.01),
    }
    model["stress"] |= {"leak": cell(0.9876, 0.01), "verdict": "outside"}
    (row,) = [row for row in main_rows(facts) if " salun " in row]
    assert row == (
        "3 salun ✗outside ?0.543 [0.533,0.553] 6.8 0.765 ✗91.2 −4.6 [−5.6,−3.6] ✗0.988"
    )
    model |= {"leak": cell(None), "found": cell(None), "stress": None}
    (row,) = [row for row in main_rows(facts) if " salun " in row]
    assert row == "4 salun ✗outside ? – 0.765 ✗91.2 −4.6 [−5.6,−3.6] –"


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
    text = tree.text()
    for one in (
        "21 November 2026, 16:19 UTC",
        "129 training examples of the classes below",
        "(10.0 % of all)",
        "1294 examples for training",
        "144 for validation, 359 for testing",
        "5 training seeds, and of each kind 66 in the request study, 126 in the shadow "
        "study, 128 in the stress study",
        "1 h 10 min",
        "with changes that were not committed",
        "learning_rate=0.01",
        "layers=(1, 2)",
        "head=True",
        "0.05 s, without compilation and evaluation; retraining takes 8.6 times as",
        "about 230 models, with as many times the examples",
        "train.epochs=30",
        "model.cnn.widths=(16, 32)",
        "6 of 6 came out as they must",
        "about 10 % of the original's leak at most (AUC 0.010, found 2.6 %, whole",
        "Of the requested examples the attack finds at most 67 in 100 with original",
        "; one in 12 with finetune",
        "points below retraining at most, and the worst class 5.0. ",
        "none with scrub",
        "2 of 4 methods pass: finetune, scrub.",
        "2 of 4 methods fail: salun, ssd.",
        "30 % left 0.534 [0.523,0.545] 7.8 [7.2,8.4] % 0.81 [0.78,0.84] ✗outside",
        "ssd 0.62 [0.51,0.73] 1669 scrub",
        "rm -r -- checkpoints/original",
        "14 200 MB delete",
    ):
        assert one in text


def test_controls_and_doses_that_came_out_wrong_are_named():
    facts = make_facts()
    facts["models"][1]["verdict"] = "inconclusive"
    facts["models"][2]["verdict"] = "within"
    facts["doses"][2]["verdict"] = "within"
    text = shown(facts)
    assert (
        "4 of 6 came out as they must. retrain must pass and is inconclusive, " in text
    )
    assert "no_op must fail and is within. Where the original passes" in text
    assert "✓within, must be outside" in text


def test_a_request_for_one_example_is_not_concluded():
    text = shown(one_example(make_facts()))
    assert "Verdict Not concluded. One example was requested: nothing is" in text
    assert "Can this audit tell? Not about this request. One example" in text
    assert "other forgotten examples, attacked in place of those requested" in text
    assert "Judged on none of 1 requested, too few; others in 126 models" in text
    assert "came out as they must" not in text
    assert "Of the other examples, attacked in place of those requested, the" in text
    assert "requested examples" not in text[: text.index("Request and released")]
    rows = main_rows(one_example(make_facts()))
    assert [row for row in rows if "–not concluded –0." in row]
    assert not [row for row in rows if "within" in row.split()[2]]


def test_without_a_leak_there_is_no_figure_of_it():
    facts = unknown(one_example(make_facts()))
    tree = Tree(page.render(facts, FIGURES))
    assert len(tree.all("img")) == len(FIGURES) - 1
    assert main_rows(facts)[0].startswith("original –not concluded – – – ✓96.3")
    assert "The attack finds" not in tree.text()


def test_a_run_that_cannot_decide_says_why():
    facts = make_facts() | {"conclusive": False, "why": "the original passes"}
    assert "Can this audit tell? No: the original passes." in shown(facts)
    assert "Can this audit tell? Models of known outcome" in shown(make_facts())


def test_sub_classes_are_named():
    facts = make_facts()
    facts["request"] |= {"kind": "subclass", "subclasses": ["rocket"]}
    text = shown(facts)
    assert "of the sub-classes below" in text and "rocket" in text


def test_a_class_request_has_no_planted_examples():
    text = shown(one_class(make_facts()))
    assert "whether its class was unlearned" in text
    assert "answers to the 129 requested examples from those of retrained" in text
    assert "Stress test: none in this audit." in text
    assert "Told from retrained is more than remembered: a method may fail" in text
    assert "answers of unlearned models, told from those of retrained ones" in text
    assert "Of the requested examples the attack" not in text
    assert "Told from retrained is more" not in shown(make_facts())
    assert (
        "in 126 models that all forgot just these, and as many retrained ones" in text
    )


def test_a_number_of_models_that_was_not_counted_further_is_more_than_it():
    facts = make_facts()
    assert "about 230 models" in shown(facts) and "more than 230" not in shown(facts)
    facts["models"][-1] |= {"models_needed": 14400, "capped": True}
    assert "To settle it more than 14,400 models, with as many times" in shown(facts)


def test_methods_that_only_forget_classes_are_not_stressed():
    facts = make_facts()
    facts["models"][-1]["stress"] = None
    text = shown(facts)
    assert "1 of 3 methods passes: scrub. 2 of 3 methods fail: salun, ssd." in text


def test_the_released_model_is_named_or_missed():
    assert "Released model None: set audit.release to the METHOD/SEED of" in shown(
        make_facts()
    )
    text = shown(released(make_facts()))
    assert "Released model None" not in text
    assert "finetune, seed 0: checkpoints/finetune/0/final, ✓within" in text
    assert f"export/finetune/0.safetensors {'5e' * 32}" in text


def test_the_document_is_filled_in_or_has_lines_to_write_on():
    empty = Tree(page.render(make_facts(), FIGURES))
    filled = Tree(page.render(released(make_facts()), FIGURES))
    count = [
        sum(one.get("class") == "blank" for one in tree.all("span"))
        for tree in (empty, filled)
    ]
    assert count == [7, 0]
    assert (
        "Residual risk accepted by value of residual_risk_accepted_by" in filled.text()
    )
    assert "Name and office Date Signature" in empty.text()


def test_files_to_delete_are_in_one_command():
    facts = make_facts()
    facts["left_behind"][1]["paths"] = ["studies", "'a b'"]
    text = shown(facts)
    assert "rm -r -- checkpoints/original studies 'a b' evaluations " in text
    assert "figures, 0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 11 more" in text


def test_only_outputs_are_said_to_be_judged(tree):
    assert "Only what the models answer is judged." in tree.text()
    assert "covers the model's weights" not in tree.text()


def test_markup_in_the_facts_is_text(text, tree):
    assert not tree.all("script")
    assert "&lt;script&gt;alert(" in text
    assert REASON in tree.text()
    assert tree.all("img")[0]["alt"].startswith(
        "What is to be seen 0. image/forget <&>"
    )


def test_markup_in_any_fact_is_text():
    evil = "<i x='\"'>&"
    facts = schema.plain(released(make_facts()))
    fixed = NOT_SHOWN - {"key", "why"} | {"value", "speedup", "advice", "file"}
    for path, value in list(leaves(facts)):
        if isinstance(value, str) and (
            fixed.isdisjoint(path) or path[-2:] == ("released", "file")
        ):
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


def test_page_without_models_tables_and_figures():
    text = Tree(page.render(EMPTY, {})).text()
    assert "Can this audit tell? No: " in text
    assert "Glossary" not in text and "Models of known outcome" not in text
