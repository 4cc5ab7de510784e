"""Every training-time method through the same protocol."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, trained
from training_time_cases import GONE, KEY, SETTINGS, numpy_copy
from trees import assert_equal, distance

from unlearn import InputError, Model, make_problem, store, training_time
from unlearn.requests import states
from unlearn.training_time import with_data, without_data


@pytest.fixture(params=SETTINGS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def state(name, problem):
    return training_time.METHODS[name].fit(KEY, problem, **SETTINGS[name])


@pytest.fixture(scope="module")
def after(name, state):
    return training_time.METHODS[name].forget(jax.random.key(7), state, GONE)


def test_declaration():
    assert SETTINGS.keys() == training_time.METHODS.keys()
    for name, info in training_time.METHODS.items():
        assert info.name == name and info.paper and isinstance(info.differs, str)
    guarantees = {n: info.guarantee for n, info in training_time.METHODS.items()}
    assert guarantees == dict(sisa="exact", amnesiac="none", certified="certified")


def test_protocol(name, state, after, problem):
    """Deterministic; arguments keep their bits; logits finite; forgetting changes."""
    method = training_time.METHODS[name]
    before = numpy_copy((state, problem))
    again = method.fit(KEY, problem, **SETTINGS[name])
    assert_equal(numpy_copy(again), before[0])
    after, info = after
    twin, _ = method.forget(jax.random.key(7), state, GONE)
    assert_equal(numpy_copy((state, problem)), before)
    assert_equal(numpy_copy(twin), numpy_copy(after))
    logits = [method.predict(s, problem.examples) for s in (state, after)]
    for values in logits:
        assert values.shape == (40, 3) and values.dtype == jnp.float32
        assert np.isfinite(values).all()
    assert distance(*logits) > 0
    assert all(np.ndim(value) == 0 for value in info.values())
    removed = np.flatnonzero(~np.asarray(after.active))
    np.testing.assert_array_equal(removed, GONE)
    labels = np.asarray(problem.labels)
    assert np.mean(np.argmax(logits[0], -1) == labels) > 0.5


def test_works_with_batch_statistics(name, norm_problem, norm_variables):
    settings = dict(SETTINGS[name])
    if name == "certified":
        settings["variables"] = norm_variables
    state = training_time.METHODS[name].fit(KEY, norm_problem, **settings)
    state, _ = training_time.METHODS[name].forget(KEY, state, [0])
    assert np.isfinite(
        training_time.METHODS[name].predict(state, norm_problem.examples)
    ).all()


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        ([], "nothing to forget"),
        ([40], "out of range"),
        ([-1], "out of range"),
        ([3, 3], "repeated"),
        ([0.5], "whole numbers"),
        ([2, 5], "5 is not in the training set"),
        ([i for i in range(40) if i not in GONE], "every example that is left"),
    ],
)
def test_requests_are_checked(name, indices, says, after):
    with pytest.raises(InputError, match=says) as error:
        training_time.METHODS[name].forget(KEY, after[0], indices)
    assert "\n" not in str(error.value)


def test_state_survives_a_checkpoint(name, state, after, problem, tmp_path):
    small = without_data(state)
    store.save_checkpoint(tmp_path / "state", small, {})
    loaded, _ = store.load_checkpoint(tmp_path / "state", small)
    loaded, _ = training_time.METHODS[name].forget(
        jax.random.key(7), with_data(loaded, problem), GONE
    )
    assert_equal(
        training_time.METHODS[name].predict(without_data(loaded), problem.examples),
        training_time.METHODS[name].predict(after[0], problem.examples),
    )
    assert small.problem.examples is None


def pair_model():
    """Of two inputs: an image and two numbers."""
    net = plain_model()

    def join(inputs):
        flat = inputs["image"].reshape(len(inputs["image"]), -1)
        return jnp.concatenate([flat, inputs["more"]], axis=1)

    def activations(variables, inputs, **options):
        return net.activations(variables, join(inputs), **options)

    return Model(
        lambda key, inputs: net.init(key, join(inputs)),
        lambda variables, inputs, **options: activations(variables, inputs)[1:],
        activations,
    )


def token_model():
    """The mean of embeddings before a perceptron."""
    net = plain_model()

    def init(key, tokens):
        table = jax.random.normal(key, (11, 5))
        return {"params": net.init(key, table[:1])["params"] | {"table": table}}

    def activations(variables, tokens, **options):
        embedded = variables["params"]["table"][tokens].mean(1)
        found, logits, _ = net.activations(variables, embedded, **options)
        return found, logits, variables

    def apply(variables, tokens, **options):
        return activations(variables, tokens)[1:]

    return Model(init, apply, activations)


def any_problem(kind):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 40)
    if kind == "tokens":
        inputs = rng.integers(0, 8, (40, 6)) + labels[:, None]
        return make_problem(inputs, labels, [], token_model())
    if kind == "floats":
        inputs = rng.normal(size=(40, 4)).astype(np.float32) + labels[:, None]
        return make_problem(inputs, labels, [], plain_model())
    image = rng.normal(size=(40, 2, 2, 1)).astype(np.float32)
    more = rng.normal(size=(40, 2)).astype(np.float32) + labels[:, None]
    return make_problem({"image": image, "more": more}, labels, [], pair_model())


@pytest.mark.parametrize("kind", ["tokens", "floats", "a dict"])
@pytest.mark.slow
def test_any_inputs_will_do(name, kind, tmp_path):
    method, problem = training_time.METHODS[name], any_problem(kind)
    settings = SETTINGS[name] | ({} if name == "certified" else dict(epochs=20))
    if name == "certified" and kind != "floats":
        with pytest.raises(InputError, match="certified needs inputs") as error:
            method.fit(KEY, problem, **settings)
        assert "\n" not in str(error.value)
        settings["variables"] = trained(problem)
    fitted = method.fit(KEY, problem, **settings)
    right = np.argmax(method.predict(fitted, problem.examples), -1) == problem.labels
    assert np.mean(right) > 0.4
    state, _ = method.forget(KEY, fitted, GONE)
    logits = method.predict(state, problem.examples)
    assert logits.shape == (40, 3) and np.isfinite(logits).all()
    states.save(tmp_path / "state", state)
    loaded = states.load(tmp_path / "state", problem)
    assert_equal(method.predict(loaded, problem.examples), logits)
