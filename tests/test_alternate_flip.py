"""Alternating flips: which examples a training sees mirrored, by what it is shown."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import plain_model, tiny_problem
from small_runs import Silent, problem_of, small_config
from trees import assert_close, assert_equal, distance

from unlearn import data, pipeline, spread, stored, training
from unlearn.data.augment import augmentation, of_config
from unlearn.errors import InputError
from unlearn.methods.taught import Taught
from unlearn.pipeline import setup, stages
from unlearn.problem import make_problem, on_devices

SIZE, EPOCHS, BATCH = 64, 5, 20
INDICES = np.arange(3, 60)  # 57: the last batch of three is filled up
ALTERNATING = augmentation(flip=True, alternate_flip=True)
RANDOM = augmentation(flip=True)


def pictures():
    """Black at the left, white at the right, and between them the example's number."""
    images = np.zeros((SIZE, 2, 4, 1), np.uint8)
    images[:, :, 1:3, 0] = np.arange(SIZE)[:, None, None]
    images[:, :, 3] = 255
    return images


def problem_with(augment, images=None):
    images = pictures() if images is None else images
    labels = np.arange(SIZE) % 3
    return make_problem(
        images, labels, [0], plain_model(), num_classes=3, augment=augment
    )


def is_mirrored(inputs):
    """Reads the numbers of examples off their pictures, and whether they are turned."""
    pixels = np.rint((np.asarray(inputs) / 2 + 0.5) * 255).astype(int)[:, 0, :, 0]
    assert (np.sort(pixels[:, [0, 3]]) == [0, 255]).all()
    return pixels[:, 1], pixels[:, 0] == 255


def shown(problem, key, by_turns=True):
    """Trains for some epochs; returns what each shows: bool[E, examples], -1 if not.

    `by_turns`: the filling of a last batch is to look like the example itself.
    """
    batches = []

    def objective(variables, batch, key):
        jax.debug.callback(lambda x: batches.append(x), batch.inputs, ordered=True)
        return variables["params"]["w"].sum(), variables

    variables = {"params": {"w": jnp.zeros(2)}}
    settings = {"epochs": EPOCHS, "batch_size": BATCH}
    args = key, variables, problem, jnp.asarray(INDICES), objective, optax.sgd(0.1)
    jax.block_until_ready(training.fit(*args, **settings))
    jax.effects_barrier()
    seen = np.full((EPOCHS, SIZE), -1)
    for number, batch in enumerate(batches):
        of_epoch = seen[number // 3]
        for example, side in zip(*is_mirrored(batch), strict=True):
            if of_epoch[example] < 0:
                of_epoch[example] = side
            assert of_epoch[example] == side or not by_turns
    assert len(batches) == 3 * EPOCHS
    return seen


@pytest.mark.parametrize("resident", [True, False])
def test_each_example_is_mirrored_in_every_other_epoch(resident, tmp_path):
    images = pictures()
    if not resident:
        arrays = {"train_labels": np.arange(SIZE) % 3, "test_labels": np.arange(3)}
        path = tmp_path / "set.npz"
        np.savez(path, train_images=images, test_images=images[:3], **arrays)
        images = data.load(f"npz:{path}", resident=False).train_images
        assert isinstance(images, stored.Stored)
    key = jax.random.key(5)
    seen = shown(problem_with(ALTERNATING, images), key)
    assert ((seen >= 0) == np.isin(np.arange(SIZE), INDICES)).all()
    of_set = seen[:, INDICES]
    assert (of_set[1:] == 1 - of_set[:-1]).all()
    assert 0.3 < of_set[0].mean() < 0.7
    own = jax.random.fold_in(key, 2**31 - 1)
    first = [jax.random.bernoulli(jax.random.fold_in(own, i), 0.5) for i in INDICES]
    np.testing.assert_array_equal(of_set[0], first)
    others = shown(problem_with(ALTERNATING), jax.random.key(6))
    assert (others[0] != seen[0]).any()


def test_nothing_alternates_by_chance():
    """What the test above sees of flips that are random in each epoch."""
    problem = problem_with(RANDOM)
    seen = shown(problem, jax.random.key(5), by_turns=False)[:, INDICES]
    same = (seen[1:] == seen[:-1]).mean()
    assert 0.35 < same < 0.65


@pytest.mark.slow
def test_who_counts_no_epochs_flips_at_random():
    """Batches, and problems in another's place, to the bits of a random flip."""
    key, indices = jax.random.key(0), jnp.arange(SIZE)
    plain, alternating = problem_with(RANDOM), problem_with(ALTERNATING)
    assert_equal(alternating.batch(indices, key=key), plain.batch(indices, key=key))
    assert alternating.in_epoch(key, 1).epoch is not None
    assert plain.in_epoch(key, 1) is plain
    bare = [_Bare(Taught(p, lambda inputs, _: inputs)) for p in (plain, alternating)]
    found = [shown(one, jax.random.key(5), by_turns=False) for one in bare]
    np.testing.assert_array_equal(*found)
    longer = dict(flip=True, crop=1, jitter=0.1)
    inputs = jax.random.normal(key, (8, 5, 6, 3))
    one, other = augmentation(**longer), augmentation(**longer, alternate_flip=True)
    np.testing.assert_array_equal(one(key, inputs), other(key, inputs))


class _Bare:
    """Shows the inputs of a `Taught` without its answers."""

    def __init__(self, taught):
        self.taught = taught

    def batch(self, indices, weights=None, *, key=None):
        batch = self.taught.batch(indices, weights, key=key)
        return batch._replace(inputs=batch.inputs[0])


def test_only_the_flip_is_another():
    """What comes after it is the same to the bit, whichever way round an image is."""
    key, indices = jax.random.key(1), jnp.arange(9, 17)
    inputs = jax.random.normal(key, (8, 5, 6, 3))
    whole = augmentation(flip=True, alternate_flip=True, crop=2, jitter=0.2)
    augment = jax.jit(lambda number: whole.in_epoch(key, number, indices)(key, inputs))
    first, second, third = (np.asarray(augment(number)) for number in range(3))
    np.testing.assert_array_equal(first, third)
    turned = inputs[:, :, ::-1]

    def again(number):
        return whole.in_epoch(key, jnp.int32(number), indices)(key, turned)

    np.testing.assert_allclose(again(0), second, atol=1e-6)
    assert np.abs(first - second).max(axis=(1, 2, 3)).min() > 0.1


def test_of_other_keys_together():
    """Trained by one program, each model as alone; on two devices, the same."""
    problem, keys = problem_with(ALTERNATING), jax.random.split(jax.random.key(0), 3)
    indices = jnp.arange(10)

    def inputs(key, number, problem=problem):
        return problem.in_epoch(key, number).batch(indices, key=key).inputs

    together = jax.jit(jax.vmap(inputs, (0, None)))(keys, 3)
    for key, of_key in zip(keys, together, strict=True):
        np.testing.assert_array_equal(of_key, inputs(key, 3))
    two = on_devices(problem, spread.make_mesh(2))
    spread_out = jax.jit(lambda problem: inputs(keys[0], 3, problem))(two)
    np.testing.assert_allclose(spread_out, together[0], atol=1e-6)


def test_options():
    assert augmentation(flip=True, alternate_flip=True) is ALTERNATING
    assert of_config({"flip": True, "name": "digits", "validation": 0.1}) is RANDOM
    with pytest.raises(InputError, match="alternate_flip is a way to flip"):
        augmentation(alternate_flip=True)
    config = small_config(data__alternate_flip=True)
    with pytest.raises(InputError, match=r"set data\.flip=True"):
        pipeline.checks.check(config, ())


def test_an_augmentation_of_ones_own_may_know_the_epoch():
    class Growing:
        def __call__(self, key, inputs):
            return inputs

        def in_epoch(self, key, number, indices):
            return lambda key, inputs: inputs * 0 + number

    key = jax.random.key(0)
    problem = tiny_problem(augment=Growing())
    batch = problem.in_epoch(key, 7).batch(jnp.arange(3), key=key)
    assert (batch.inputs == 7).all()
    plain = problem.in_epoch(key, 7).batch(jnp.arange(3)).inputs
    np.testing.assert_array_equal(plain, problem.inputs(jnp.arange(3)))
    blank = problem.in_epoch(key, 7).replace(augment=lambda key, inputs: inputs + 1)
    assert_close(blank.batch(jnp.arange(3), key=key).inputs, plain + 1)


def settings_of(**changes):
    return small_config(run=(), seeds=1, data__flip=True, train__epochs=3, **changes)


def test_folders_from_before_the_option_go_on():
    saved = setup.saved_config(settings_of(), ())
    assert "alternate_flip" not in saved["data"]
    saved = setup.saved_config(settings_of(data__alternate_flip=True), ())
    assert saved["data"]["alternate_flip"] is True


@pytest.mark.slow
def test_a_run_trains_as_the_loop_does(tmp_path):
    """Its epochs are programs of their own, and early weights are made by others."""
    config = settings_of(data__alternate_flip=True)
    built = pipeline.prepare(config, tmp_path / "run", ("rewind",), progress=Silent())
    problem, recipe = problem_of(config), training.Recipe(**config.train)
    key, indices = pipeline.key_of(0, "original"), jnp.arange(len(problem.labels))
    expected, _ = training.train(key, problem, indices, recipe)
    random = problem.replace(augment=RANDOM)
    other, _ = training.train(key, random, indices, recipe)
    trained, _ = stages.train(built, "original", 0)
    assert_close(trained, expected, 1e-4, 1e-5)
    assert distance(expected, other) > 0.01
    two, _ = training.train(key, problem, indices, recipe, epochs=2)
    assert_close(stages.early(built, 0, (2,))[2], two, 1e-4, 1e-5)
