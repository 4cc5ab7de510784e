"""NoT: a layer's weights change their sign, and fine-tuning repairs the net.

    theta_l <- -theta_l        for the first `layers` layers with weights
    minimise  E_r[CE(f(x), y)]

The layers above have adapted to what the negated one puts out, so the net is far from
its optimum although no weight has another size; no forgotten example is needed. Khalil
et al., "NoT: Federated Unlearning via Weight Negation", CVPR 2025,
https://arxiv.org/abs/2503.05657: the first convolution (of a ViT: the patch embedding)
with its bias. Normalisations keep their signs.
"""

import jax

from unlearn.methods.registry import method
from unlearn.optimizers import schedule, sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import mask, weighted_layers
from unlearn.training import batch_shape, classification, fit


@method(
    needs=("retain",),
    paper="arXiv:2503.05657",
    differs="one machine: no rounds, no clients",
    search={"learning_rate": (1e-3, 1.0)},
)
def weight_negation(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.05,
    epochs: int = 5,
    layers: int = 1,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Negates and fine-tunes; `info["loss"]` is float32[epochs, steps]."""
    params = variables["params"]
    chosen = mask(params, weighted_layers(problem, variables)[:layers])
    params = jax.tree.map(lambda w, negate: -w if negate else w, params, chosen)
    steps, _ = batch_shape(len(problem.retain), batch_size)
    rate = schedule("cosine", learning_rate, epochs * steps)
    variables, losses = fit(
        key,
        {**variables, "params": params},
        problem,
        problem.retain,
        classification(problem.model),
        sgd(rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
