"""The report of one request to erase: a page to print and sign.

It has no script and nothing to load, and says only what is in the facts:
`render(json.loads(report.json))` makes it again, byte for byte.
"""

from collections.abc import Callable, Mapping
from typing import Any

from unlearn.report.page import environment

Spell = Callable[..., str]
"""`spell(name, folder, **options)`: how a function is called, as a line to paste."""
SHOWN = 60  # ids


def python_call(name: str, folder: str, **options: Any) -> str:
    """Spells a function of `unlearn.requests` as Python."""
    words = [repr(folder), *(f"{key}={value!r}" for key, value in options.items())]
    return f"unlearn.requests.{name}({', '.join(words)})"


def render(facts: Mapping) -> str:
    """Makes the page from the facts; see `unlearn.requests.facts.facts_of`."""
    ids = [one for ids in facts["entry"]["erased"].values() for one in ids]
    template = environment().get_template("request_page.html")
    return template.render(**facts, ids=ids, shown=SHOWN)
