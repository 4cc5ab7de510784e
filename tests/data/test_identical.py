"""Which examples are the same."""

import hashlib

import jax.numpy as jnp
import numpy as np
import pytest
from data_cases import random_images

from unlearn.data import content_hashes, copies

EXAMPLES = {
    "bytes": random_images(9),
    "floats": np.random.default_rng(0).normal(size=(9, 3)),
    "tokens": np.arange(36).reshape(9, 4),
    "jax": jnp.arange(18.0).reshape(9, 2),
    "column": np.arange(9),
    "tree": {"a": random_images(9), "b": (np.arange(9), np.ones((9, 2)))},
}


def rows(examples, indices):
    if isinstance(examples, dict):
        return {
            "a": examples["a"][indices],
            "b": tuple(leaf[indices] for leaf in examples["b"]),
        }
    return examples[indices]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_same_content_has_the_same_hash_and_number(kind):
    order = np.array([4, 0, 4, 8, 0, 0])
    taken = rows(EXAMPLES[kind], order)
    hashes = content_hashes(taken)
    assert hashes.dtype == np.dtype("U64")
    np.testing.assert_array_equal(hashes, content_hashes(EXAMPLES[kind])[order])
    assert len(set(content_hashes(EXAMPLES[kind]).tolist())) == 9
    assert copies(taken).tolist() == [0, 1, 0, 2, 1, 1]
    assert copies(taken).dtype == np.int32


def test_the_hash_is_of_dtype_shape_and_bytes():
    image = random_images(1, (4, 6))
    expected = hashlib.sha256(b" |u1 (4, 6) " + image.tobytes()).hexdigest()
    assert content_hashes(image).tolist() == [expected]
    assert content_hashes(np.asfortranarray(image)).tolist() == [expected]
    seen = {expected}
    for other in (image.reshape(1, 6, 4), image.view(np.int8), image.view(np.uint16)):
        seen |= set(content_hashes(other).tolist())
    flipped = image.copy()
    flipped[0, 3, 5] ^= 1
    seen |= set(content_hashes(flipped).tolist())
    assert len(seen) == 5
    numbers = np.arange(4, dtype="<u4")
    np.testing.assert_array_equal(
        content_hashes(numbers), content_hashes(numbers.astype(">u4"))
    )


def test_a_tree_knows_which_leaf_holds_what():
    one, other = random_images(3, (2,)), random_images(3, (2,), 1)
    swapped = content_hashes({"a": one, "b": other}) == content_hashes(
        {"a": other, "b": one}
    )
    assert not swapped.any()
