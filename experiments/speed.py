"""Benchmark: training, evaluation, Fisher information, start-up, against PyTorch.

    python launch.py --experiment=speed

About ten minutes on two idle cores. PyTorch is optional: `pip install torch`. One
comparison only: `--config.parts=train`. PyTorch gains from
`MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296`; the table says
what was set. PyTorch suffers more than we do when other programs use the cores. What
was measured is in `README.md` beside this file.
"""


def get_config(preset: str):
    from ml_collections import ConfigDict

    config = ConfigDict(
        {
            # Any of these.
            "parts": (
                "train",
                "presets",
                "resnet",
                "evaluation",
                "fisher",
                "models",
                "audit",
                "streaming",
                "growth",
                "startup",
            ),
            "rounds": 5,
            "train": {"examples": 5120, "batch_sizes": (128, 256), "widths": (32, 64)},
            # Net, widths, images, batch size; how many times as fast as PyTorch.
            "presets": {
                "steps": 8,
                "nets": (
                    ("cnn", (16, 32), (8, 8, 1), 64, 1.2),
                    ("cnn", (16, 32), (28, 28, 1), 64, 1.2),
                    ("cnn", (16, 32), (28, 28, 1), 128, 1.2),
                    ("poolnet", (8, 16, 32), (32, 32, 3), 64, 1.0),
                    ("poolnet", (32, 64, 128), (32, 32, 3), 128, 1.0),
                    ("poolnet", (16, 32, 64, 128), (64, 64, 3), 64, 1.0),
                ),
            },
            # On a GPU: dtype bfloat16, and 390 steps for an epoch of CIFAR-10.
            "resnet": {
                "steps": 1,
                "batch_size": 128,
                "width": 64,
                "dtype": "float32",
            },
            "evaluation": {"examples": 60_000, "batch_size": 500},
            "fisher": {
                "examples": 10_000,
                "torch_examples": 512,
                "widths": (32, 64),
                "pool": "last",
            },
            "models": {
                "count": 64,
                "examples": 1280,
                "batch_size": 128,
                "epochs": 1,
                "widths": (16, 32),
            },
            "audit": {"examples": 1000, "models": 512},
            # A set of 3 GB; the epoch that is timed takes some of it, from anywhere.
            "streaming": {
                "examples": 20_000,
                "side": 224,
                "timed": 640,
                "batch_size": 64,
                "widths": (4, 4),
            },
            "growth": {"sizes": (10_000, 100_000), "side": 32, "widths": (4, 4)},
        }
    )
    if preset == "smoke":
        config.parts = tuple(part for part in config.parts if part != "startup")
        config.rounds = 1
        config.train.update(examples=64, batch_sizes=(32,), widths=(4, 4))
        config.presets.update(
            steps=1,
            nets=(
                ("cnn", (4, 4), (8, 8, 1), 8, 1.2),
                ("poolnet", (4, 4), (8, 8, 3), 8, 1.0),
            ),
        )
        config.resnet.update(batch_size=4, width=4)
        config.evaluation.update(examples=100, batch_size=50)
        config.fisher.update(examples=16, torch_examples=8, widths=(4, 4))
        config.audit.update(examples=5, models=8)
        config.growth.update(sizes=(1200,), side=8)
        config.streaming.update(examples=64, side=8, timed=32, batch_size=16)
        config.models.update(count=3, examples=32, batch_size=16, widths=(4, 4))
    return config


def run(config, folder, *, data_dir=None):
    """Measures what `config.parts` names; writes `speed.csv` and `speed.md`."""
    from . import _benchmark

    _benchmark.run(config, folder)
