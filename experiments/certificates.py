"""What a certificate for a whole net costs: noisy fine-tuning beside retraining.

    python launch.py --experiment=certificates

Unlearns a random tenth of the digits by noisy fine-tuning at several epsilon, from the
end of the original's training and from an early epoch of it, and goes on without noise
for a few epochs, as many as a retraining gets that starts from nothing. An attack on
the weights right after the noise, which knows the originals with and without the
request, shows what epsilon is at least; a hundredth of the noise is the control that
must be found out. It ends in `summary.md`, `results.csv` and a figure.
"""

from pathlib import Path


def get_config(preset: str):
    from ml_collections import ConfigDict

    from unlearn.training import Recipe

    config = ConfigDict(
        {
            "data": {"name": "digits", "examples": 0},  # 0: all
            "model": {"name": "cnn", "widths": (16, 32)},
            "train": Recipe(epochs=30, batch_size=64, learning_rate=0.05)._asdict(),
            "request": 0.1,  # share of the training set
            "epsilons": (1.0, 8.0, 64.0),
            "delta": 1e-5,
            "broken": 1.0,  # the epsilon that a hundredth of its noise claims
            "noisy": {"count": 10, "rate": 1e-3, "limit": 1.0},
            "noise": 0.05,  # in a weight: as much is kept of the way as this hides
            "radius": 10.0,  # what the weights are clipped to, from new ones
            "rewound": {"epoch": 1, "radius": 2.0},  # from its own
            "epochs": (2, 3, 5, 8),  # after the noise
            "learning_rate": 0.1,  # in these, after an epoch of warm-up
            "runs": 400,  # of the attack, with the request; and as many without
            "seeds": 5,
        }
    )
    if preset == "full":
        config.data.name = "mnist"
        config.seeds = 10
    if preset == "smoke":
        config.data.name = "synthetic:8x8x1,classes=4,train=200,test=60"
        config.model.widths = (4,)
        config.train.update(epochs=2, batch_size=40, warmup_epochs=0)
        config.update(epsilons=(8.0,), epochs=(1,), runs=40, seeds=2)
    return config


def run(config, folder: Path | str, *, data_dir: str | None = None) -> list[dict]:
    """Trains, unlearns, attacks; writes the table and the figure."""
    from . import _certificates

    return _certificates.run(config, folder, data_dir=data_dir)
