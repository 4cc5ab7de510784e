"""Constants of methods, as tables `{method: {name: value}}` in an experiment's file."""


def set_constants(config, *tables) -> None:
    """Writes the tables into `config.methods`, later ones over earlier ones."""
    for table in tables:
        for name, constants in table.items():
            config.methods[name].update(constants)
