"""Constants of methods, as tables `{method: {name: value}}` in an experiment's file."""

from collections.abc import Mapping

from unlearn.errors import InputError
from unlearn.pipeline.config import method_defaults


def set_constants(config, *tables) -> None:
    """Writes the tables into `config.methods`, later ones over earlier ones.

    `name__label` is the method once more, with these constants and else the defaults.
    """
    for table in tables:
        for name, constants in table.items():
            if name not in config.methods:
                with config.unlocked():
                    config.methods[name] = method_defaults(name)
            config.methods[name].update(constants)


def shorter(rates: Mapping[int, float]) -> dict[str, dict]:
    """Returns the table of retraining in so many epochs, at these peak rates."""
    return {
        f"retrain_short__{epochs}": dict(
            epochs=epochs, batch_size=64, learning_rate=rate
        )
        for epochs, rate in rates.items()
    }


def check_least(config, **least: int) -> None:
    """Refuses settings that are smaller than this.

    Raises:
      InputError: the first of them, in one line.
    """
    for name, low in least.items():
        if config[name] < low:
            raise InputError(f"{name} must be at least {low}; it is {config[name]}")
