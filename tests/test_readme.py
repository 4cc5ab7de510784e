"""The README names what there is: methods with their needs, and experiments."""

from pathlib import Path

import pytest

from unlearn.exact import EXACT
from unlearn.methods import METHODS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", [*METHODS, *EXACT])
def test_every_method_has_its_row(name):
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}` |")]
    info = METHODS.get(name) or EXACT[name]
    assert row.endswith(f"| {'yes' if info.faithful is True else info.faithful} |")
    for paper in info.paper.split():
        assert paper.strip(",") in row
    if name in METHODS:
        for need in info.needs:
            assert need.removeprefix("forget_") in row


def test_every_experiment_is_in_the_table():
    for path in ROOT.glob("experiments/[a-z]*.py"):
        assert f"| `{path.stem}`" in README
