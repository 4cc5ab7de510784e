"""What is particular to the second of the NeurIPS 2023 challenge."""

import jax
import numpy as np
import pytest
from references import (
    FULL,
    ce,
    changed,
    conv_case,
    gradient_of,
    outputs,
    prepare,
    retain_loss,
    step,
    wide_case,
)
from trees import assert_close, flat


@pytest.fixture(scope="module")
def conv():
    return conv_case()


@pytest.fixture(scope="module")
def wide():
    return wide_case()


@pytest.mark.slow
def test_masked_small_gradients_renews_the_smallest_of_each_filter(conv):
    """r' is all of r here, so the scores have no randomness."""
    problem, variables = conv
    after = prepare("masked_small_gradients", problem, variables, epochs=1, **FULL)(
        learning_rate=0.0, fraction=0.25
    )

    def mean_loss(indices):
        def loss(variables):
            logits, _ = outputs(problem, variables, indices, train=False)
            return ce(logits, problem.labels[indices]).mean(), variables

        return loss

    of_retain, of_forget = (
        gradient_of(mean_loss(i), variables)[0]
        for i in (problem.retain, problem.forget)
    )
    differ = changed(variables, after)
    assert differ.keys() == {f"Conv_{i}/kernel" for i in range(3)}
    for path, renewed in differ.items():
        layer, _ = path.split("/")
        pair = of_retain[layer]["kernel"], of_forget[layer]["kernel"]
        score = np.abs(np.subtract(*pair))
        assert renewed.sum() == round(0.25 * score.size)
        assert score[renewed].max() <= score[~renewed].min()


@pytest.mark.slow
def test_masked_small_gradients_slows_the_kept_filters(conv):
    """Three full-batch steps at rates 1/2, 1, 1/2 from the renewed weights."""
    problem, variables = conv
    rate, slow = 0.2, 0.3
    fn = prepare(
        "masked_small_gradients", problem, variables, epochs=3, momentum=0.0, **FULL
    )
    renewed = fn(learning_rate=0.0, slow=slow)
    expected = {**variables, "params": renewed["params"]}
    differ = changed(variables, renewed)

    def pace(path, w):
        name = "/".join(k.key for k in path)
        return np.where(differ[name], 1.0, slow) if name in differ else 1.0

    pace = jax.tree_util.tree_map_with_path(pace, variables["params"])
    for part in (0.5, 1.0, 0.5):
        expected = step(retain_loss(problem), expected, part * rate, pace)
    after = fn(learning_rate=rate, slow=slow)
    assert_close(after, expected, 1e-4, 1e-5)
    unscaled = fn(learning_rate=rate, slow=1.0)
    assert np.abs(flat(unscaled) - flat(expected)).max() > 1e-3


@pytest.mark.slow
def test_masked_small_gradients_without_convolutions(wide):
    after = prepare("masked_small_gradients", *wide, epochs=1, **FULL)(
        learning_rate=0.0, fraction=0.5
    )
    differ = changed(wide[1], after)
    assert differ.keys() == {f"Dense_{i}/kernel" for i in range(4)}
    for renewed in differ.values():
        assert renewed.mean() == 0.5
