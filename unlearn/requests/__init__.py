"""Requests to erase, one after another, to a model that is in use.

    deploy(default_config(), "model", "sisa")
    request("model", ["cat/12.png"], reason="withdrawn consent")
    verify("model")

A deployment is a folder (see `deployment`) with the model, how it was trained, the ids
and content hashes of its data, the method that answers, and a ledger that cannot be
changed unnoticed.
"""

from unlearn.requests.deploying import default_config, deploy
from unlearn.requests.overview import status
from unlearn.requests.queue import answer_queue, enqueue
from unlearn.requests.requesting import export, purge, request
from unlearn.requests.verifying import verify

__all__ = [
    "answer_queue",
    "default_config",
    "deploy",
    "enqueue",
    "export",
    "purge",
    "request",
    "status",
    "verify",
]
