"""What a certificate costs: the smoke preset, and what it refuses."""

import numpy as np
import pytest

from experiments import certificates
from unlearn.errors import InputError
from unlearn.report import csv_files


@pytest.mark.slow
def test_experiment(tmp_path):
    config = certificates.get_config("smoke")
    found = {row["model"]: row for row in certificates.run(config, tmp_path)}
    assert list(found) == [
        *("retraining", "noisy, epsilon 8", "rewound, noisy, epsilon 8"),
        *("a hundredth of the noise", "fine-tuning"),
    ]
    assert all(0 <= row["test_1"] <= 1 for row in found.values())
    noise = [found[name]["noise"] for name in list(found)[1:4]]
    assert noise[0] == pytest.approx(0.0144, rel=0.01)  # 0.0240 / 1.67
    assert noise[2] < 0.1 * noise[0]
    assert found["noisy, epsilon 8"]["shown"] <= 8
    assert np.isnan(found["fine-tuning"]["shown"])
    assert len(csv_files.read_csv(tmp_path / "results.csv")) == 5
    text = (tmp_path / "summary.md").read_text()
    assert "| fine-tuning | – | – | – |" in text and "whoever saw the version" in text
    assert (tmp_path / "figures" / "certificates.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"epsilons": (0.0,)}, "epsilons and broken must be above 0"),
        ({"delta": 1.0}, "delta must lie in"),
        ({"epochs": ()}, "epochs must be 1 or more"),
        ({"seeds": 1}, "seeds must be at least 2"),
        ({"rewound.epoch": 3}, "from 1 to the 2 of train.epochs"),
        ({"data.examples": 500}, "must be from 2 to 200"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, changes, words):
    config = certificates.get_config("smoke")
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=words):
        certificates.run(config, tmp_path)
    assert not list(tmp_path.iterdir())
