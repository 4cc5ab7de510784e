"""Deletions with a certificate: the smoke preset, and what it refuses."""

import pytest

from experiments import certified_deletions
from unlearn.errors import InputError
from unlearn.report import csv_files


@pytest.mark.slow
def test_experiment(tmp_path):
    config = certified_deletions.get_config("smoke")
    found = certified_deletions.run(config, tmp_path)
    rows = csv_files.read_csv(tmp_path / "deletions.csv")
    spent = [row["spent"] for row in rows]
    assert [row["deletion"] for row in rows] == list(range(1, 11))
    assert spent == sorted(spent) and spent[0] > 0 and spent[-1] == found["spent"] < 1
    assert 0 < found["residual"] < found["bound"] and found["solved"] == 0
    assert found["after"] == pytest.approx(found["refitted"], abs=0.04)
    text = (tmp_path / "summary.md").read_text()
    assert "| budget spent, % |" in text and "does not cover the net" in text
    assert (tmp_path / "figures" / "budget.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data.public": 0}, "leave more than the deletions of the 1,200"),
        ({"deletions": 1100}, "leave more than the deletions of the 1,200"),
        ({"certified.epsilon": 2.0}, "epsilon must lie in"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    tmp_path, changes, words
):
    config = certified_deletions.get_config("smoke")
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        certified_deletions.run(config, tmp_path)
    assert not list(tmp_path.iterdir())
