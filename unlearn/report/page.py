"""The evidence page of a run: `report.html`, and the same facts as `report.json`.

The page is one file for people, with no script and nothing to load, and says only what
is in the facts: `render(json.loads(report.json), figures)` makes it again, byte for
byte. `Facts` below is the schema of `report.json`, version `SCHEMA`, and `check` reads
it: every field is there (`NotRequired` ones may be left out) and no other is. JSON
knows no NaN and no infinity: a number that does not exist is null, an infinite one
the string "Infinity" or "-Infinity". Keys are sorted.
"""

import base64
import math
import re
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import (
    Literal,
    NotRequired,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import jinja2
import markupsafe
import numpy as np

from unlearn.errors import InputError
from unlearn.store import write_json, write_text

SCHEMA = 1

# The schema of report.json

Number = float | None | Literal["Infinity", "-Infinity"]
Constant = str | bool | float | None
Outcome = Literal["fail", "pass", "inconclusive"]


class Request(TypedDict):  # what was asked
    reason: str  # as given by whoever asked
    kind: Literal["random", "class", "indices"]
    examples: int  # how many are to be forgotten
    classes: list[str]  # their classes where these were named, otherwise empty
    sha256: str  # of their indices: `store.array_hash` of an int64 array


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
    settings: dict[str, Constant | list[Constant]]  # all, by the names of their flags
    seeds: int  # training seeds: an original and a retrained model each
    shadow_models: int  # trained only to calibrate the attacks
    versions: dict[str, str]  # package: version
    device: str
    backend: str
    git_revision: str | None  # with + if files had changed since
    seconds: Number  # of the last start: a run goes on where it was stopped


class Checkpoint(TypedDict):
    model: str  # original, retrain or a method
    seed: int
    sha256: str  # `store.tree_hash` of its variables


class Method(TypedDict):
    name: str
    paper: str  # arXiv:2304.04934 and https://... become links
    faithful: str  # "yes", or what is not as in the paper
    constants: dict[str, Constant | list[Constant]]
    seconds: Number  # the method alone
    speedup: Number  # seconds of retraining / seconds
    # within: each deciding interval is within its tolerance; outside: one is outside;
    # inconclusive: neither
    verdict: Literal["within", "outside", "inconclusive"]
    because: list[str]  # sentences with the deciding numbers
    # About how many would settle an inconclusive verdict, with as many times the
    # examples.
    models_needed: int | None


class Control(TypedDict):  # a model of which the right outcome is known
    name: str
    what: str
    expected: Literal["fail", "pass"]
    outcome: Outcome
    because: str


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
    file: str  # PNG, relative to the folder
    title: str
    caption: str  # says what is to be seen, also to those who cannot see it


class Facts(TypedDict):
    schema: Literal[1]
    title: str
    created: str  # ISO 8601 with its offset from UTC
    request: Request
    data: Data
    run: Run
    checkpoints: list[Checkpoint]
    conclusive: bool  # whether the run can decide: the original fails, retrain passes
    conclusion: str  # one plain sentence
    methods: list[Method]
    controls: list[Control]
    tables: list[Table]
    figures: list[Figure]
    not_guaranteed: list[str]
    terms: dict[str, str]  # word: meaning


# Writing


def write(folder: Path, facts: Mapping) -> None:
    """Writes `report.json` and `report.html` into a folder, each whole or not at all.

    The figures are read from the folder. NaN, infinities, tuples and numpy numbers may
    be among the facts.

    Raises:
      InputError: a fact is missing or of another type, a figure cannot be read, or a
        file cannot be written.
    """
    folder, facts = Path(folder), plain(facts)
    check(facts)
    figures = {figure["file"]: folder / figure["file"] for figure in facts["figures"]}
    text = render(facts, {name: _read(path) for name, path in figures.items()})
    write_json(folder / "report.json", facts)
    write_text(folder / "report.html", text)


def render(facts: Mapping, figures: Mapping[str, bytes]) -> str:
    """The page, from facts and the PNG files of its figures by their `file`.

    Raises:
      InputError: see `check`, or a figure is missing or not a PNG.
    """
    facts = plain(facts)
    check(facts)
    checkpoints = {}
    for one in facts["checkpoints"]:
        checkpoints.setdefault(one["model"], []).append(one)
    images = [_image(one["file"], figures) for one in facts["figures"]]
    template = _environment().get_template("page.html")
    return template.render(**facts, checkpoints_of=checkpoints, images=images)


def plain(value):
    """`value` as JSON can say it: see the module for NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value)
    return value


# Checking


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
    if is_typeddict(kind):
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


# Figures


def _read(path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}, a figure of the page: {reason}") from error


def _image(name, figures) -> dict:
    """A figure as a data URI; its size, and its least legible width, in CSS pixels."""
    from unlearn.report.figures import DPI

    data = figures.get(name)
    if data is None or data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        what = "was not given" if data is None else "is not a PNG"
        raise InputError(f"{name}, a figure of the page, {what}")
    sizes = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    width, height = (round(size * 96 / DPI) for size in sizes)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"uri": uri, "width": width, "height": height, "least": round(0.55 * width)}


# Text


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = [number, duration, constant, moment, is_text]
    filters += [prose, breakable, unbroken]
    environment.filters |= {one.__name__: one for one in filters}
    return environment


def number(value, digits: int = 2) -> str:
    """A number, or the text that stands in its place; an en dash for none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return {"Infinity": "∞", "-Infinity": "−∞"}.get(value, value)
    text = f"{value:.{digits}f}" if abs(value) < 1e9 else f"{value:.{digits}e}"
    if text.startswith("-"):
        text = text[1:] if not float(text) else f"−{text[1:]}"
    return text


def duration(seconds) -> str:
    if not isinstance(seconds, (int, float)):
        return number(seconds)
    if seconds < 100:
        return f"{seconds:.{2 if seconds < 10 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def constant(value) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(constant, value))})"
    return str(value)


def prose(text: str) -> markupsafe.Markup:
    """Text with arXiv numbers and addresses as links, and what is in `...` as code."""

    def mark(match):
        shown = match[0]
        if shown[0] == "`":
            return f"<code>{shown[1:-1]}</code>"
        address = shown.replace("arXiv:", "https://arxiv.org/abs/")
        return f'<a href="{address}">{shown}</a>'

    pattern = r"`[^`]+`|arXiv:\d{4}\.\d{4,5}|https://[\w./?=%#~+-]*[\w/]"
    return _marked(pattern, mark, text)


def breakable(name: str) -> markupsafe.Markup:
    """A name that may be broken after an underscore or a plus."""
    return _marked(r"[_+](?=.)", r"\g<0><wbr>", name)


def unbroken(command: str) -> markupsafe.Markup:
    """A command that is not broken between the dashes of an option and its name."""
    return _marked(r"(?<!\S)--\w", r"<span>\g<0></span>", command)


def _marked(pattern, markup, text) -> markupsafe.Markup:
    return markupsafe.Markup(re.sub(pattern, markup, str(markupsafe.escape(text))))


def moment(created: str) -> str:
    time = datetime.fromisoformat(created)
    return f"{time.day} {time:%B %Y, %H:%M %Z}"


def is_text(column: Mapping, rows: Sequence[Mapping]) -> bool:
    """Whether a column has words; otherwise it has numbers, or nothing."""
    values = (row["cells"].get(column["key"], {}).get("value") for row in rows)
    return any(isinstance(one, str) and number(one) == one for one in values)
