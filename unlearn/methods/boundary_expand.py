"""Boundary expand: the forget set is trained to a class of its own, which is dropped.

    f+(x) = [f(x), w h(x) + b],    h the features before the head, class K new
    minimise  E_f[CE(f+(x), K)]  over all weights,    then drop w and b

The new neuron starts Glorot-normal, its bias at 0. Chen et al., "Boundary Unlearning",
CVPR 2023, https://arxiv.org/abs/2303.11570: 10 epochs of SGD 1e-5 at batch 64. (A
published port never drops the neuron.) There the batch statistics move, here only with
`statistics="batch"`: see `boundary_shrink`.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import features
from unlearn.training import cross_entropy, fit


@method(
    needs=("forget",),
    paper="arXiv:2303.11570",
    differs="frozen batch statistics (theirs: statistics=batch)",
    search={"learning_rate": (1e-5, 1e-2)},
)
def boundary_expand(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-5,
    epochs: int = 10,
    batch_size: int = 64,
    momentum: float = 0.9,
    statistics: str = "frozen",
) -> tuple[Variables, dict]:
    """Trains the widened net, returns it narrow; `info["loss"]` is float32[E, S].

    `statistics`: see `statistics.by_batch`.

    Raises:
      InputError: a model that has no `activations`.
    """
    model, classes, train = problem.model, problem.num_classes, by_batch(statistics)
    inputs = problem.input_spec.struct()
    width = jax.eval_shape(lambda x: features(model, variables, x)[0], inputs).shape[-1]
    key_init, key_fit = jax.random.split(key)
    scale = (2 / (width + classes + 1)) ** 0.5
    neuron = {
        "kernel": scale * jax.random.normal(key_init, (width, 1), jnp.float32),
        "bias": jnp.zeros(1, jnp.float32),
    }

    def objective(variables, batch, key):
        params = variables["params"]
        net = {**variables, "params": params["net"]}
        hidden, logits, net = features(model, net, batch.inputs, train=train, key=key)
        neuron = params["neuron"]
        extra = hidden @ neuron["kernel"] + neuron["bias"]
        wide = jnp.concatenate([logits, extra], -1)
        targets = jnp.full(batch.labels.shape, classes, jnp.int32)
        loss = jnp.mean(batch.weights * cross_entropy(wide, targets))
        return loss, {**net, "params": params}

    wide, losses = fit(
        key_fit,
        {**variables, "params": {"net": variables["params"], "neuron": neuron}},
        problem,
        problem.forget,
        objective,
        sgd(learning_rate, momentum=momentum),
        epochs=epochs,
        batch_size=batch_size,
    )
    return {**wide, "params": wide["params"]["net"]}, {"loss": losses}
