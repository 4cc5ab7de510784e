"""Constants with which the tests run each training-time method."""

import jax
import jax.numpy as jnp
import numpy as np

SETTINGS = {
    "sisa": dict(shards=3, slices=2, epochs=3, batch_size=8),
    "amnesiac": dict(epochs=3, batch_size=8),
    "certified": dict(sigma=1.0, l2=1.0),
}

KEY = jax.random.key(3)

GONE = [5, 11]


def numpy_copy(tree):
    def copy(x):
        typed = isinstance(x, jax.Array) and jnp.issubdtype(
            x.dtype, jax.dtypes.prng_key
        )
        return np.array(jax.random.key_data(x) if typed else x)

    return jax.tree.map(copy, tree)
