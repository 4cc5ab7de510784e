"""What changes the hash of a user's file, and what does not."""

import pytest

from unlearn import own_sources

METHOD = """
from unlearn.methods import method
import numpy, inner
from package import part

SCALE = 2

@method(needs=("retain",), paper="mine")
def mine(key, variables, problem):
    return inner.scale(variables), {}
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "part.py").write_text(
        "from . import deep\nfrom package.far import X\n"
    )
    (tmp_path / "package" / "far.py").write_text("X = 1\n")
    (tmp_path / "package" / "deep.py").write_text("X = 1\n")
    (tmp_path / "inner.py").write_text("import mine\ndef scale(x): return x\n")
    (tmp_path / "stranger.py").write_text("X = 1\n")
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", METHOD.replace("SCALE = 2", "SCALE = 3")),
        ("mine.py", METHOD.replace("{}", "{'x': 1}")),
        ("inner.py", "import mine\ndef scale(x): return 2 * x\n"),
        ("package/deep.py", "X = 2\n"),
        ("package/far.py", "X = 2\n"),
        ("package/__init__.py", "X = 2\n"),
    ],
)
def test_code_and_what_it_imports_count(file, name, text):
    before = own_sources.hash_of(file, "mine")
    (file.parent / name).write_text(text)
    assert own_sources.hash_of(file, "mine") != before


def test_another_method_that_is_called_counts(file):
    used = METHOD.replace("return inner", "return other(inner)")
    texts = [
        text + f"\n@method(needs=())\ndef other(key): return {number}\n"
        for text in (used, METHOD)
        for number in (1, 2)
    ]
    found = []
    for text in texts:
        file.write_text(text)
        found.append(own_sources.hash_of(file, "mine"))
    assert found[0] != found[1] and found[2] == found[3]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.py", METHOD + "\n# a remark\n\n"),
        ("mine.py", METHOD + "\n@method(needs=())\ndef other(key): pass\n"),
        ("mine.py", METHOD + "\n@u.methods.method(needs=())\ndef other(key): pass\n"),
        ("mine.py", METHOD + "\ndef get_config(preset): return 1\n"),
        ("stranger.py", "X = 2\n"),
    ],
)
def test_remarks_other_methods_and_strangers_do_not(file, name, text):
    before = own_sources.hash_of(file, "mine")
    (file.parent / name).write_text(text)
    assert own_sources.hash_of(file, "mine") == before
