"""What is particular to the bad teacher."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import case
from references import descend_with, kl, logits_of
from trees import assert_close

from unlearn.problem import Model

FULL = dict(batch_size=100)  # every pass is one step on all there is

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def bad(problem):
    return problem.model.init(jax.random.key(9), problem.inputs(problem.forget))


def with_bad_teacher(problem, bad):
    """Its freshly initialised model is `bad`, whatever the key."""
    model = problem.model
    init = lambda key, images: bad  # noqa: E731
    return problem.replace(model=Model(init, model.apply, model.activations))


@pytest.mark.slow
def test_bad_teacher_on_the_forget_set_good_teacher_elsewhere(problem, variables, bad):
    """Two full-batch steps: direction and scale of the KL, T^2, and who teaches whom.

    The controls: the other direction, or a division by the classes, is another loss.
    """
    temperature, rate = 2.0, 0.02
    order = jnp.concatenate([problem.forget, problem.retain])
    wanted = jnp.concatenate(
        [
            logits_of(problem, bad["params"], problem.forget),
            logits_of(problem, variables["params"], problem.retain),
        ]
    )
    p = jax.nn.softmax(wanted / temperature)

    def q(params):
        return jax.nn.softmax(logits_of(problem, params, order) / temperature)

    losses, params = descend_with(
        optax.adam(rate),
        lambda params: temperature**2 * kl(p, q(params)).mean(),
        variables["params"],
        2,
    )
    fn, seen = case(
        "bad_teacher",
        with_bad_teacher(problem, bad),
        learning_rate=rate,
        temperature=temperature,
        retain_percent=100,
        **FULL,
    )
    after, info = fn(KEY, variables, seen)
    np.testing.assert_allclose(info["loss"][:, 0], losses, 1e-4)
    assert_close(after["params"], params, 1e-4, 1e-5)
    reverse = temperature**2 * kl(q(variables["params"]), p).mean()
    assert abs(reverse - losses[0]) > 5e-3 * losses[0] > 0


@pytest.mark.slow
def test_bad_teacher_takes_a_share_of_the_retain_set(problem, variables, bad):
    """Where the student still is the good teacher, only the forget set has a loss."""
    fn, seen = case(
        "bad_teacher",
        with_bad_teacher(problem, bad),
        epochs=1,
        retain_percent=30,
        **FULL,
    )
    _, info = fn(KEY, variables, seen)
    p, q = (
        jax.nn.softmax(logits_of(problem, v["params"], problem.forget))
        for v in (bad, variables)
    )
    share = len(problem.retain) * 3 // 10
    expected = kl(p, q).sum() / (len(problem.forget) + share)
    np.testing.assert_allclose(info["loss"][0, 0], expected, 1e-4)
