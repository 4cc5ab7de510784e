"""LoTUS against steps by hand: its temperature, its targets, and when it stops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import trained
from references import logits_of, softmax
from trees import assert_close, assert_equal, distance

from unlearn.errors import InputError
from unlearn.methods.lotus import lotus, targets

KEY = jax.random.key(3)
FULL = dict(retain_percent=100, batch_size=100)  # an epoch is one step on all there is


@pytest.fixture
def hard_to_know(problem):
    """Nine of fifteen held-out labels are right at best: that is to be aimed at."""
    held_out = problem.validation
    labels = held_out.labels.at[:6].set((held_out.labels[:6] + 1) % 3)
    return problem.replace(validation=held_out.replace(labels=labels))


def share_right(problem, params, indices):
    logits = np.asarray(logits_of(problem, params, indices))
    return float((logits.argmax(-1) == np.asarray(problem.labels)[indices]).mean())


def by_hand(problem, variables, epochs, rate, alpha, decay):
    """AdamW written out, a full batch an epoch, without Gumbel noise.

    Returns the losses, the temperatures and the parameters.
    """
    held_out, size = problem.validation, len(problem.forget)
    everything = jnp.concatenate([problem.forget, problem.retain])
    params = jax.tree.map(np.asarray, variables["params"])
    aim = share_right(held_out, params, jnp.arange(len(held_out.labels)))
    asked = np.asarray(logits_of(problem, params, everything))

    @jax.jit
    @jax.value_and_grad
    def slope(params, wanted):
        p = jax.nn.softmax(logits_of(problem, params, everything))
        return -(wanted * jnp.log(p)).sum(-1).mean()

    first = second = jax.tree.map(np.zeros_like, params)
    losses, temperatures = [], []
    for t in range(1, epochs + 1):
        gap = share_right(problem, params, problem.forget) - aim
        temperatures.append(np.exp(alpha * gap))
        wanted = np.eye(3)[asked.argmax(-1)]
        wanted[:size] = softmax(asked[:size] / temperatures[-1])
        value, gradient = slope(params, wanted)
        losses.append(value)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)

        def move(p, m, v, t=t):
            step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            return p - rate * (step + decay * p)

        params = jax.tree.map(move, params, first, second)
    return losses, temperatures, params


@pytest.mark.slow
def test_four_steps_by_hand(hard_to_know):
    """Soft targets on f, hard ones on r, and a temperature that follows the gap."""
    rate, alpha, decay = 0.1, 5.0, 0.2
    variables = trained(hard_to_know, seed=2)  # no gradient near 0, where Adam jumps
    fn, seen = case(
        "lotus",
        hard_to_know,
        epochs=4,
        learning_rate=rate,
        alpha=alpha,
        weight_decay=decay,
        margin=1.0,
        gumbel=False,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    args = hard_to_know, variables, 4, rate
    losses, temperatures, params = by_hand(*args, alpha, decay)
    np.testing.assert_allclose(info["temperature"], temperatures, 1e-5)
    np.testing.assert_allclose(info["loss"][:, 0], losses, 1e-5)
    assert_close(after["params"], params, 1e-5, 1e-5)
    assert np.ptp(temperatures) > 1
    np.testing.assert_allclose(info["target_accuracy"], 0.6, 1e-5)
    others, _, elsewhere = by_hand(*args, 0.0, decay)  # a temperature of 1 throughout
    assert abs(others[0] - losses[0]) > 1e-2
    assert distance(elsewhere, params) > 1e-2


def test_targets_are_blurred_by_the_temperature_or_hard():
    noisy = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    blurred = np.arange(6) < 3
    found = targets(noisy, blurred, 2.5)
    np.testing.assert_allclose(found[:3], softmax(noisy[:3] / 2.5), rtol=1e-5)
    np.testing.assert_array_equal(found[3:], np.eye(4)[noisy[3:].argmax(-1)])
    cold, hot = (targets(noisy, blurred, t)[:3] for t in (1e-3, 1e6))
    np.testing.assert_allclose(cold, np.eye(4)[noisy[:3].argmax(-1)], atol=1e-5)
    np.testing.assert_allclose(hot, 1 / 4, atol=1e-5)
    assert np.isfinite(targets(noisy, blurred, np.float32(np.inf))).all()


@pytest.mark.slow
def test_gumbel_noise_draws_the_targets(hard_to_know, variables):
    """The first loss, averaged over keys, is that of draws by NumPy.

    On r that is the cross-entropy with the original's own answers; without the noise it
    would be that with its likeliest ones.
    """
    alpha, params = 1.5, variables["params"]
    options = dict(learning_rate=0.0, epochs=1, alpha=alpha, margin=1.0, **FULL)
    fn, seen = case("lotus", hard_to_know, **options)
    keys = jax.random.split(KEY, 400)
    firsts = jax.vmap(lambda key: fn(key, variables, seen)[1]["loss"][0, 0])(keys)
    everything = np.concatenate(
        [np.asarray(part) for part in (seen.forget, seen.retain)]
    )
    asked = np.asarray(logits_of(seen, params, everything))
    size, own = len(seen.forget), softmax(asked)
    gap = share_right(seen, params, seen.forget) - 0.6
    noise = np.random.default_rng(1).gumbel(size=(20_000, size, 3))
    wanted = own.copy()
    wanted[:size] = softmax((asked[:size] + noise) / np.exp(alpha * gap)).mean(0)
    expected = -(wanted * np.log(own)).sum(-1).mean()
    error = np.std(firsts) / np.sqrt(len(keys))
    assert 0 < error < 0.02
    assert abs(np.mean(firsts) - expected) < 4 * error
    likeliest = np.eye(3)[asked.argmax(-1)]
    likeliest[:size] = softmax(asked[:size] / np.exp(alpha * gap))
    without = -(likeliest * np.log(own)).sum(-1).mean()
    assert abs(without - expected) > 8 * error


@pytest.mark.slow
def test_it_stops_where_f_is_known_less_than_held_out_data(
    norm_problem, norm_variables
):
    """For good, though f would be learned again; batch statistics stay as well."""

    def run(epochs, *margins):
        constants = dict(learning_rate=0.05, epochs=epochs)
        fn, seen = case("lotus", norm_problem, **constants)
        key = jax.random.key(6)
        return [fn(key, norm_variables, seen, margin=m) for m in margins]

    (free, told), (stopped, info) = run(8, 2.0, 0.01)
    gaps = np.asarray(told["forget_accuracy"] - told["target_accuracy"])
    assert told["epochs"] == 8 and (told["loss"] > 0).all()
    stop = int(np.flatnonzero(gaps <= -0.01)[0])
    assert 1 < stop < 7 and gaps[stop + 1 :].max() > -0.01
    assert info["epochs"] == stop
    assert (info["loss"][:stop] > 0).all() and (info["loss"][stop:] == 0).all()
    assert_close(stopped, run(stop, 2.0)[0][0], 1e-6, 1e-7)
    for part in ("params", "batch_stats"):
        assert distance(stopped[part], free[part]) > 1e-3


@pytest.mark.slow
def test_nothing_happens_if_f_is_known_less_at_once(problem, variables):
    labels = problem.labels.at[problem.forget].add(1) % 3
    fn, seen = case("lotus", problem.replace(labels=labels), margin=0.01)
    after, info = fn(KEY, variables, seen)
    assert info["epochs"] == 0 and (info["loss"] == 0).all()
    assert_equal(after, variables)


@pytest.mark.slow
def test_it_sees_all_of_f_and_a_share_of_r(problem, variables):
    """And of no label but those that the accuracies are of."""
    fn, seen = case("lotus", problem, retain_percent=30, batch_size=1, epochs=1)
    after, info = fn(KEY, variables, seen)
    share = len(problem.retain) * 3 // 10
    assert info["loss"].shape == (1, len(problem.forget) + share)
    others = problem.labels.at[problem.retain].add(1) % 3
    assert_equal(after, fn(KEY, variables, seen.replace(labels=others))[0])


@pytest.mark.slow
def test_a_class_should_not_be_known_at_all(class_problem):
    """The accuracy aimed at is 0: no validation set is needed, and it goes on."""
    alone, original = class_problem.replace(validation=None), trained(class_problem)
    constants = dict(learning_rate=0.02, epochs=6, alpha=4.0, retain_percent=100)
    fn, seen = case("lotus", alone, **constants)
    after, info = fn(KEY, original, seen)
    assert info["target_accuracy"] == 0 and info["epochs"] == 6
    np.testing.assert_allclose(
        info["temperature"], np.exp(4.0 * info["forget_accuracy"]), 1e-4
    )
    assert share_right(alone, original["params"], alone.forget) == 1
    assert share_right(alone, after["params"], alone.forget) < 0.6
    assert share_right(alone, after["params"], alone.retain) > 0.9


def test_what_is_minimised_goes_down_and_f_gets_less_certain(hard_to_know, variables):
    constants = dict(learning_rate=0.01, epochs=8, alpha=6.0, gumbel=False)
    fn, seen = case("lotus", hard_to_know, **constants, **FULL)
    after, info = fn(KEY, variables, seen)
    assert (np.diff(info["loss"][:, 0]) < 0).all() and info["epochs"] == 8
    before, now = (
        softmax(np.asarray(logits_of(seen, v["params"], seen.forget))).max(-1).mean()
        for v in (variables, after)
    )
    assert now < before - 0.05


def test_it_needs_a_validation_set_for_a_random_request(problem, variables):
    with pytest.raises(InputError, match="validation set, whose accuracy it aims at"):
        lotus(KEY, variables, problem.replace(validation=None))
