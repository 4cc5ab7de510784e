"""A class of CIFAR-10 forgotten by a curriculum, against plain impair and repair.

    python launch.py --experiment=cifar_curriculum

Claimed are 3 points less accuracy on the forgotten class and 5 points more on the
others. `--preset=cpu`: a small residual net, three seeds; `_cifar.py` says how it
trains and what that costs. `claim.md` has the table, `figures/paired.png` the seeds;
what came out and how the constants were chosen is in `README.md` beside this file.
"""

from unlearn import pipeline, store
from unlearn.pipeline import default_config
from unlearn.report import csv_files, plotting

from . import _paired_report as paired
from ._cifar import make_small, set_cpu_training

OURS, THEIRS = "curriculum_distill", "unsir"
# Claimed: 3 points better at forgetting, 5 at retaining.
CLAIMS = (
    ("forget_accuracy", -0.03),
    ("test_forget_accuracy", -0.03),
    ("retain_accuracy", 0.05),
    ("test_accuracy", 0.05),
)


def get_config(preset: str):
    config = default_config()
    config.run = (OURS, THEIRS)
    config.data.name = "cifar10"
    config.data.update(flip=True, crop=4)
    config.forget.kind = "class"
    config.forget.classes = (0,)
    if preset == "full":
        config.model.name = "resnet18"
        config.train.epochs = 100
        config.train.batch_size = 256
        return config
    config.seeds = 3
    set_cpu_training(config)
    config.attack_examples = 2000
    for name in config.run:
        config.methods[name].update(BUDGET)
    if preset == "smoke":
        config.data.name = "synthetic:32x32x3,classes=10,train=400,test=100"
        config.seeds = 2
        make_small(config)
        for name in config.run:
            config.methods[name].update(noise_images=16, noise_copies=2)
    return config


# The same for both: the best of each of five pairs of learning rates, by the
# accuracy of the retained classes on the validation split, seed 0.
BUDGET = dict(batch_size=128, learning_rate=1e-3, repair_learning_rate=1e-3)


def run(config, folder, *, data_dir=None):
    """Runs the pipeline; writes `claim.csv`, `claim.md` and `figures/paired.png`."""
    pipeline.require_reference(config, "this experiment's report")
    result = pipeline.run(config, folder, data_dir=data_dir)
    if result.diverged or not {OURS, THEIRS} <= set(config.run):
        return result
    folder = result.run.folder
    compared = paired.compare(result.rows, OURS, THEIRS, CLAIMS)
    csv_files.write_csv(folder / "claim.csv", compared)
    text = paired.markdown(compared, OURS, THEIRS)
    store.write_text(folder / "claim.md", text)
    print(text)
    models, metrics = ("retrain", THEIRS, OURS), [metric for metric, _ in CLAIMS]
    figure = paired.figure(result.rows, models, metrics, folder.name)
    plotting.save(figure, folder / "figures" / "paired.png")
    return result
