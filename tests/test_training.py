"""The training loop against closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny_problem, trained
from trees import assert_close, assert_equal, flat

from unlearn import methods, optimizers, training
from unlearn.curvature import mean_gradient
from unlearn.errors import InputError
from unlearn.problem import Batch, Model
from unlearn.training import Recipe, shuffle
from unlearn.training_time.slice_training import class_weights

train_compiled = jax.jit(training.train, static_argnums=3)  # one program a recipe


@pytest.mark.parametrize("size, batch", [(10, 4), (8, 4), (3, 4), (1, 1), (7, 1)])
def test_a_pass_sees_every_example_exactly_once(size, batch):
    indices = jnp.arange(100, 100 + size)
    rows = shuffle(jax.random.key(0), indices, batch)
    counted = np.asarray(rows.indices)[np.asarray(rows.weights) == 1]
    assert sorted(counted) == list(range(100, 100 + size))
    assert rows.indices.shape == training.batch_shape(size, batch)
    assert set(np.ravel(rows.indices)) <= set(range(100, 100 + size))


def test_passes_follow_each_other_in_fresh_orders():
    rows = shuffle(jax.random.key(0), jnp.arange(6), 4, steps=9)
    passes = np.ravel(rows.indices).reshape(6, 6)
    assert all(sorted(p) == list(range(6)) for p in passes)
    assert len({tuple(p) for p in passes}) > 3
    assert np.all(rows.weights == 1)


@pytest.mark.slow
def test_ragged_batch_is_weighted_not_dropped(problem, variables):
    """One epoch of SGD without momentum on a linear model, by hand in numpy."""
    rate, indices = 0.1, jnp.arange(10)
    optimizer = optimizers.sgd(rate, momentum=0.0)
    objective = training.classification(problem.model)
    rows = shuffle(jax.random.key(3), indices, 4)
    state = training.start(variables, optimizer)
    state, losses = training.epoch(
        jax.random.key(4), state, problem, rows, objective, optimizer
    )
    params, seen = variables["params"], []
    for batch, weights in zip(*rows, strict=True):
        chosen = batch[weights == 1]
        seen += list(np.asarray(chosen))

        def loss(params, chosen=chosen):
            logits, _ = problem.model.apply({"params": params}, problem.inputs(chosen))
            log_p = jax.nn.log_softmax(logits)
            picked = log_p[jnp.arange(len(chosen)), problem.labels[chosen]]
            return -picked.sum() / 4

        params = jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params))
    assert sorted(seen) == list(range(10))
    assert_close(state.variables["params"], params)
    assert losses.shape == (3,)


def test_training_learns_and_resumes_from_any_epoch(problem):
    """Epochs one by one, from any saved state, give the bits of an unbroken run."""
    indices = jnp.arange(len(problem.labels))
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=0.1)
    optimizer = recipe.optimizer(len(indices))
    objective = training.classification(problem.model)

    @jax.jit
    def advance(key, state):
        return training.shuffled_epoch(
            key, state, problem, indices, objective, optimizer, batch_size=16
        )[0]

    key_init, key_fit = jax.random.split(jax.random.key(0))
    keys = training.epoch_keys(key_fit, 4)
    state = training.start(
        problem.model.init(key_init, problem.inputs(indices[:1])), optimizer
    )
    states = [state]
    for key in keys:
        states.append(advance(key, states[-1]))
    for first in range(1, 4):
        state = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), states[first])
        for key in training.epoch_keys(key_fit, 4)[first:]:
            state = advance(key, state)
        assert_equal(state, states[-1])
    whole, losses = training.train(jax.random.key(0), problem, indices, recipe)
    assert_close(whole, states[-1].variables, 1e-4, 1e-5)
    assert losses[-1].mean() < 0.7 * losses[0].mean()


def test_retrain_is_training_on_the_retain_set(problem):
    recipe = Recipe(epochs=2, batch_size=16)
    expected, _ = training.train(jax.random.key(7), problem, problem.retain, recipe)
    after, _ = methods.METHODS["retrain"].fn(
        jax.random.key(7), None, problem, epochs=2, batch_size=16
    )
    assert_equal(after, expected)


@pytest.mark.slow
def test_every_step_of_an_epoch_has_a_key_of_its_own(problem, variables):
    """Of the model, which may drop out, and of each set's augmentation."""
    noisy = problem.replace(
        augment=lambda key, inputs: inputs * 0 + jax.random.uniform(key)
    )
    rows = training.in_order(jnp.arange(4), 4)
    rows = jax.tree.map(lambda x: jnp.repeat(x, 6, axis=0), rows)
    optimizer = optimizers.sgd(0.0)
    state, key = training.start(variables, optimizer), jax.random.key(2)

    def numbers(rows, objective):
        return np.asarray(
            training.epoch(key, state, noisy, rows, objective, optimizer)[1]
        )

    def of_model(variables, batch, key):
        return jax.random.uniform(key), variables

    def of_augmentation(variables, batch, key):
        return batch.inputs.mean(), variables

    def of_first(variables, batches, key):
        return batches[0].inputs.mean(), variables

    def of_second(variables, batches, key):
        return batches[1].inputs.mean(), variables

    drawn = [
        numbers(rows, of_model),
        numbers(rows, of_augmentation),
        numbers((rows, rows), of_first),
        numbers((rows, rows), of_second),
    ]
    assert len(set(np.concatenate(drawn).tolist())) == 24
    shorter = jax.tree.map(lambda x: x[:2], rows)
    np.testing.assert_array_equal(numbers(shorter, of_model), drawn[0][:2])


@pytest.mark.parametrize("parts", [2, 3, 11])
@pytest.mark.slow
def test_a_batch_in_parts_takes_the_same_steps(problem, parts):
    """Also where parts do not divide the batch, or are more than its examples."""
    recipe = Recipe(epochs=4, batch_size=8, learning_rate=0.1, balance=1.0)
    key, indices = jax.random.key(0), jnp.arange(37)
    whole, losses = train_compiled(key, problem, indices, recipe)
    cut = recipe._replace(parts=parts)
    found, found_losses = train_compiled(key, problem, indices, cut)
    assert_close(found, whole)
    np.testing.assert_allclose(found_losses, losses, rtol=1e-4)


def test_every_example_is_in_one_part(problem):
    batch = problem.batch(jnp.arange(10), jnp.linspace(0.1, 1.0, 10))
    split = training.in_parts(batch, 4)
    assert split.inputs.shape == (4, 3, *batch.inputs.shape[1:])
    counted = np.asarray(split.weights) > 0
    assert counted.sum() == 10 and abs(split.weights.sum() - 12 * 0.55) < 1e-5
    found = np.asarray(split.inputs)[counted]
    both = [sorted(map(bytes, np.asarray(x))) for x in (found, batch.inputs)]
    assert both[0] == both[1]


@pytest.mark.slow
def test_parts_have_statistics_of_their_own_one_after_another(norm_problem):
    """A batch that is two times the same half: as the half alone, moved twice."""
    problem, optimizer = norm_problem, optimizers.sgd(0.1)
    objective = training.classification(problem.model)
    variables = problem.model.init(jax.random.key(1), problem.inputs(jnp.arange(2)))
    state, key = training.start(variables, optimizer), jax.random.key(0)
    half = problem.batch(jnp.arange(6), jnp.ones(6))
    twice = problem.batch(jnp.repeat(jnp.arange(6), 2), jnp.ones(12))
    descend = functools.partial(training.descend, objective, optimizer)
    descend = jax.jit(descend, static_argnames="parts")
    once, loss = descend(state, half, key)
    found, both = descend(state, twice, key, parts=2)
    assert_close(found.variables["params"], once.variables["params"])
    np.testing.assert_allclose(both, loss, rtol=1e-5)
    again = {**variables, **{k: v for k, v in once.variables.items() if k != "params"}}
    _, moved = jax.jit(objective)(again, half, key)
    assert_close(found.variables["batch_stats"], moved["batch_stats"])


@pytest.mark.slow
def test_parts_need_the_memory_of_one():
    from unlearn.models import create

    problem = tiny_problem(create("cnn", 3, widths=(32, 32), dense=8), size=512)
    objective, optimizer = training.classification(problem.model), optimizers.sgd(0.1)
    variables = problem.model.init(jax.random.key(0), problem.inputs(jnp.arange(2)))
    state = training.start(variables, optimizer)

    def bytes_of(parts):
        def step(state, indices, key):
            batch = problem.batch(indices, jnp.ones(len(indices)))
            more = dict(parts=parts)
            return training.descend(objective, optimizer, state, batch, key, **more)

        program = jax.jit(step).lower(state, jnp.arange(512), jax.random.key(0))
        return program.compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(8) < 0.3 * bytes_of(1)


def fitted(problem, variables, trainable):
    return training.fit(
        jax.random.key(0),
        variables,
        problem,
        problem.retain,
        training.classification(problem.model),
        optimizers.sgd(0.1, weight_decay=0.1),
        epochs=2,
        batch_size=8,
        trainable=trainable,
    )[0]


def test_frozen_leaves_keep_their_bits(problem, variables):
    frozen = {
        "trunk": {"kernel": False, "bias": False},
        "head": {"kernel": True, "bias": True},
    }
    after = fitted(problem, variables, frozen)
    for name, moves in frozen.items():
        old, new = (flat(v["params"][name]) for v in (variables, after))
        assert np.array_equal(old, new) != moves["kernel"]


@pytest.mark.slow
def test_flags_known_before_tracing_give_the_weights_of_flags_that_are_not(
    norm_problem, norm_variables
):
    """Frozen leaves are cut out of the backward pass, which changes no weight."""
    problem, variables = norm_problem, norm_variables
    frozen = jax.tree.map(lambda _: True, variables["params"])
    frozen["Dense_0"] = {"kernel": False, "bias": False}

    def run(trainable):
        return fitted(problem, variables, trainable)

    known = jax.jit(lambda: run(frozen))()
    traced = jax.jit(run)(jax.tree.map(jnp.array, frozen))
    assert_close(known, traced, 1e-6, 1e-6)


def test_predict_equals_apply_for_any_batch_size(norm_problem, norm_variables):
    problem, variables = norm_problem, norm_variables
    everything = jnp.arange(len(problem.labels))
    expected, _ = problem.model.apply(variables, problem.inputs(everything))
    for batch_size in (1, 7, 500):
        got = training.predict_set(problem, variables, everything, batch_size)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_mean_gradient_is_that_of_the_whole_set(problem, variables):
    objective = training.classification(problem.model, train=False)

    def loss(params):
        logits, _ = problem.model.apply(
            {"params": params}, problem.inputs(problem.retain)
        )
        labels = problem.labels[problem.retain]
        return training.cross_entropy(logits, labels).mean()

    expected = jax.jit(jax.grad(loss))(variables["params"])
    for batch_size in (4, 100):
        mean = functools.partial(mean_gradient, objective, batch_size=batch_size)
        got = jax.jit(mean)(variables, problem, problem.retain)
        assert_close(got, expected)


def test_kl_divergence_against_the_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 4))
    for t in (1.0, 3.0):
        p, q = (np.exp(x / t) / np.exp(x / t).sum(-1, keepdims=True) for x in (a, b))
        expected = t**2 * (p * np.log(p / q)).sum(-1)
        got = training.kl_divergence(jnp.asarray(a), jnp.asarray(b), t)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    zero = training.kl_divergence(jnp.asarray(a), jnp.asarray(a))
    np.testing.assert_allclose(zero, 0, atol=1e-6)


def test_augmentation_reaches_training_but_not_prediction():
    """An augmentation that blanks the image: nothing but the biases is learned."""
    problem = tiny_problem(augment=lambda key, inputs: jnp.zeros_like(inputs))
    plain = tiny_problem()
    blank = trained(problem, epochs=2)
    first = problem.model.init(
        jax.random.split(jax.random.key(0))[0], problem.inputs(jnp.arange(1))
    )
    kernels = [flat(v["params"]["trunk"]["kernel"]) for v in (blank, first)]
    decay = kernels[0] / kernels[1]
    np.testing.assert_allclose(decay, decay[0], rtol=1e-4)
    logits = training.predict_set(problem, blank, problem.forget)
    np.testing.assert_array_equal(
        logits, training.predict_set(plain, blank, plain.forget)
    )
    assert np.ptp(np.asarray(logits), axis=0).max() > 0


@pytest.mark.slow
def test_balanced_classes_weigh_the_same(problem):
    indices = jnp.asarray([i for i in range(40) if problem.labels[i] != 2 or i < 20])
    rows = training.shuffle(jax.random.key(0), indices, 7)
    balanced = jax.jit(training.balanced)
    weights = balanced(rows, problem, indices).weights
    labels = np.asarray(problem.labels)[rows.indices]
    totals = [np.sum(weights[labels == c]) for c in range(3)]
    np.testing.assert_allclose(totals, len(indices) / 3, rtol=1e-5)
    without = jnp.flatnonzero(problem.labels != 1)  # a forgotten class has no share
    rows = training.in_order(without, 5)
    total = balanced(rows, problem, without).weights.sum()
    np.testing.assert_allclose(total, len(without), rtol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_power_of_the_class_weights_tempers_them(problem, power):
    """Each weight by its formula, in training and in a slice of SISA."""
    indices = np.flatnonzero(np.asarray(problem.labels) != 1)[:-4]
    labels = np.asarray(problem.labels)[indices]
    expected = np.array([np.sum(labels == label) for label in labels]) ** -power
    expected *= len(labels) / expected.sum()
    rows = training.in_order(jnp.asarray(indices), len(indices))
    found = jax.jit(training.balanced)(rows, problem, jnp.asarray(indices), power)
    np.testing.assert_allclose(found.weights[0], expected, rtol=1e-5)
    of_slice = class_weights(problem, indices, power)
    np.testing.assert_allclose(of_slice[indices], expected, rtol=1e-6)


@pytest.mark.slow
def test_balance_is_a_float_that_may_be_traced(problem):
    recipe = training.Recipe(epochs=1, batch_size=8, warmup_epochs=0)

    def last_loss(balance):
        balanced = recipe._replace(balance=balance)
        return training.train(jax.random.key(0), problem, indices, balanced)[1][-1, -1]

    indices = jnp.arange(30)
    powers = jnp.asarray([0.0, 1.0])
    apart = [last_loss(float(power)) for power in powers]
    np.testing.assert_allclose(jax.vmap(last_loss)(powers), apart, rtol=1e-4)
    assert len({float(loss) for loss in apart}) == 2


def test_smoothed_labels_are_a_mixture_with_the_uniform_distribution():
    logits = jax.random.normal(jax.random.key(0), (6, 4))
    model = Model(None, lambda variables, inputs, **_: (logits, variables))
    labels, weights = jnp.array([0, 1, 2, 3, 0, 1]), jnp.array([1.0, 1, 1, 0, 2, 1])
    batch = Batch(jnp.zeros((6, 1)), labels, weights)
    objective = training.classification(model, label_smoothing=0.3)
    found, _ = objective({"params": {}}, batch, jax.random.key(0))
    targets = 0.7 * jax.nn.one_hot(labels, 4) + 0.3 / 4
    losses = optax.softmax_cross_entropy(logits, targets)
    assert float(found) == pytest.approx(float(jnp.mean(weights * losses)), rel=1e-6)

    @jax.jit
    def traced(share):
        smoothed = training.classification(model, label_smoothing=share)
        return smoothed({"params": {}}, batch, jax.random.key(0))[0]

    assert float(traced(0.3)) == pytest.approx(float(found), rel=1e-6)


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            dict(learning_rate=-0.1),
            "learning_rate must be finite and at least 0; it is",
        ),
        (dict(learning_rate=np.nan), "learning_rate must be finite and at least 0; it"),
        (dict(momentum=1.0), "momentum must be at least 0 and below 1; it is 1.0"),
        (dict(weight_decay=-1e-3), "weight_decay must be finite and at least 0; it is"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(problem, changes, words):
    args = jax.random.key(0), problem, problem.retain
    with pytest.raises(InputError, match=words):
        training.train(*args, Recipe(**changes))
    with pytest.raises(InputError, match=f"train.{words}"):
        Recipe(**changes).check("train.")


def test_more_warm_up_than_training_is_refused_where_it_is_asked_for(problem):
    recipe = Recipe(epochs=1, warmup_epochs=2, batch_size=16)
    with pytest.raises(InputError, match="warmup_epochs is 2, more than epochs, 1: lo"):
        recipe.check()
    training.train(jax.random.key(0), problem, problem.retain, recipe)  # of long ago


def test_the_floats_of_a_recipe_can_be_traced(problem):
    def losses(rate):
        recipe = Recipe(2, 16, rate, momentum=rate, weight_decay=rate)
        return training.train(jax.random.key(0), problem, problem.retain, recipe)[1]

    assert jax.eval_shape(jax.vmap(losses), -jnp.ones(3)).shape[:2] == (3, 2)


@pytest.mark.slow
def test_retrain_takes_muon_and_smoothed_labels_as_a_recipe_does(problem):
    changes = dict(epochs=2, batch_size=16, learning_rate=0.1, descent="muon")
    changes |= dict(label_smoothing=0.3, schedule="linear")
    recipe = Recipe(**changes)
    trained, _ = training.train(jax.random.key(0), problem, problem.retain, recipe)
    found, _ = methods.METHODS["retrain"].fn(
        jax.random.key(0), None, problem, **changes
    )
    assert_equal(found, trained)
    plain = recipe._replace(label_smoothing=0.0)
    other, _ = training.train(jax.random.key(0), problem, problem.retain, plain)
    assert not np.allclose(
        *(jax.tree.leaves(tree["params"])[0] for tree in (trained, other))
    )
