"""Labels that a forgotten example may take instead of its own."""

import jax
import jax.numpy as jnp

from unlearn.problem import Problem


def bar(logits: jax.Array, labels: jax.Array, problem: Problem) -> jax.Array:
    """Masks logits at the own label and at each class that is forgotten as a whole.

    The softmax is 0 there; finite, so that 0 log 0 is 0.

    Args:
      logits: float[N, K].
      labels: the own ones, int32[N].
      problem: its `forget_classes` are barred, none in random forgetting.

    Returns: float32[N, K].
    """
    own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    forgotten = jnp.zeros(logits.shape[-1], bool).at[problem.forget_classes].set(True)
    return jnp.where(own | forgotten, -1e9, logits.astype(jnp.float32))


def wrong_labels(key: jax.Array, problem: Problem) -> jax.Array:
    """Draws a wrong label for each forget example, uniformly: int32[F].

    Never its own nor one of a class that is forgotten as a whole; see `bar`.
    """
    labels = problem.labels[problem.forget]
    alike = jnp.zeros((len(labels), problem.num_classes), jnp.float32)
    return jax.random.categorical(key, bar(alike, labels, problem)).astype(jnp.int32)
