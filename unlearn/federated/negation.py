"""NoT: the server changes the sign of the first layers, and rounds repair the model.

    theta_l <- -theta_l    for the first `layers` layers with weights;    then FedAvg

The client that leaves need not take part and nothing need have been kept. Khalil et
al., "NoT: Federated Unlearning via Weight Negation", CVPR 2025,
https://arxiv.org/abs/2503.05657.
"""

import jax

from unlearn import surgery
from unlearn.federated.clients import Request
from unlearn.federated.recovery import recover
from unlearn.federated.registry import federated
from unlearn.federated.rounds import Federated
from unlearn.problem import Variables


@federated(paper="arXiv:2503.05657", search={"rate": (0.2, 2.0)})
def negation(
    key: jax.Array,
    federated: Federated,
    request: Request,
    *,
    layers: int = 1,
    rounds: int = 6,
    rate: float = 1.0,
) -> tuple[Variables, dict]:
    """Negates, then recovers in `rounds`.

    `rate`: times the clients' learning rate of the training.

    Raises:
      InputError: the model has no `activations`, which say which layer is first.
    """
    variables, problem = federated.variables, federated.problem
    params = variables["params"]
    chosen = surgery.weighted_layers(problem, variables)[:layers]
    negated = jax.tree.map(
        lambda w, flip: -w if flip else w, params, surgery.mask(params, chosen)
    )
    variables = {**variables, "params": negated}
    return recover(key, federated, request, variables, rounds, rate=rate)
