"""The facts of a run's evidence page, as `report.json` holds them.

`Facts` below is the schema, version `SCHEMA`, and `check` reads it: every field is
there (`NotRequired` ones may be left out) and no other is. JSON knows no NaN and no
infinity: a number that does not exist is null, an infinite one the string "Infinity" or
"-Infinity". Texts are valid Unicode. Keys are sorted.
"""

import math
import re
import types
from collections.abc import Mapping
from datetime import datetime
from typing import (
    Any,
    Literal,
    NotRequired,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import numpy as np

from unlearn.errors import InputError
from unlearn.report.text import encodable

SCHEMA = 4

Number = float | None | Literal["Infinity", "-Infinity"]
Constant = str | bool | float | None
Verdict = Literal["within", "outside", "inconclusive", "not concluded"]


class Interval(TypedDict):
    value: Number
    low: Number  # 95 % interval
    high: Number


class Request(TypedDict):  # to be forgotten
    reason: str  # in the words of the person who requests it
    kind: Literal["random", "class", "subclass", "ids"]
    examples: int  # how many are to be forgotten
    classes: list[str]  # their classes where these were named, otherwise empty
    subclasses: list[str]  # their second labels, likewise
    copies: NotRequired[list[str]]  # lines on exact copies of them in other sets
    salted_sha256: str  # of their indices, see `audit.facts.salted_hash`
    salt_file: str  # in the folder of the run


class Data(TypedDict):
    name: str
    sha256: str
    train: int  # examples; the ones to forget are among them
    validation: int
    test: int


class Run(TypedDict):
    experiment: str
    preset: str
    command: str  # that makes this page again
    settings: dict[str, Constant | list[Constant]]  # all, as train.epochs
    seeds: int  # training seeds: an original and a retrained model each
    study_models: dict[str, int]  # by study that was made: models of each kind
    versions: dict[str, str]  # package: version
    device: str
    backend: str
    revision: str  # of this package; with + if files had changed; or its version
    seconds: Number  # of the last start: a run goes on where it was stopped


class Checkpoint(TypedDict):
    model: str  # original, retrain or a method
    seed: int
    sha256: str  # `store.tree_hash` of its variables


class Released(TypedDict):  # the checkpoint that is put to use
    model: str
    seed: int
    path: str  # in the folder of the run
    sha256: str  # as of a `Checkpoint`
    file: str  # its weights for others, in the folder of the run; may be empty
    file_sha256: str  # of the bytes of that file; empty without it


class Document(TypedDict):  # who answers for the page; empty: filled in by hand
    reference: str  # the requester's
    received: str
    due: str
    run_by: str
    reviewed_by: str
    residual_risk_accepted_by: str
    next_review: str


class LeftBehind(TypedDict):  # files of the run that hold something of the data
    what: str
    paths: list[str]  # in the folder of the run, as a shell takes them
    files: int
    bytes: int
    advice: Literal["delete", "keep"]
    why: str


class Stress(TypedDict):  # planted examples: training examples with a wrong label
    leak: Interval
    found: Interval
    verdict: Verdict
    because: list[str]


class WorstClass(TypedDict):
    name: str
    value: Number  # test accuracy minus that of retraining: a share, as `lost`
    low: Number
    high: Number


class Model(TypedDict):
    name: str
    kind: Literal["reference", "control", "method"]
    what: str  # one sentence, may be empty
    expected: Literal["pass", "fail"] | None  # the outcome that is known; None: none
    paper: str | None  # arXiv:2304.04934 and https://... become links
    differs: str | None  # "yes" or empty: as in the paper
    constants: dict[str, Constant | list[Constant]]
    seconds: Number  # the method alone
    speedup: Number  # seconds of retraining / seconds
    leak: Interval  # AUC of the strongest attack on the requested examples
    attack: str  # its name
    found: Interval  # true positive rate at 1 % false alarms, a share
    whole: Interval  # AUC of the attack on a model's whole forgotten set
    accuracy: Interval  # on the test set, a share
    lost: Interval  # accuracy minus that of retraining, a share
    worst_class: WorstClass | None
    # within: every deciding interval is within its tolerance; outside: one is outside;
    # inconclusive: neither; not concluded: this audit cannot judge it
    forgetting: Verdict
    utility: Verdict
    verdict: Verdict  # of both
    # About how many would settle an inconclusive verdict, with as many times the
    # examples.
    models_needed: int | None
    capped: bool  # whether it is more than `models_needed`
    because: list[str]  # sentences with the deciding numbers
    stress: Stress | None


class Dose(TypedDict):  # retraining, but a share of the examples left as they were
    name: str
    leak: Interval
    found: Interval
    whole: Interval
    verdict: Verdict
    expected: Literal["within", "outside"] | None  # None: no matter


class Tolerances(TypedDict):  # above guessing (0.5, 0.01, 0.5), below retraining
    leak: Number
    found: Number
    whole: Number
    utility: Number
    worst_class: Number


class Judged(TypedDict):
    where: Literal["shadow", "request"]  # the study of the requested examples
    examples: int  # of the requested ones that were attacked
    requested: int
    tolerance: float  # share of the original's leak that counts as none
    tolerances: Tolerances
    models: int
    stress_models: int
    enough: bool  # whether so few examples can be judged at all
    note: str  # a sentence, may be empty


class Exposed(TypedDict):  # one of the requested examples
    id: str  # as the user names it
    model: str
    advantage: Interval  # of the attack over guessing, on this example


class Rate(TypedDict):
    model: str
    at_most: str  # "one in 12", "67 in 100", "none": what is found, interval included
    at: float  # share of false alarms


class Column(TypedDict):
    key: str
    label: str
    unit: str  # of the cells: "%" means that 98.6 is 98.6 %; may be empty
    help: str  # what it is and how to read it; may be empty
    digits: NotRequired[int]  # after the point, 2 if left out


class Cell(TypedDict):
    value: Number | str
    low: Number  # 95 % interval
    high: Number


class Row(TypedDict):
    model: str
    kind: Literal["control", "method", "floor"]
    cells: dict[str, Cell]  # by key of the column; one left out does not exist


class Table(TypedDict):
    id: str  # letters, digits, - and _; no two alike
    title: str
    note: str  # may be empty
    columns: list[Column]
    rows: list[Row]


class Figure(TypedDict):
    file: str  # PNG, relative to the folder; `OVERVIEW` is shown beside the verdict
    title: str
    caption: str  # says what is to be seen, also to those who cannot see it


OVERVIEW = "figures/leak_against_accuracy.png"


class Facts(TypedDict):
    schema: Literal[4]
    title: str
    created: str  # ISO 8601 with its offset from UTC
    conclusive: bool  # whether this run can decide about the request
    why: str  # or why not
    conclusion: str  # plain sentences about the request
    models: list[Model]  # original, retrain, the controls, then the methods
    doses: list[Dose]
    judged: Judged
    exposed: list[Exposed]  # the most exposed first
    rates: list[Rate]
    request: Request
    released: Released | None  # None: none is named
    document: Document
    left_behind: list[LeftBehind]
    data: Data
    run: Run
    checkpoints: list[Checkpoint]
    tables: list[Table]
    figures: list[Figure]
    threat: list[str]  # sentences: what the attacker has, knows and does
    not_guaranteed: list[str]
    terms: dict[str, str]  # word: meaning


def plain(value: Any) -> Any:
    """Converts facts to what JSON can say: see the module for NaN and infinities."""
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value)
    return value


def check(facts: Mapping) -> None:
    """Checks facts against the schema.

    Raises:
      InputError: names the first field that is missing, of another type or unknown.
    """
    facts = plain(facts)
    _check("", facts, Facts)
    try:
        offset = datetime.fromisoformat(facts["created"]).utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise _wrong("created", facts["created"], "a time of ISO 8601 with its offset")
    ids = set()
    for i, table in enumerate(facts["tables"]):
        where, name = f"tables[{i}]", table["id"]
        if name in ids or not re.fullmatch(r"[\w-]+", name, re.ASCII):
            raise _wrong(f"{where}.id", name, "letters, digits, - and _, used once")
        ids.add(name)
        keys = [column["key"] for column in table["columns"]]
        for j, row in enumerate(table["rows"]):
            for key, cell in row["cells"].items():
                path = f"{where}.rows[{j}].cells.{key}"
                _expect(key in keys, path, cell, f"in a column: {', '.join(keys)}")


def _check(where, value, kind) -> None:
    origin, parts = get_origin(kind), get_args(kind)
    if types.NoneType in parts and is_typeddict(parts[0]):  # an object or null
        if value is not None:
            _check(where, value, parts[0])
    elif is_typeddict(kind):
        _expect(isinstance(value, Mapping), where or "facts", value, "an object")
        fields = get_type_hints(kind)
        for name, of in fields.items():
            path = f"{where}.{name}".lstrip(".")
            if name in value:
                _check(path, value[name], of)
            elif name in kind.__required_keys__:
                raise InputError(f"the report's facts lack {path} ({_kind(of)})")
        for name in value:
            path = f"{where}.{name}".lstrip(".")
            _expect(name in fields, path, value[name], "a field of the schema")
    elif origin is list:
        _expect(isinstance(value, list), where, value, _kind(kind))
        for i, one in enumerate(value):
            _check(f"{where}[{i}]", one, parts[0])
    elif origin is dict:
        _expect(isinstance(value, Mapping), where, value, _kind(kind))
        for key, one in value.items():
            _expect(isinstance(key, str), where, key, "a name")
            _check(f"{where}.{key}", one, parts[1])
    else:
        _expect(_fits(value, kind), where, value, _kind(kind))


def _fits(value, kind) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in parts)
    if origin is list:
        return isinstance(value, list) and all(_fits(x, parts[0]) for x in value)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is kind


def _kind(kind) -> str:
    """A type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in parts)
    if origin is Literal:
        return " or ".join(repr(one) for one in parts)
    if origin is list:
        return "a list"
    names = {str: "a string", int: "a whole number", float: "a number"}
    names |= {bool: "true or false", types.NoneType: "null"}
    return names.get(kind, "an object")


def _expect(right, where, value, kind) -> None:
    if not right:
        raise _wrong(where, value, kind)


def _wrong(where, value, kind) -> InputError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return InputError(f"the report's facts: {where} is {shown}, not {kind}")
