"""The form of every data set."""

import numpy as np

from unlearn import data
from unlearn.data.dataset import stratified_split


def test_stratified_split_is_disjoint_and_complete():
    labels = np.repeat([0, 1, 2], [50, 10, 4])
    kept, held_out = stratified_split(labels)
    np.testing.assert_array_equal(np.sort(np.append(kept, held_out)), np.arange(64))
    np.testing.assert_array_equal(np.bincount(labels[held_out]), [10, 2, 1])


def test_fingerprint_sees_every_array():
    made = data.load("synthetic:4x4x1,classes=2,train=4,test=2")
    seen = {data.fingerprint(made)}
    for field in made._fields[1:5]:
        changed = getattr(made, field).copy()
        changed.flat[-1] ^= 1
        seen.add(data.fingerprint(made._replace(**{field: changed})))
    assert len(seen) == 5
    assert data.fingerprint(made._replace(name="renamed")) in seen
