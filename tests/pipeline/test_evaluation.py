"""What is computed of the outputs of models."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.pipeline.evaluation import in_file, refuse_probabilities

LOGITS = np.random.default_rng(0).normal(size=(20, 3))


def test_probabilities_are_no_logits():
    with pytest.raises(InputError, match="returns probabilities and must return"):
        refuse_probabilities(np.asarray(jax.nn.softmax(LOGITS)))
    for logits in (LOGITS, np.asarray(jax.nn.log_softmax(LOGITS)), abs(LOGITS)):
        refuse_probabilities(logits)
    refuse_probabilities(np.full((2, 3), np.nan))


def test_rows_in_a_file_are_those_that_were_asked_for(tmp_path):
    run, parts = SimpleNamespace(folder=tmp_path), np.array_split(LOGITS, 3)
    found = in_file(run, parts, (20, 3))
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    np.testing.assert_array_equal(found, LOGITS.astype(np.float32))
    assert not list(tmp_path.iterdir())
    for shape, line in (
        ((20, 4), r"the model answers with \[3\] logits .* 4 classes"),
        ((19, 3), "the model answers 20 of 19 examples"),
        ((21, 3), "the model answers 20 of 21 examples"),
    ):
        with pytest.raises(InputError, match=line):
            in_file(run, parts, shape)
    with pytest.raises(InputError, match="cannot write"):
        in_file(SimpleNamespace(folder=tmp_path / "none"), parts, (20, 3))
