"""Federated MNIST: one of 10 or of 100 clients leaves; what is left, who pays.

    python launch.py --experiment=mnist_federated

Clients that are alike or not (Dirichlet 1 and 0.1). The client that leaves has clean
images, then a backdoor, then wrong labels; every method is compared with federations
that never had it: test accuracy, the backdoor, wrong labels that are given back, the
attack on the client as a whole, the loss of every other client, and what the method
costs in rounds, messages and storage. It ends in `federated.html`, `summary.md` and
`results.csv`. `full`: 60,000 images and a larger net; not run yet.
"""


def get_config(preset: str):
    from ml_collections import ConfigDict

    from ._federated import constants_of, recipe

    config = ConfigDict(
        {
            "data": {
                "name": "mnist",
                "examples": 1500,  # of all clients
                "test": 1000,
                "server": 300,  # that the server has, without labels
            },
            "model": {"name": "cnn", "widths": (8, 16)},
            "clients": (10, 100),
            "alphas": (1.0, 0.1),
            # Of 10 clients all take part in each round, of 100 a fifth.
            "train": recipe(
                rounds=20,
                participants=20,
                batch_size=10,
                learning_rate=0.1,
                keep_every=2,
            ),
            "run": RUN,
            "methods": {name: constants_of(name) for name in RUN},
            "seeds": 12,  # federations with the client's own images
            "planted_seeds": 4,  # with a backdoor, and with wrong labels
        }
    )
    set_rounds(config, 4)
    if preset == "full":
        config.data.update(examples=0, test=0, server=5000)
        config.model.widths = (32, 64)
        config.train.update(rounds=100, batch_size=32)
        set_rounds(config, 20)
        config.seeds, config.planted_seeds = 64, 10
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=120,test=60"
        config.data.update(examples=0, test=0, server=20)
        config.model.widths = (2, 2)
        config.clients, config.alphas = (4,), (1.0,)
        config.train.update(rounds=4, participants=0)
        set_rounds(config, 1)
        config.seeds = config.planted_seeds = 4
        config.run = "retrain", "federaser"
    return config


def set_rounds(config, rounds: int) -> None:
    """Gives every method that takes rounds, but full retraining, as many."""
    for name, constants in config.methods.items():
        if "rounds" in constants and name != "retrain":
            constants.rounds = rounds


RUN = (
    "retrain",
    "retrain__short",
    "federaser",
    "projected_ascent",
    "negation",
    "pseudo_gradient",
    "distillation",
)


def run(config, folder, *, data_dir=None):
    """Trains the federations, lets the client leave; writes tables, figures, page."""
    from . import _federated

    return _federated.run(config, folder, data_dir=data_dir)
