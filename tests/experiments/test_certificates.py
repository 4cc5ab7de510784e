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
    noisy, rewound, broken = (found[name] for name in list(found)[1:4])
    assert noisy["noise"] == pytest.approx(0.05, rel=1e-3) == rewound["noise"]
    assert broken["noise"] == pytest.approx(0.0005, rel=1e-3)
    # 0.05 x 1.666 hidden at epsilon 8, of it 2 x 0.001 x (1 + rho + ...) by gradients
    rho = noisy["kept"] ** (1 / 10)
    walked = 0.002 * (1 - noisy["kept"]) / (1 - rho)
    assert 20 * noisy["kept"] + walked == pytest.approx(0.0833, rel=2e-3)
    assert rewound["kept"] > 4 * noisy["kept"]
    assert np.isnan(found["fine-tuning"]["shown"])
    assert len(csv_files.read_csv(tmp_path / "results.csv")) == 5
    text = (tmp_path / "summary.md").read_text()
    assert (
        "| fine-tuning | – | – | – | – |" in text and "whoever saw the version" in text
    )
    assert (tmp_path / "figures" / "certificates.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"epsilons": (0.0,)}, "noisy steps: epsilon must be from 0.01"),
        ({"epsilons": (8.0, 8.0)}, "none twice"),
        ({"delta": 1.0}, "noisy steps: delta must be from"),
        ({"epochs": ()}, "epochs must be one or more"),
        ({"epochs": (0,)}, "epochs must be 1 or more"),
        ({"noisy.count": 0}, "noisy steps must be 1 or more"),
        ({"radius": -1.0}, "noisy steps: radius must be from 0"),
        ({"rewound.radius": float("nan")}, "noisy steps: radius must be from 0"),
        ({"noisy.rate": 1.0}, "take a smaller noisy.rate"),
        ({"noise": 0.0}, "noise must be above 0"),
        ({"train.batch_size": 0}, "train.batch_size must be at least 1"),
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
