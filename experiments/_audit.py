"""Configs of audited experiments: what three data sets share."""

from collections.abc import Iterable

from unlearn import audit, pipeline
from unlearn.audit import frontier


def base_config(preset: str, methods: tuple[str, ...]):
    """Returns the default config with the section `audit`, running `methods`."""
    config = pipeline.default_config()
    config.run = methods
    config.model.name = "cnn"
    with config.unlocked():
        config.audit = audit.default_audit(preset)
    return config


def run(config, folder, *, data_dir=None):
    """Audits; where shortened retraining is beside the methods, draws the frontier."""
    audited = audit.run(config, folder, data_dir=data_dir)
    if any(name.startswith("retrain_short") for name in config.run):
        frontier.write(audited)
    return audited


def make_smoke(config, shape: str) -> None:
    """Changes `config` to the smoke preset, on made-up images such as `8x8x1`.

    What takes the time is compiling a program for each kind of model and each size of a
    set. So there are few, of a small net, and where sizes can be equal they are: the
    harder forget sets have `COUNT` examples, as the request.
    """
    config.data.update(
        name=f"synthetic:{shape},classes=10,train=300,test=100",
        examples=0,
        validation=0.1,
        flip=False,
        crop=0,
    )
    if config.forget.kind == "random":
        config.forget.count = COUNT
    config.model.name = "mlp"
    config.model.mlp.widths = (16,)
    config.run = ("finetune",)
    config.methods.finetune.update(epochs=1, batch_size=64)
    config.seeds = 2
    config.train.update(epochs=1, batch_size=64, warmup_epochs=1)
    config.audit.update(audit.SMOKE, canaries=30)
    config.audit.harder.update(count=COUNT, requests=2, fraction=COUNT / 2 / TRAIN)
    config.audit.layers.update(seeds=1, examples=10)
    config.audit.layers.relearning.steps = 10


def set_frontier(config, preset: str, more: Iterable[str]) -> None:
    """Asks for every method that fits the request and `more`; of smoke, for two."""
    config.run = tuple(dict.fromkeys((*pipeline.fitting(config), *more)))
    if preset == "smoke":
        config.run = "finetune", "retrain_short"
        config.methods.finetune.epochs = config.methods.retrain_short.epochs = 1


COUNT = 20
TRAIN = 270  # of 300, a tenth is held out
