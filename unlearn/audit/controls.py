"""Models that an audit has to see through: controls beside `original` and `retrain`.

- *no_op*: nothing was done. Must fail as the original does.
- *head_distill*: only the head is trained, to answer like a retrained model (Jeon et
  al., "An Information Theoretic Evaluation Metric For Strong Unlearning",
  https://arxiv.org/abs/2405.17878). Metrics of the outputs pass it; what the layers
  below hold is unchanged.
- *oracle_matching*, where `audit.matching` asks for it: the original, trained for some
  epochs to answer like a retrained model (Georgiev et al., "Attribute-to-Delete",
  https://arxiv.org/abs/2410.23232). No method knows these answers: who leaks less in
  as many epochs does better than with perfect targets.
- *constant_margin*: the original, as confident of every example as of any other. Passes
  population attacks on the confidence.
- *collapsed*: one answer to everything. It gives nothing away about the forget set, and
  the model is useless: an audit without a utility limit passes it.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from unlearn import surgery
from unlearn.methods.matching import Matching, match_logits
from unlearn.methods.taught import teacher
from unlearn.problem import Problem, Variables
from unlearn.training import kl_divergence, predict_set

if TYPE_CHECKING:
    from unlearn.audit.shadow_models import Measured

CONTROLS = ("no_op", "head_distill", "constant_margin", "collapsed")
PRIVATE = "dp_sgd"
"""A private training with all examples, which nothing is done to: `audit.private`."""
MATCHING = "oracle_matching"
"""The original, trained to answer like a retrained model: `audit.matching`."""
ASKED = MATCHING, PRIVATE
"""Controls that an audit has where it is asked for them."""
TAUGHT = ("head_distill", MATCHING)
"""What is taught by a retrained model each, and is to be compared with other ones."""
MARGIN = 5.0


def head_distill(
    variables: Variables,
    problem: Problem,
    oracle: Variables,
    *,
    iterations: int = 50,
) -> Variables:
    """Distils the head from `oracle`, the variables of a retrained model.

    The mean KL divergence on the training set, by L-BFGS: on the features, which stay
    as they are and are computed once.

    Raises:
      InputError: the model has no `activations`.
    """
    path = surgery.head(problem, variables)
    seen = jnp.concatenate([problem.forget, problem.retain])
    below = problem.replace(model=surgery.feature_model(problem.model))
    features = predict_set(below, variables, seen)
    answers = predict_set(problem, oracle, seen)
    scale = surgery.head_scale(problem, variables, seen, features)

    def loss_fn(head):
        logits = scale * surgery.head_logits(head, features)
        return jnp.mean(kl_divergence(answers, logits))

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss_fn)

    def step(carry, _):
        head, state = carry
        loss, gradient = value_and_grad(head, state=state)
        updates, state = optimizer.update(
            gradient, state, head, value=loss, grad=gradient, value_fn=loss_fn
        )
        return (optax.apply_updates(head, updates), state), loss

    head = surgery.at(variables["params"], path)
    start = head, optimizer.init(head)
    (head, _), _ = jax.lax.scan(step, start, length=iterations)
    params = surgery.replace(variables["params"], path, head)
    return {**variables, "params": params}


def oracle_matching(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    oracle: Variables,
    matching: Matching,
) -> Variables:
    """Fits all logits to those of `oracle`, the variables of a retrained model."""
    seen = jnp.concatenate([problem.forget, problem.retain])
    target = teacher(problem, oracle, seen)
    return match_logits(key, variables, problem, target, matching)[0]


def constant_margin(
    measured: "Measured", labels: ArrayLike, num_classes: int
) -> "Measured":
    """Returns the same predictions, each with the margin `MARGIN`.

    The true class of a wrong answer has the margin that is left to it where all other
    logits are equal, as in `control_logits`: -7.2 of 10 classes.
    """
    hit = measured.predictions == np.asarray(labels)
    left = -np.log((num_classes - 1) * np.exp(MARGIN) + num_classes - 2)
    margins = np.where(hit, MARGIN, left).astype(np.float32)
    return measured._replace(margins=margins)


def collapsed(measured: "Measured", num_classes: int) -> "Measured":
    """Returns equal logits for every class, and class 0 as the answer."""
    return measured._replace(
        margins=np.full_like(measured.margins, -np.log(num_classes - 1)),
        predictions=np.zeros_like(measured.predictions),
    )


def control_logits(name: str, logits: np.ndarray) -> np.ndarray:
    """Returns what a control answers where the original gives logits float[N, K]."""
    classes = logits.shape[-1]
    if name == "collapsed":
        return np.zeros_like(logits)
    if name == "constant_margin":
        answers = np.eye(classes, dtype=logits.dtype)[logits.argmax(-1)]
        return answers * logits.dtype.type(MARGIN + np.log(classes - 1))
    if name == "no_op":
        return logits
    raise ValueError(f"{name!r} does not depend on the original's logits alone")
