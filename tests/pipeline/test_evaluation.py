"""What is computed of the outputs of models."""

import jax
import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.pipeline.evaluation import refuse_probabilities

LOGITS = np.random.default_rng(0).normal(size=(20, 3))


def test_probabilities_are_no_logits():
    with pytest.raises(InputError, match="returns probabilities and must return"):
        refuse_probabilities(np.asarray(jax.nn.softmax(LOGITS)))
    for logits in (LOGITS, np.asarray(jax.nn.log_softmax(LOGITS)), abs(LOGITS)):
        refuse_probabilities(logits)
    refuse_probabilities(np.full((2, 3), np.nan))
