"""`README.md` of the methods is what the registries say."""

from pathlib import Path

import pytest

import unlearn.methods
from unlearn import training_time
from unlearn.methods import METHODS
from unlearn.methods.__main__ import EXAMPLE, page

README = Path(unlearn.methods.__file__).with_name("README.md")


def test_the_file_is_what_the_generator_prints():
    assert README.read_text() == page(), (
        "run: python -m unlearn.methods > unlearn/methods/README.md"
    )
    assert EXAMPLE.strip() in page()


@pytest.mark.parametrize("name", [*METHODS, *training_time.METHODS])
def test_every_method_has_its_row(name):
    (row,) = [line for line in page().splitlines() if line.startswith(f"| `{name}` |")]
    info = METHODS.get(name) or training_time.METHODS[name]
    assert row.endswith(f"| {info.differs} |")
    for paper in info.paper.split():
        assert paper.strip(",") in row
    if name in METHODS:
        for need in info.needs:
            assert need.removeprefix("forget_") in row
        assert ("| yes |" in row) == info.ascends
    else:
        assert f"| {info.guarantee} |" in row
