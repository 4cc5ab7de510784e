"""Constants of methods, as tables `{method: {name: value}}` in an experiment's file."""

from collections.abc import Mapping

from unlearn import methods
from unlearn.errors import InputError
from unlearn.pipeline.budgets import method_of
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


def set_budgets(config, table: Mapping[str, Mapping]) -> None:
    """Writes rows such as `finetune__5pc`: the method's constants but for these."""
    for row, constants in table.items():
        with config.unlocked():
            config.methods[row] = dict(config.methods[method_of(row)]) | constants


def shorter(rates: Mapping[int, float]) -> dict[str, dict]:
    """Returns the table of retraining in so many epochs, at these peak rates."""
    return {
        f"retrain_short__{epochs}": dict(
            epochs=epochs, batch_size=64, learning_rate=rate
        )
        for epochs, rate in rates.items()
    }


def rescaled(table: Mapping[str, dict], epochs: Mapping[int, int]) -> dict[str, dict]:
    """Returns a table of constants for a training of other epochs.

    Of methods that see the retain set `epochs` of a number there become that number's;
    how often methods go over the forget set alone stays, as do those of training time.
    """
    found = {}
    for name, constants in table.items():
        info = methods.METHODS.get(name)
        if info is None:
            continue
        found[name] = dict(constants)
        if "retain" in info.needs and constants.get("epochs") in epochs:
            found[name]["epochs"] = epochs[constants["epochs"]]
    return found


def check_least(config, **least: int) -> None:
    """Refuses settings that are smaller than this.

    Raises:
      InputError: the first of them, in one line.
    """
    for name, low in least.items():
        if config[name] < low:
            raise InputError(f"{name} must be at least {low}; it is {config[name]}")
