"""What is particular to random labels."""

import jax
import jax.numpy as jnp
import numpy as np

from unlearn.methods.random_labels import wrong_labels


def test_wrong_labels_are_wrong_and_uniform():
    labels = jnp.repeat(jnp.arange(4), 3000)
    wrong = np.asarray(wrong_labels(jax.random.key(0), labels, 4))
    assert not np.any(wrong == np.asarray(labels))
    for c in range(4):
        counts = np.bincount(wrong[np.asarray(labels) == c], minlength=4)
        np.testing.assert_allclose(np.delete(counts, c) / 1000, 1, atol=0.1)
