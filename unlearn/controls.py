"""Models that an audit has to see through: controls beside `original` and `retrain`.

- *no_op*: nothing was done. Must fail as the original does.
- *head_distill*: only the head is trained, to answer like a retrained model (Jeon et
  al., "An Information Theoretic Evaluation Metric For Strong Unlearning",
  https://arxiv.org/abs/2405.17878). Metrics of the outputs pass it; what the layers
  below hold is unchanged.
- *constant_margin*: the original, as confident of every example as of any other. Passes
  population attacks on the confidence.
- *collapsed*: one answer to everything. Nothing can be told about the forget set, and
  the model is useless: an audit without a utility limit passes it.
"""

import jax.numpy as jnp
import numpy as np

from unlearn import structure
from unlearn.training import adam, fit, kl_divergence

MARGIN = 5.0


def head_distill(
    key, variables, problem, teacher, *, learning_rate=1e-2, epochs=10, batch_size=128
):
    """The head distilled from `teacher`, the variables of a retrained model.

    Raises:
      InputError: the model does not tell its activations.
    """
    apply = problem.model.apply

    def objective(variables, batch, key):
        student, after = apply(variables, batch.inputs)
        answers, _ = apply(teacher, batch.inputs)
        return jnp.mean(batch.weights * kl_divergence(answers, student)), after

    params = variables["params"]
    after, _ = fit(
        key,
        variables,
        problem.replace(augment=None),
        jnp.concatenate([problem.forget, problem.retain]),
        objective,
        adam(learning_rate),
        epochs=epochs,
        batch_size=batch_size,
        trainable=structure.mask(params, [structure.head(problem, variables)]),
    )
    return after


def constant_margin(measured, labels):
    """The same predictions, each with the margin `MARGIN`.

    The true class of a wrong answer has the margin that is left to it.
    """
    hit = measured.predictions == np.asarray(labels)
    margins = np.where(hit, MARGIN, -MARGIN).astype(np.float32)
    return measured._replace(margins=margins)


def collapsed(measured, num_classes: int):
    """Equal logits for every class, and class 0 as the answer."""
    return measured._replace(
        margins=np.full_like(measured.margins, -np.log(num_classes - 1)),
        predictions=np.zeros_like(measured.predictions),
    )


def control_logits(name: str, logits):
    """What a control answers where the original gives logits float[N, K]."""
    classes = logits.shape[-1]
    if name == "collapsed":
        return np.zeros_like(logits)
    if name == "constant_margin":
        answers = np.eye(classes, dtype=logits.dtype)[logits.argmax(-1)]
        return answers * logits.dtype.type(MARGIN + np.log(classes - 1))
    if name == "no_op":
        return logits
    raise ValueError(f"{name!r} does not depend on the original's logits alone")
