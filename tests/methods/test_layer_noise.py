"""What is particular to the seventh of the NeurIPS 2023 challenge."""

import numpy as np
import pytest
from references import FULL, changed, prepare, retain_loss, step, wide_case
from trees import assert_close, flat

from unlearn.errors import InputError


@pytest.fixture(scope="module")
def wide():
    return wide_case()


@pytest.mark.slow
def test_layer_noise_noises_a_share_of_the_drawn_layers(wide):
    """One noisy epoch: half of two layers, so one; the head is new besides."""
    problem, variables = wide
    fn = prepare(
        "layer_noise", problem, variables, epochs=3, tail_epochs=1, count=2, **FULL
    )
    calm, noisy = (
        fn(learning_rate=0.0, share=0.5, sigma=sigma) for sigma in (0.0, 0.4)
    )
    assert changed(variables, calm).keys() == {"Dense_3/kernel"}
    (layer,) = {path.split("/")[0] for path in changed(calm, noisy)}
    noise = flat(noisy["params"][layer]) - flat(calm["params"][layer])
    assert np.all(noise != 0)
    np.testing.assert_allclose(noise.std(), 0.4, rtol=0.2)


@pytest.mark.slow
def test_layer_noise_trains_the_drawn_layers_then_all(wide):
    """Two epochs with one layer each leave others bit-identical; the tail is steps."""
    problem, variables = wide
    constants = dict(FULL, count=1, momentum=0.0)
    fn = prepare(
        "layer_noise", problem, variables, epochs=2, tail_epochs=0, **constants
    )
    reset, drawn = (fn(learning_rate=rate, sigma=0.0, last=1.0) for rate in (0.0, 0.1))
    assert 1 <= len({path.split("/")[0] for path in changed(reset, drawn)}) <= 2
    assert_close(drawn, fn(learning_rate=0.1, sigma=0.0, last=9.0))  # no tail
    fn = prepare(
        "layer_noise", problem, variables, epochs=5, tail_epochs=3, **constants
    )
    after = fn(learning_rate=0.1, sigma=0.0)
    expected = drawn
    for factor in (1, 1, 5):  # as released: 2e-4, 2e-4, (2e-4,) 1e-3
        expected = step(retain_loss(problem), expected, 0.1 * factor)
    assert_close(after, expected, 1e-4, 1e-5)
    assert len(changed(drawn, after)) == 8


def test_layer_noise_says_when_no_epoch_is_left_for_noise(wide):
    with pytest.raises(InputError, match="lower tail_epochs"):
        prepare("layer_noise", *wide, epochs=5)()
