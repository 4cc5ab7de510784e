"""Constants of methods, as tables `{method: {name: value}}` in an experiment's file."""

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
