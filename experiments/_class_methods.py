"""A class forgotten by every registered method: what two data sets share.

Constants are tuned on two classes and on training seeds that no table shows.
"""

from unlearn import pipeline, training_time
from unlearn.methods import METHODS

from ._constants import set_constants

TUNED_ON = 2, 5


def base_config(*constants):
    """Returns a config that forgets the 7 by every method, then others by the best.

    The others are all but those that `--tune` chooses constants on.

    Args:
      *constants: tables `{method: {name: value}}`, later ones over earlier ones. A
        method that is in none of them runs with its defaults.
    """
    config = pipeline.default_config()
    config.forget.update(kind="class", classes=(7,))
    config.run = (*pipeline.approximate(), *training_time.METHODS)
    config.model.name = "cnn"
    config.tune.update(objective="tug_of_war", classes=TUNED_ON)
    config.class_sweep.classes = tuple(c for c in range(10) if c not in TUNED_ON)
    set_constants(config, *constants)
    return config


def one_of_each() -> tuple[str, ...]:
    """Returns the first method for each combination of what methods need."""
    found = {}
    for name in pipeline.approximate():
        found.setdefault(METHODS[name].needs, name)
    return tuple(found.values())


def make_smoke(config, shape: str, run: tuple[str, ...]) -> None:
    """Changes `config` to the smoke preset, on made-up images such as `8x8x1`.

    Compiling takes the time, so only `run` is run. Any other method can be, too: those
    that diverge with constants chosen for other models have some here.
    """
    name = f"synthetic:{shape},classes=10,train=600,test=200"
    config.data.update(name=name, validation=0.1)
    config.model.cnn.widths = (4, 8)
    config.run = run
    config.seeds = 1
    config.class_sweep.update(classes=(7, 0), best=1)
    config.train.epochs = 3
    set_constants(config, SMOKE)


SMOKE = {
    "gradient_ascent": dict(learning_rate=1e-3),
    "neggrad_plus": dict(learning_rate=1e-3, alpha=0.9),
}
