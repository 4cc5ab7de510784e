"""Public functions of the package: annotated, and with a docstring that is a sentence.

Public is what has no leading underscore, in a module or in a public class; functions
inside of functions are left out. Only the sources are read, nothing is imported.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import unlearn

ROOT = Path(unlearn.__file__).parent
LONGEST_WITHOUT_DOCSTRING = 5  # lines
CALLED = ("__init__", "__call__")  # annotated as well; the class says what they do
FRAGMENTS = re.compile(
    r"\W*(after|and|as|at|because|before|between|beyond|but|by|during|for|from|if|in|into"
    r"|like|not|of|on|onto|or|over|per|since|so|than|that|then|through|to|under|until|up"
    r"|when|where|whether|which|while|who|whose|with|within|without)\b",
    re.IGNORECASE,
)
"""A docstring that begins with one of these hangs on the function's name."""


def sources() -> list[Path]:
    """Returns the package's files, without experiments that an installation adds."""
    apart = ROOT / "experiments"
    return [p for p in sorted(ROOT.rglob("*.py")) if apart not in p.parents]


def public(body: list[ast.stmt], in_class: bool = False) -> Iterator[ast.FunctionDef]:
    """Yields the public functions of a module or class, and those in `CALLED`."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            if not node.name.startswith("_") or (in_class and node.name in CALLED):
                yield node
        elif isinstance(node, ast.ClassDef):
            if not node.name.startswith("_"):
                yield from public(node.body, in_class=True)
        elif isinstance(node, ast.If | ast.Try):
            yield from public(node.body, in_class)
            yield from public(node.orelse, in_class)


def arguments(node: ast.FunctionDef) -> list[ast.arg]:
    """Returns all arguments of a function but `self` and `cls`."""
    of = node.args
    every = [*of.posonlyargs, *of.args, of.vararg, *of.kwonlyargs, of.kwarg]
    return [arg for arg in every if arg and arg.arg not in ("self", "cls")]


def unannotated(node: ast.FunctionDef) -> list[str]:
    """Names the arguments that have no annotation, and `return`."""
    found = [arg.arg for arg in arguments(node) if arg.annotation is None]
    if node.returns is None and node.name != "__init__":
        found.append("return")
    return found


def other_configs(node: ast.FunctionDef) -> list[str]:
    """Names arguments `config` that are that are neither a ConfigDict nor a dict."""
    return [
        f"config: {ast.unparse(arg.annotation)}"
        for arg in arguments(node)
        if arg.arg == "config"
        and arg.annotation
        and not re.search(r"\b(ConfigDict|dict)\b", ast.unparse(arg.annotation))
    ]


def fault(node: ast.FunctionDef) -> str | None:
    """Says what is wrong with a docstring."""
    text = ast.get_docstring(node)
    if not text:
        lines = (node.end_lineno or 0) - node.lineno + 1
        return "no docstring" if lines > LONGEST_WITHOUT_DOCSTRING else None
    first = text.splitlines()[0]
    if not first.endswith((".", ":", "?")):
        return f"no sentence in the first line: {first}"
    if FRAGMENTS.match(first):
        return f"a fragment: {first}"
    return None


def report(check: Callable) -> list[str]:
    """Lists `file:line function(what is wrong)` for each public function."""
    found = []
    for path in sources():
        place = path.relative_to(ROOT.parent)
        for node in public(ast.parse(path.read_text(encoding="utf-8")).body):
            wrong = check(node)
            if wrong:
                wrong = wrong if isinstance(wrong, str) else ", ".join(wrong)
                found.append(f"{place}:{node.lineno} {node.name}({wrong})")
    return found


def none(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def test_public_functions_annotate_arguments_and_result():
    none(report(unannotated))


def test_a_config_is_a_config_dict():
    none(report(other_configs))


def test_docstrings_begin_with_a_sentence():
    none(report(lambda node: None if node.name in CALLED else fault(node)))


def test_what_is_found():
    text = '''
def good(a: int, *, b: str = "") -> None:
    """Does something."""

def bad(a, *rest, b=1, **options):
    """Of a model of the run, what is bad."""

def long(a: int) -> int:
    a += 1
    a += 1
    a += 1
    a += 1
    return a

def _private(a): ...

class Public:
    def __init__(self, a): ...

    def method(self, config: object) -> None:
        """Runs over
        two lines."""

class _Private:
    def method(self, a): ...
'''
    nodes = list(public(ast.parse(text).body))
    assert {n.name: unannotated(n) for n in nodes} == {
        "good": [],
        "bad": ["a", "rest", "b", "options", "return"],
        "long": [],
        "__init__": ["a"],
        "method": [],
    }
    faults = {n.name: fault(n) for n in nodes if fault(n)}
    assert faults == {
        "bad": "a fragment: Of a model of the run, what is bad.",
        "long": "no docstring",
        "method": "no sentence in the first line: Runs over",
    }
    assert other_configs(nodes[-1]) == ["config: object"]
