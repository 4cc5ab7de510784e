"""What is particular to the third of the NeurIPS 2023 challenge."""

import numpy as np
import pytest
from references import (
    FULL,
    ce,
    changed,
    conv_case,
    counts,
    outputs,
    prepare,
    retain_loss,
    step,
    uneven_class_problem,
    wide_case,
)
from trees import assert_close, flat

from unlearn.methods.noise_reset import class_weights


@pytest.fixture(scope="module")
def conv():
    return conv_case()


@pytest.fixture(scope="module")
def wide():
    return wide_case()


def test_class_weights_of_a_forgotten_class():
    """The last class keeps its own weight although one before it is gone."""
    problem = uneven_class_problem()
    assert counts(problem) == [14, 0, 5]
    balanced = class_weights(problem)
    np.testing.assert_allclose(balanced, [19 / (2 * 14), 0, 19 / (2 * 5)], rtol=1e-6)
    mild = np.asarray(class_weights(problem, 0.1))
    np.testing.assert_allclose(mild[0] / mild[2], (14 / 5) ** -0.1, rtol=1e-6)
    np.testing.assert_allclose(14 * mild[0] + 5 * mild[2], 19, rtol=1e-6)


def test_noise_reset_noises_the_first_kernel_by_sigma(wide):
    """Both doses, alone and together; nothing else moves."""
    fn = prepare("noise_reset", *wide, epochs=2, **FULL)
    for sigma, last_sigma, std in ((0.6, 0.0, 0.6), (0.0, 0.2, 0.2), (0.3, 0.4, 0.5)):
        after = fn(learning_rate=0.0, sigma=sigma, last_sigma=last_sigma)
        assert changed(wide[1], after).keys() == {"Dense_0/kernel"}
        noise = flat(after) - flat(wide[1])
        noise = noise[noise != 0]
        assert noise.size == 16 * 128
        np.testing.assert_allclose(noise.std(), std, rtol=0.08)
        assert abs(noise.mean()) < 0.1 * std


@pytest.mark.slow
def test_noise_reset_of_every_convolution(conv):
    after = prepare("noise_reset", *conv, epochs=1, every=True, **FULL)(
        learning_rate=0.0
    )
    kernels = {f"Conv_{i}/kernel" for i in range(3)}
    assert changed(conv[1], after).keys() == kernels


@pytest.mark.slow
def test_noise_reset_weighs_each_example_by_its_class(variables):
    problem, rate = uneven_class_problem(), 0.3
    labels = np.asarray(problem.labels[problem.retain])

    def weighted(variables):
        logits, variables = outputs(problem, variables, problem.retain)
        by_class = [ce(logits, labels)[labels == c].mean() for c in (0, 2)]
        return sum(by_class) / 2, variables

    after = prepare("noise_reset", problem, variables, epochs=1, **FULL)(
        learning_rate=rate, sigma=0.0
    )
    assert_close(after, step(weighted, variables, rate), 1e-4, 1e-6)
    unweighted = step(retain_loss(problem), variables, rate)
    assert np.abs(flat(after) - flat(unweighted)).max() > 1e-3
