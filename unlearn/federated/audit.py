"""What is left of a client, and what forgetting it cost the others.

- *Every client's loss*: a method may forget one hospital and ruin another.
- *A client with a backdoor*: its images carry a stamp and a wrong label, so that the
  model answers with that label wherever the stamp is. A model that never saw the client
  does not.
- *A client with wrong labels*: nobody else has them, so whoever answers with one has
  seen the client.
- *Client-level attack*: is this model of a federation that was trained with the client
  and unlearned, or of one that never had it? By the mean score of all the client's
  examples, over many federations of either kind; and by the strongest attack on single
  ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.errors import InputError
from unlearn.federated.clients import Clients, check_held
from unlearn.metrics.clustered import Estimate
from unlearn.metrics.lira import FORGET, OUT
from unlearn.metrics.set_level import set_level
from unlearn.metrics.strongest import EFFICACY, attack_all, largest
from unlearn.problem import Problem, Variables
from unlearn.training import cross_entropy, predict, predict_set


class PerClient(NamedTuple):
    """What a model answers on the examples of each client."""

    losses: jax.Array  # float32[C], nats
    accuracies: jax.Array  # float32[C]


def per_client(variables: Variables, problem: Problem, clients: Clients) -> PerClient:
    """Measures a model on each client's examples; NaN for a client without any."""
    check_held(clients, len(problem.labels))
    logits = predict_set(problem, variables, jnp.arange(len(problem.labels)))
    losses = cross_entropy(logits, problem.labels)
    hits = jnp.argmax(logits, axis=-1) == problem.labels
    own = jnp.arange(clients.indices.shape[1]) < clients.sizes[:, None]

    def mean(values):
        values = jnp.where(own, values[clients.indices], 0)
        return jnp.sum(values, axis=1) / clients.sizes

    return PerClient(mean(losses), mean(hits.astype(jnp.float32)))


def stamp(images: np.ndarray, size: int = 3) -> np.ndarray:
    """Returns images [N, H, W, C] with a bright square in the lower right corner.

    Raises:
      InputError: these are no images, or the square does not fit.
    """
    images = np.array(images)
    if images.ndim != 4 or size >= min(images.shape[1:3]):
        raise InputError(
            f"a stamp of {size} x {size} needs images [N, H, W, C] that are larger; "
            f"these are {list(images.shape)}: leave the backdoor out"
        )
    bright = np.iinfo(images.dtype).max if images.dtype.kind == "u" else 1
    images[:, -size - 1 : -1, -size - 1 : -1] = bright
    return images


def with_backdoor(
    problem: Problem,
    examples: np.ndarray,
    target: int,
    *,
    share: float = 0.8,
    seed: int = 0,
) -> Problem:
    """Stamps a share of a client's examples and labels them `target`.

    Args:
      examples: int[n], the client's.
    """
    draw = np.random.default_rng(seed)
    count = round(share * len(examples))
    chosen = draw.permutation(np.asarray(examples))[:count]
    images, labels = np.array(problem.examples), np.array(problem.labels)
    images[chosen] = stamp(images[chosen])
    labels[chosen] = target
    return problem.replace(examples=jnp.asarray(images), labels=jnp.asarray(labels))


def with_wrong_labels(problem: Problem, examples: np.ndarray, seed: int = 0) -> Problem:
    """Gives each of a client's examples another label, drawn at random."""
    draw = np.random.default_rng(seed)
    labels = np.array(problem.labels)
    shift = draw.integers(1, problem.num_classes, len(examples))
    labels[examples] = (labels[examples] + shift) % problem.num_classes
    return problem.replace(labels=jnp.asarray(labels))


def backdoor_success(
    variables: Variables, problem: Problem, images: Any, labels: np.ndarray, target: int
) -> float:
    """Returns the share of stamped images of other classes that are called `target`.

    Args:
      images: [N, H, W, C], which no client has seen, without the stamp.
      labels: int[N].
    """
    others = np.asarray(labels) != target
    stamped = jnp.asarray(stamp(np.asarray(images)[others]))
    logits = predict(problem.model, variables, stamped, problem.preprocess)
    return float(jnp.mean(jnp.argmax(logits, axis=-1) == target))


class ClientLeak(NamedTuple):
    """What attacks find of a client, as AUC with 95 % intervals; 0.5: nothing."""

    whole: Estimate  # by all of its examples together
    single: Estimate  # the strongest attack on single examples


def client_attack(unlearned: np.ndarray, never: np.ndarray) -> ClientLeak:
    """Tells models that were made to forget a client from models that never had it.

    Args:
      unlearned, never: float[S, n], margins (`shadows.measure`) of the client's n
        examples, of S federations of each kind, each with seeds of its own.

    Raises:
      InputError: fewer than three federations of a kind.
    """
    margins = np.concatenate([unlearned, never]).astype(np.float64)
    kinds = np.repeat([FORGET, OUT], [len(unlearned), len(never)])
    states = np.tile(kinds[:, None], (1, margins.shape[1]))
    found = attack_all(margins, states, attacks=EFFICACY).values()
    single = largest(Estimate(one.auc, *one.auc_interval) for one in found)
    return ClientLeak(set_level(margins, states), single)
