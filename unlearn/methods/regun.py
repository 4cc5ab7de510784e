"""ReGUn: forgotten examples get the answer that held-out ones of their classes get.

    p_c = E_v[softmax f_0(x) | y = c]       v: held-out data; all of v if it lacks c
    q(B) = E_B[p_y]                         one reference for a batch B of f
    minimise  (1 - alpha) E_B[KL(q(B) || softmax f(x))] + alpha E_r[CE(f(x), y)]

f_0 is the original in evaluation mode, never updated. An epoch is a pass over f; retain
batches are drawn alongside. Mirlach et al., "Reference-Guided Machine Unlearning", ICLR
2026 workshops, https://arxiv.org/abs/2603.11210: a tenth of the data is held out, alpha
0.5, 10 epochs of SGD 0.01 with momentum 0.9 at batches of 128, no weight decay. There
q(B) is the mean over a sample of v with as many examples of each class as B; here it is
the expectation of that, with the same gradient on average. Of random requests q(B) is
near the class frequencies, which teaches more uncertainty than unseen examples meet
(120 of 1,200 digits, a tenth of them mislabelled, rate 0.05, batches of 16: entropy of
f 1.9, retrained 0.4). With `reference="class"` each example has the p_y of its own
class (0.5); what was mislabelled is then held to its wrong label.
Batch statistics are those of the forget batch, then of the retain batch, as released.
Retraining would never name a class that is forgotten as a whole: these are left out of
p_c, which the paper, on random requests alone, has no need of. Held-out examples that
served as the reference are no non-members to audit with.
"""

import jax
import jax.numpy as jnp

from unlearn.errors import InputError
from unlearn.methods.registry import method
from unlearn.methods.statistics import by_batch
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.training import (
    classification,
    epoch,
    epoch_keys,
    kl_divergence,
    predict_set,
    shuffle,
    start,
)

REFERENCES = ("batch", "class")


@method(
    needs=("forget", "retain", "forget_classes", "validation"),
    paper="arXiv:2603.11210",
    differs="the expected reference, not one of sampled held-out examples; a ragged "
    "last batch counts by its examples; no class that is forgotten as a whole is in "
    "the reference",
    search={"learning_rate": (1e-3, 0.3), "alpha": (0.1, 0.95)},
)
def regun(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    alpha: float = 0.5,
    reference: str = "batch",
    batch_size: int = 128,
    forget_batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    statistics: str = "batch",
) -> tuple[Variables, dict]:
    """Distils the reference and repairs in the same step.

    `reference`: `batch` or `class`, whose classes an example's reference is of;
    `statistics`: see `statistics.by_batch`. Returns `info` with `loss`
    (float32[epochs, steps]) and `without_reference`, the number of forget examples
    whose class no held-out example has.

    Raises:
      InputError: no validation set; another `reference` or `statistics`.
    """
    if reference not in REFERENCES:
        raise InputError(
            f"unknown reference {reference!r}: choose from {', '.join(REFERENCES)}"
        )
    if problem.validation is None:
        raise InputError(
            "regun needs a validation set, whose answers are the reference: give "
            "data.validation, or choose another method"
        )
    train = by_batch(statistics)
    descent = classification(problem.model, train=train)
    optimizer = sgd(learning_rate, momentum=momentum, weight_decay=weight_decay)
    of_class, counts = class_references(problem, variables)

    def distil(variables, batch, key):
        logits, variables = problem.model.apply(
            variables, batch.inputs, train=train, key=key
        )
        wanted = of_class[batch.labels]
        if reference == "batch":
            shares = batch.weights / jnp.sum(batch.weights)
            wanted = jnp.sum(shares[:, None] * wanted, 0, keepdims=True)
        losses = kl_divergence(jnp.log(jnp.maximum(wanted, 1e-30)), logits)
        return jnp.mean(batch.weights * losses), variables

    def objective(variables, batches, key):
        forget, retain = batches
        key_forget, key_retain = jax.random.split(key)
        forget_loss, variables = distil(variables, forget, key_forget)
        retain_loss, variables = descent(variables, retain, key_retain)
        return (1 - alpha) * forget_loss + alpha * retain_loss, variables

    def one(state, key):
        key_forget, key_retain, key_steps = jax.random.split(key, 3)
        forget = shuffle(key_forget, problem.forget, forget_batch_size)
        steps = len(forget.indices)
        retain = shuffle(key_retain, problem.retain, batch_size, steps)
        return epoch(key_steps, state, problem, (forget, retain), objective, optimizer)

    state = start(variables, optimizer)
    state, losses = jax.lax.scan(one, state, epoch_keys(key, epochs))
    lacking = counts[problem.labels[problem.forget]] == 0
    return state.variables, {
        "loss": losses,
        "without_reference": jnp.sum(lacking.astype(jnp.int32)),
    }


def class_references(
    problem: Problem, variables: Variables
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean answer to held-out examples of each class, and their number.

    Shapes: float32[K, K], a distribution a row, and int32[K]. A class without held-out
    examples has the mean over all of them; classes that are forgotten as a whole are in
    no answer.
    """
    held_out, classes = problem.validation, problem.num_classes
    assert held_out is not None
    logits = predict_set(held_out, variables, jnp.arange(len(held_out.labels)))
    gone = jnp.zeros(logits.shape[-1], bool).at[problem.forget_classes].set(True)
    answers = jax.nn.softmax(jnp.where(gone, -1e9, logits))
    counts = jnp.bincount(held_out.labels, length=classes)
    sums = jnp.zeros((classes, logits.shape[-1])).at[held_out.labels].add(answers)
    means = sums / jnp.maximum(counts, 1)[:, None]
    return jnp.where(counts[:, None] > 0, means, jnp.mean(answers, 0)), counts
