"""Forget sets and the checks on a problem's arrays."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data, tiny_problem

from unlearn import make_problem, problem
from unlearn.errors import InputError

LABELS = np.repeat(np.arange(4), 25)


def test_forget_and_retain_partition_the_training_set():
    p = tiny_problem()
    union = np.concatenate([p.forget, p.retain])
    assert sorted(union) == list(range(len(p.labels)))


def test_random_by_fraction_and_by_count():
    by_fraction = problem.forget_random(LABELS, fraction=0.1, seed=3)
    assert len(by_fraction) == 10 and len(set(by_fraction)) == 10
    np.testing.assert_array_equal(
        by_fraction, problem.forget_random(LABELS, count=10, seed=3)
    )
    assert set(by_fraction) != set(problem.forget_random(LABELS, count=10, seed=4))


def test_classes_and_parts_of_classes():
    whole = problem.forget_class(LABELS, [1, 3], num_classes=4)
    np.testing.assert_array_equal(whole, np.flatnonzero(LABELS % 2 == 1))
    part = problem.forget_class(LABELS, [2], num_classes=4, fraction=0.2)
    assert len(part) == 5 and np.all(LABELS[part] == 2)


def test_indices_from_files(tmp_path):
    (tmp_path / "a.txt").write_text("3\n1\n2\n")
    np.save(tmp_path / "b.npy", np.array([3, 1, 2]))
    for name in ("a.txt", "b.npy"):
        assert list(problem.read_indices(tmp_path / name)) == [3, 1, 2]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: problem.forget_random(LABELS), "empty"),
        (lambda: problem.forget_random(LABELS, fraction=1.0), r"\(0, 1\)"),
        (lambda: problem.forget_random(LABELS, fraction=-0.1), r"\(0, 1\)"),
        (lambda: problem.forget_random(LABELS, count=100), "99"),
        (lambda: problem.forget_random(LABELS, fraction=0.1, count=5), "both"),
        (lambda: problem.forget_class(LABELS, [4], num_classes=4), "no class 4"),
        (lambda: problem.forget_class(LABELS, [4], num_classes=5), "no training"),
        (lambda: problem.check_forget_indices([], 9), "empty"),
        (lambda: problem.check_forget_indices([9], 9), "0..8"),
        (lambda: problem.check_forget_indices([-1], 9), "index -1"),
        (lambda: problem.check_forget_indices([2, 2], 9), "repeated"),
        (lambda: problem.check_forget_indices([0.5], 9), "whole numbers"),
        (lambda: problem.check_forget_indices(range(9), 9), "nothing to retain"),
        (lambda: problem.read_indices("/no/such/file"), "cannot read"),
    ],
)
def test_bad_forget_sets_get_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_text_file_with_words_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("1 two")
    with pytest.raises(InputError, match="whole numbers"):
        problem.read_indices(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x.astype(float), y), "uint8"),
        (lambda x, y: (x[..., 0], y), "uint8"),
        (lambda x, y: (x, y[:-1]), "one an image"),
        (lambda x, y: (x, y.astype(float)), "one an image"),
        (lambda x, y: (x, y + 1), "0..2"),
    ],
)
def test_bad_arrays_get_one_line(change, message):
    with pytest.raises(InputError, match=message):
        make_problem(*change(*tiny_data()), [1], plain_model(), num_classes=3)


def test_inputs_are_standardised():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    p = make_problem(images, [0, 1, 1], [0], plain_model(), mean=0.2, std=0.1)
    got = np.ravel(p.inputs(jnp.arange(3)))
    np.testing.assert_allclose(got, [-2, 0, 8], atol=1e-6)
