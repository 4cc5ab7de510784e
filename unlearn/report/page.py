"""The evidence page of a run: `report.html`, and the same facts as `report.json`.

The page is one file for people, with no script and nothing to load, and says only what
is in the facts: `render(json.loads(report.json), figures)` makes it again, byte for
byte. What the facts are is in `schema`.
"""

import base64
import functools
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import jinja2
import markupsafe

from unlearn.errors import InputError
from unlearn.report.model_order import marked
from unlearn.report.schema import OVERVIEW, check, plain
from unlearn.store import write_json, write_text


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
    """Makes the page from facts and the PNG files of its figures by their `file`.

    Raises:
      InputError: see `check`, or a figure is missing or not a PNG.
    """
    facts = plain(facts)
    check(facts)
    checkpoints = {}
    for one in facts["checkpoints"]:
        checkpoints.setdefault(one["model"], []).append(one)
    shown = [one | _image(one["file"], figures) for one in facts["figures"]]
    overview = [one for one in shown if one["file"] == OVERVIEW]
    return (
        environment()
        .get_template("page.html")
        .render(
            **facts,
            rows=marked(facts["models"]),
            overview=overview[0] if overview else None,
            others=[one for one in shown if one not in overview],
            checkpoints_of=checkpoints,
            rate_of={one["model"]: one for one in facts["rates"]},
        )
    )


# Figures


def _read(path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}, a figure of the page: {reason}") from error


def as_image(path: Path) -> dict:
    """Returns a PNG file as a data URI, with its size in CSS pixels.

    Raises:
      InputError: it cannot be read, or is not a PNG.
    """
    return _image(str(path), {str(path): _read(path)})


def _image(name, figures) -> dict:
    """A figure as a data URI; its size, and its least legible width, in CSS pixels."""
    from unlearn.report.plotting import DPI

    data = figures.get(name)
    if data is None or data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        what = "was not given" if data is None else "is not a PNG"
        raise InputError(f"{name}, a figure of the page, {what}")
    sizes = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    width, height = (round(size * 96 / DPI) for size in sizes)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    narrowest = round(0.55 * width)
    return {"uri": uri, "width": width, "height": height, "narrowest": narrowest}


# Text


@functools.cache
def environment() -> jinja2.Environment:
    """Makes the environment of this folder's templates, with the filters below."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = [number, percent, interval, size, duration, constant, moment]
    filters += [is_text, prose, breakable, unbroken]
    made.filters |= {one.__name__: one for one in filters}
    return made


def number(value: float | str | None, digits: int = 2) -> str:
    """Writes a number, or the text that stands in its place; an en dash for none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return {"Infinity": "∞", "-Infinity": "−∞"}.get(value, value)
    text = f"{value:.{digits}f}" if abs(value) < 1e9 else f"{value:.{digits}e}"
    if text.startswith("-"):
        text = text[1:] if not float(text) else f"−{text[1:]}"
    return text


def percent(share: float | str | None, digits: int = 1) -> str:
    """Writes a share in percent, without the sign of percent."""
    return number(100 * share if isinstance(share, (int, float)) else share, digits)


def interval(cell: Mapping, digits: int = 2, factor: float = 1.0) -> markupsafe.Markup:
    """Writes a value times `factor`, and smaller its interval if it has one."""

    def shown(key):
        value = cell[key]
        scaled = value * factor if isinstance(value, (int, float)) else value
        return number(scaled, digits)

    text = markupsafe.escape(shown("value"))
    if cell["low"] is None and cell["high"] is None:
        return text
    ends = f"[{shown('low')},{shown('high')}]"
    return text + markupsafe.Markup(' <span class="interval">{}</span>').format(ends)


def size(count: int) -> str:
    """Writes a number of bytes as `512 B`, `3.4 kB` or `102 MB`."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.{0 if unit == 'B' or value >= 99.95 else 1}f} {unit}"


def duration(seconds: float | str | None) -> str:
    """Writes seconds as `0.05 s`, `2 min 5 s` or `1 h 10 min`."""
    if not isinstance(seconds, (int, float)):
        return number(seconds)
    if seconds < 100:
        return f"{seconds:.{2 if seconds < 10 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def constant(value: object) -> str:
    """Writes a setting as it is given: a list in parentheses."""
    if isinstance(value, list):
        return f"({', '.join(map(constant, value))})"
    return str(value)


def prose(text: str) -> markupsafe.Markup:
    """Marks arXiv numbers and addresses in a text as links, and `...` as code."""

    def mark(match):
        shown = match[0]
        if shown[0] == "`":
            return f"<code>{shown[1:-1]}</code>"
        address = shown.replace("arXiv:", "https://arxiv.org/abs/")
        return f'<a href="{address}">{shown}</a>'

    pattern = r"`[^`]+`|arXiv:\d{4}\.\d{4,5}|https://[\w./?=%#~+-]*[\w/]"
    return _marked(pattern, mark, text)


def breakable(name: str) -> markupsafe.Markup:
    """Lets a name be broken after an underscore or a plus."""
    return _marked(r"[_+](?=.)", r"\g<0><wbr>", name)


def unbroken(command: str) -> markupsafe.Markup:
    """Keeps the dashes of an option and its name on one line of a command."""
    return _marked(r"(?<!\S)--\w", r"<span>\g<0></span>", command)


def _marked(pattern, markup, text) -> markupsafe.Markup:
    return markupsafe.Markup(re.sub(pattern, markup, str(markupsafe.escape(text))))


def moment(created: str) -> str:
    """Writes a time of ISO 8601 as `21 November 2026, 16:19 UTC`."""
    time = datetime.fromisoformat(created)
    return f"{time.day} {time:%B %Y, %H:%M %Z}"


def is_text(column: Mapping, rows: Sequence[Mapping]) -> bool:
    """Says whether a column has words; otherwise it has numbers, or nothing."""
    values = (row["cells"].get(column["key"], {}).get("value") for row in rows)
    return any(isinstance(one, str) and number(one) == one for one in values)
