"""Benchmark: training, evaluation, Fisher information, start-up, against PyTorch.

    python launch.py --experiment=speed

About ten minutes on two idle cores. PyTorch is optional: `pip install torch`. One
comparison only: `--config.parts=train`. PyTorch gains from
`MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296`; the table says
what was set. PyTorch suffers more than we do when other programs use the cores.

`--preset=full` measures what an accelerator is to reach, on CIFAR-10: by its parts a
quarter of an hour on an H200, as a whole not run yet. What was measured is in
`README.md` beside this file.
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
                "devices",
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
            # Net, widths, images, rate: rounding grows with it in batch statistics.
            "devices": {
                "steps": 50,
                "batch_size": 128,
                "nets": (
                    ("cnn", (16, 32), (28, 28, 1), 0.02),
                    ("poolnet", (8, 16, 32), (32, 32, 3), 1e-4),
                ),
            },
            # Of an accelerator, with the preset `full`: see `_accelerator.py`.
            "trainings": 5,
            "data": {
                "name": "cifar10",
                "folder": "",  # of --data_dir
                "mean": (0.4914, 0.4822, 0.4465),
                "std": (0.2470, 0.2435, 0.2616),
            },
            "fast": {"to_94": TO_94, "to_94_random": TO_94_RANDOM, "to_96": TO_96},
            "shadows": {
                "nets": {"resnet9": RESNET9, "speednet": TO_94},
                "count": 100,
                "modes": ("map",),
                "target": 1000,
            },
            # Net, options, images, batch size.
            "modes": {
                "count": 16,
                "steps": 8,
                "nets": (
                    ("cnn", {"widths": (16, 32)}, (28, 28, 1), 128),
                    ("poolnet", {"widths": (32, 64, 128)}, (32, 32, 3), 128),
                    ("resnet9", {"dtype": "bfloat16"}, (32, 32, 3), 128),
                    ("resnet18", {"dtype": "bfloat16"}, (32, 32, 3), 128),
                ),
            },
        }
    )
    if preset == "full":
        config.parts = ACCELERATOR
        config.resnet.update(steps=49, batch_size=1024, dtype="bfloat16")
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
        config.devices.update(
            steps=2, batch_size=16, nets=(("cnn", (4, 4), (8, 8, 1), 0.02),)
        )
        config.models.update(count=3, examples=32, batch_size=16, widths=(4, 4))
        config.parts = tuple(dict.fromkeys((*config.parts, *ACCELERATOR)))
        config.trainings = 2
        config.data.name = "synthetic:32x32x3,classes=10,train=64,test=20"
        for settings in config.fast.values():
            settings.options.widths = (4, 8)
            settings.train.update(epochs=1, batch_size=32)
        config.shadows.count = 2
        config.shadows.nets.resnet9.options.width = 4
        config.shadows.nets.resnet9.train.update(epochs=1, batch_size=32)
        net = "cnn", {"widths": (4, 4)}, (8, 8, 1), 8
        config.modes.update(count=2, steps=1, nets=(net,))
    return config


ACCELERATOR = "resnet", "modes", "shadows", "accuracy", "streaming", "devices"


# Of `training.Recipe`.
FAST = {
    "batch_size": 2000,
    "learning_rate": 0.24,
    "momentum": 0.6,
    "weight_decay": 0.0,
    "warmup_epochs": 0,
    "schedule": "linear",
    "descent": "muon",
    "label_smoothing": 0.1,
}
TO_94 = {
    "net": "speednet",
    "options": {"widths": (64, 256, 256), "dtype": "bfloat16"},
    "train": FAST | {"epochs": 22},
    "augment": {"flip": True, "alternate_flip": True, "crop": 2},
    "accuracy": 94.0,
    "seconds": 3.4,
}
# The same but for its flips, which chance decides anew in each epoch.
TO_94_RANDOM = TO_94 | {"augment": TO_94["augment"] | {"alternate_flip": False}}
TO_96 = {
    "net": "speednet",
    "options": {"widths": (128, 384, 512), "depth": 3, "dtype": "bfloat16"},
    "train": FAST | {"epochs": 75, "batch_size": 1000},
    "augment": {"flip": True, "alternate_flip": True, "crop": 4, "cutout": 12},
    "accuracy": 96.0,
    "seconds": 35.0,
}
RESNET9 = {
    "net": "resnet9",
    "options": {"width": 64, "dtype": "bfloat16"},
    "train": FAST | {"epochs": 12},
    "augment": {"flip": True, "alternate_flip": False, "crop": 2},
}


def run(config, folder, *, data_dir=None):
    """Measures what `config.parts` names; writes `speed.csv` and `speed.md`."""
    from . import _benchmark

    config.data.folder = str(data_dir or "")
    _benchmark.run(config, folder)
