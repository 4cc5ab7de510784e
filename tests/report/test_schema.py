"""The schema of the facts names whatever is wrong."""

import re

import pytest
from page_facts import EMPTY, make_facts, one_example, released
from page_models import cell
from page_tree import leaves

from unlearn.errors import InputError
from unlearn.report import schema


def dotted(path):
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return text.lstrip(".")


OPEN = (
    "versions",
    "study_models",
    "settings",
    "constants",
    "cells",
    "terms",
)  # any keys
OPTIONAL = {"digits", "copies"}


def test_check_names_whatever_is_missing_or_of_another_type():
    facts = schema.plain(released(make_facts(1)))
    shortened = "checkpoints", "doses", "exposed", "left_behind", "figures", "models"
    for name in shortened:
        facts[name] = facts[name][-1:]
    facts["tables"] = facts["tables"][1:]
    schema.check(facts)
    schema.check(EMPTY)
    schema.check(one_example(make_facts()))
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
            schema.check(facts)
        any_key = steps and steps[-1] in OPEN
        if isinstance(parent, dict) and last not in OPTIONAL and not any_key:
            del parent[last]
            with pytest.raises(InputError, match=f"lack {re.escape(dotted(path))} "):
                schema.check(facts)
        parent[last] = value
        seen += 1
    assert seen > 150


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("schema", 3, "schema is 3, not 4"),
        ("schema", True, "schema is True, not 4"),
        ("run.seeds", 5.0, "run.seeds is 5.0, not a whole number"),
        ("run.seeds", True, "run.seeds is True, not a whole number"),
        ("run.sedes", 5, "run.sedes is 5, not a field of the schema"),
        ("run.seconds", "NaN", "run.seconds is 'NaN', not a number or null or"),
        ("run.revision", 7, "run.revision is 7, not a string"),
        ("released", "ssd/0", "released is 'ssd/0', not an object"),
        ("models.5.stress", [], r"models\[5\].stress is \[\], not an object"),
        ("models.0.leak", 0.6, r"models\[0\].leak is 0.6, not an object"),
        ("document.due", None, "document.due is None, not a string"),
        ("left_behind.0.advice", "burn", "is 'burn', not 'delete' or 'keep'"),
        ("conclusive", 1, "conclusive is 1, not true or false"),
        ("created", "yesterday", "created is 'yesterday', not a time of ISO 8601"),
        ("created", "2026-11-21T16:19:00", "not a time of ISO 8601 with its offset"),
        (
            "models.0.verdict",
            "wihtin",
            "not 'within' or 'outside' or 'inconclusive' or",
        ),
        ("models.1.because", "one", r"models\[1\].because is 'one', not a list"),
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
        schema.check(facts)
    assert "\n" not in str(caught.value)
