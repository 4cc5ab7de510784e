"""TREW: forgotten classes are taught the answers of a net that never saw them.

    c_kj = cos(w_k - m, w_j - m)             w_k: column k of the head, m: their mean
    s_yk = exp(c_yk / T) / sum_j exp(c_yj / T)                j, k: classes that stay
    q_k(x) = p_k(x) exp(beta s_yk) / sum_j p_j(x) exp(beta s_yj),    0 if k is forgotten
    minimise  (sum_f KL(q(x) || f(x)) + alpha sum_r CE(f(x), y)) / N

p is the original in evaluation mode, never updated. A retrained net takes examples of a
class that it never saw for the classes most like it; so the original's answers without
the class are tilted towards those whose weights in the head are alike. Of all q with
the same expected similarity this is the nearest to them in KL; beta is the multiplier
of that constraint. With beta 0 it is the target of `delete`, and with large T, where
all are alike; with small T the tilt is towards the one nearest class. Several forgotten
classes are all barred, each tilted by its own similarities. Ebrahimpour-Boroojeny, Wang
and Sundaram, "Unlearning Isn't Forgetting: Revealing Hidden Leakage in Class Unlearning
Evaluations", ICML 2026, https://arxiv.org/abs/2506.20893 (TRW in its versions of 2025):
beta 10, cosines of the head's weights after PCA, and a sharp softmax of them. The full
text and the code were not at hand: that r is trained with as well, the form of the
loss, T 0.3 and the recipe are ours (10 epochs of SGD 0.01 at batch 256). On the digits
(a net of one hidden layer, classes 3 and 7) the answers to the class were .29 in total
variation from retrained ones, .47 with T 0.1 and .26 untilted: tune T and beta. Batches
are drawn from the union, so that batch statistics are those of the data. Of PCA all
components are kept, which leaves the mean m: after long training the class weights
spread alike in all directions, and a cut among equals would be arbitrary.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.labels import bar
from unlearn.methods.registry import method
from unlearn.methods.taught import taught
from unlearn.optimizers import sgd
from unlearn.problem import Problem, Variables
from unlearn.surgery import at, head
from unlearn.training import fit, kl_divergence


def class_similarities(
    kernel: jax.Array, problem: Problem, temperature: float | jax.Array
) -> jax.Array:
    """Returns the similarity of each class to those that stay: float32[K, K].

    Rows sum to one, with nothing on the class itself nor on forgotten classes.

    Args:
      kernel: of the head, float32[..., D, K].
      problem: its `forget_classes` are barred.
      temperature: of the softmax over cosines.
    """
    weights = kernel.reshape(-1, kernel.shape[-1]).T.astype(jnp.float32)
    weights = weights - weights.mean(0)
    lengths = jnp.linalg.norm(weights, axis=-1, keepdims=True)
    unit = weights / jnp.maximum(lengths, 1e-12)
    cosines = jnp.matmul(unit, unit.T, precision="highest")
    classes = jnp.arange(len(weights), dtype=jnp.int32)
    return jax.nn.softmax(bar(cosines / temperature, classes, problem))


def tilted(
    logits: jax.Array,
    labels: jax.Array,
    similarities: jax.Array,
    problem: Problem,
    beta: float | jax.Array,
) -> jax.Array:
    """Returns logits of the tilted distributions: float32[N, K].

    Args:
      logits: of the original, float[N, K].
      labels: the own ones, int32[N].
      similarities: see `class_similarities`.
      problem: its `forget_classes` are barred.
      beta: how much similarity counts.
    """
    return bar(logits + beta * similarities[labels], labels, problem)


@method(
    needs=("forget", "retain", "forget_classes"),
    paper="arXiv:2506.20893",
    differs="by the abstract and reviews: the form of the loss, the temperature and "
    "the recipe are ours; all principal components are kept",
    search={
        "learning_rate": (1e-4, 0.2),
        "alpha": (0.3, 30.0),
        "beta": (0.3, 30.0),
        "temperature": (0.03, 1.0),
    },
    scope="class",
)
def trew(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 0.01,
    epochs: int = 10,
    beta: float = 10.0,
    temperature: float = 0.3,
    alpha: float = 1.0,
    batch_size: int = 256,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> tuple[Variables, dict]:
    """Fine-tunes forgotten classes to tilted answers, the others to their labels.

    Returns `info` with `loss` (float32[epochs, steps]) and the `similarities` of the
    forgotten classes to all, float32[C, K]. `temperature` is T.

    Raises:
      InputError: the model has no `activations`.
    """
    model = problem.model
    kernel = at(variables["params"], head(problem, variables))["kernel"]
    similarities = class_similarities(kernel, problem, temperature)
    forgotten = jnp.zeros(len(similarities), bool)
    forgotten = forgotten.at[problem.forget_classes].set(True)

    def objective(variables, batch, key):
        inputs, answers = batch.inputs
        gone = forgotten[batch.labels]
        soft = tilted(answers, batch.labels, similarities, problem, beta)
        own = jax.nn.one_hot(batch.labels, len(similarities), dtype=bool)
        wanted = jnp.where(gone[:, None], soft, jnp.where(own, 0.0, -1e9))
        logits, variables = model.apply(variables, inputs, train=True, key=key)
        weights = batch.weights * jnp.where(gone, 1.0, alpha)
        return jnp.mean(weights * kl_divergence(wanted, logits)), variables

    variables, losses = fit(
        key,
        variables,
        taught(problem, variables, problem.forget),
        jnp.concatenate([problem.forget, problem.retain]),
        objective,
        sgd(learning_rate, momentum=momentum, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {
        "loss": losses,
        "similarities": similarities[problem.forget_classes],
    }
