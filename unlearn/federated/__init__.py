"""Federated unlearning: a client leaves, or asks to forget some of its examples.

    clients = by_label(problem.labels, clients=10, alpha=0.1)
    federated = train(key, problem, clients, Recipe(rounds=30, keep_every=2))
    request = leave(clients, 3)
    variables, info = FEDERATED["federaser"].fn(key, federated, request)

Everything is a pure function: clients are an axis, rounds a scan, and many federations
one program (`parallel.map_models` over keys). `clients` says who holds what and what a
request leaves, `rounds` trains, every method is one file, and `audit` asks what is
left of a client and what the others lost.
"""

from unlearn.federated.clients import (
    Clients,
    Request,
    by_group,
    by_label,
    forget,
    leave,
    make_clients,
)
from unlearn.federated.distillation import distillation
from unlearn.federated.federaser import federaser
from unlearn.federated.negation import negation
from unlearn.federated.projected_ascent import projected_ascent
from unlearn.federated.pseudo_gradient import pseudo_gradient
from unlearn.federated.registry import FEDERATED, FederatedInfo, federated
from unlearn.federated.retraining import retrain
from unlearn.federated.rounds import Federated, History, Recipe, federate, train

__all__ = [
    "FEDERATED",
    "Clients",
    "Federated",
    "FederatedInfo",
    "History",
    "Recipe",
    "Request",
    "by_group",
    "by_label",
    "distillation",
    "federaser",
    "federate",
    "federated",
    "forget",
    "leave",
    "make_clients",
    "negation",
    "projected_ascent",
    "pseudo_gradient",
    "retrain",
    "train",
]
