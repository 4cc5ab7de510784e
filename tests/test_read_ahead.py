"""Batches are read before they are asked for, and are the same."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import trained
from trees import assert_close, assert_equal

from unlearn import curvature, data, models, parallel, read_ahead, stored, training
from unlearn.problem import make_problem

CNN = models.create("cnn", 3, widths=(4,), dense=4)


@pytest.fixture(autouse=True)
def no_orders():
    read_ahead._orders.clear()


class Reader:
    """Reads ten times the number of a row, and tells what it has read."""

    def __init__(self):
        self.seen = []
        self.read = threading.Condition()

    def __call__(self, numbers):
        with self.read:
            self.seen.append(numbers.tolist())
            self.read.notify_all()
        return numbers * 10

    def wait_for(self, count):
        with self.read:
            assert self.read.wait_for(lambda: len(self.seen) >= count, 10)


def test_the_next_batches_are_read_and_no_more():
    reader, order = Reader(), np.arange(12).reshape(6, 2)
    read_ahead.expect("a file", order, reader)
    for step, batch in enumerate(order):
        reader.wait_for(min(6, step + read_ahead.AHEAD))
        assert len(reader.seen) <= step + read_ahead.AHEAD
        assert_equal(read_ahead.take("a file", batch), batch * 10)
    assert sorted(reader.seen) == order.tolist()
    assert read_ahead.take("a file", order[0]) is None


def test_what_nobody_expects_is_not_there():
    reader, order = Reader(), np.arange(6).reshape(3, 2)
    read_ahead.expect("one file", order, reader)
    assert read_ahead.take("another", order[0]) is None
    assert read_ahead.take("one file", order[1]) is None
    assert read_ahead.take("one file", order[0][:1]) is None
    assert_equal(read_ahead.take("one file", order[0]), order[0] * 10)


def test_two_orders_go_on_side_by_side():
    """As a training that draws from two sets; the batches of many models are one."""
    reader = Reader()
    first, second = np.arange(12).reshape(2, 3, 2), np.arange(50, 53).reshape(3, 1)
    for order in (first, second):
        read_ahead.expect("sets", order, reader)
    for step in range(3):
        for order in (first, second):
            batch = order[..., step, :]
            assert_equal(read_ahead.take("sets", batch), batch * 10)


def test_orders_that_are_not_followed_are_forgotten():
    for number in range(read_ahead.ORDERS + 1):
        read_ahead.expect("old", np.full((2, 1), number), Reader())
    assert read_ahead.take("old", np.array([0])) is None
    for number in range(1, read_ahead.ORDERS + 1):
        assert read_ahead.take("old", np.array([number])) == 10 * number


def test_an_order_that_goes_on_is_not_forgotten():
    order = np.arange(3).reshape(3, 1)
    read_ahead.expect("long", order, Reader())
    assert read_ahead.take("long", order[0]) == 0
    for number in range(read_ahead.ORDERS - 1):
        read_ahead.expect("old", np.full((2, 1), number), Reader())
    assert read_ahead.take("long", order[1]) == 10
    for number in range(read_ahead.ORDERS - 1):
        read_ahead.expect("old", np.full((2, 1), number), Reader())
    assert read_ahead.take("long", order[2]) == 20


def test_without_threads_batches_are_read_as_they_are_asked_for(monkeypatch):
    def submit(*args):
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(read_ahead._readers, "submit", submit)
    read_ahead.expect("late", np.zeros((2, 1), int), Reader())
    assert read_ahead.take("late", np.zeros(1, int)) is None


def test_what_goes_wrong_is_said_when_it_is_asked_for():
    def read(numbers):
        raise OSError("gone")

    read_ahead.expect("broken", np.zeros((1, 1), int), read)
    with pytest.raises(OSError, match="gone"):
        read_ahead.take("broken", np.zeros(1, int))


@pytest.fixture
def problem(tmp_path):
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 47)
    images = draw.integers(0, 255, (47, 4, 4, 1)).astype(np.uint8)
    np.savez(
        tmp_path / "set.npz",
        train_images=images[:40],
        train_labels=labels[:40],
        test_images=images[40:],
        test_labels=labels[40:],
    )
    dataset = data.load(f"npz:{tmp_path / 'set.npz'}", resident=False)
    images, labels = dataset.train_images, dataset.train_labels
    return make_problem(images, labels, np.arange(5), CNN, num_classes=3)


@pytest.fixture
def expected(monkeypatch):
    """Whether each batch that was asked for had been expected."""
    asked, take = [], read_ahead.take

    def counted(of, numbers):
        found = take(of, numbers)
        asked.append(found is not None)
        return found

    monkeypatch.setattr(read_ahead, "take", counted)
    return asked


def test_a_training_expects_each_batch(problem, expected):
    recipe = training.Recipe(epochs=2, batch_size=8, warmup_epochs=0)

    def train(key):
        return training.train(key, problem, problem.retain, recipe)[0]

    jax.block_until_ready(jax.jit(train)(jax.random.key(0)))
    assert expected == [True] * 10
    many = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(1), 3))
    jax.block_until_ready(many)
    assert expected == [True] * 20
    assert not read_ahead._orders


def test_models_on_two_devices_expect_theirs(problem, expected):
    """Each device has an order of its own, or goes through one after another."""
    recipe = training.Recipe(epochs=2, batch_size=8, warmup_epochs=0)

    def train(key):
        return training.train(key, problem, problem.retain, recipe)[0]

    keys = jax.random.split(jax.random.key(0), 4)
    many, _ = parallel.map_models(train, keys)
    assert expected == [True] * 40 and not read_ahead._orders
    alone = jax.jit(train)(keys[3])
    assert_close(jax.tree.map(lambda leaf: leaf[3], many), alone, 1e-4, 1e-5)


def test_passes_over_a_set_expect_each_batch(problem, expected):
    variables = trained(problem)
    expected.clear()
    logits = training.predict_set(problem, variables, problem.retain, 8)
    assert logits.shape == (35, 3) and expected == [True] * 5
    args = training.classification(CNN), variables, problem, problem.retain
    jax.block_until_ready(curvature.mean_gradient(*args, batch_size=8))
    assert expected == [True] * 10


def test_a_method_of_two_sets(problem, expected):
    from unlearn.methods import METHODS

    fn = jax.jit(
        lambda key, variables: METHODS["neggrad_plus"].fn(
            key, variables, problem, epochs=1, batch_size=8
        )
    )
    variables = trained(problem)
    expected.clear()
    jax.block_until_ready(fn(jax.random.key(0), variables))
    assert len(expected) >= 10 and all(expected)


def test_batches_of_much_memory_are_read_as_they_are_asked_for(
    problem, expected, monkeypatch
):
    monkeypatch.setattr(stored, "MOST_AHEAD", 8 * 16 - 1)  # of eight images 4x4
    variables = trained(problem)
    expected.clear()
    logits = training.predict_set(problem, variables, problem.retain, 8)
    assert logits.shape == (35, 3) and expected == [False] * 5
    training.predict_set(problem, variables, problem.retain, 7)
    assert expected == [False] * 5 + [True] * 5


def test_arrays_are_not_announced():
    indices = jnp.arange(6).reshape(3, 2)
    assert stored.expecting(lambda rows: rows, jnp.zeros(6), indices) is indices
