"""What is particular to UNSIR."""

import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case, settings
from conftest import trained
from references import losses_of

from unlearn.methods import METHODS
from unlearn.training import fit

unsir = importlib.import_module("unlearn.methods.unsir")


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem)


def class_loss(problem, variables, c):
    chosen = np.flatnonzero(problem.labels == c)
    inputs, labels = problem.inputs(chosen), problem.labels[chosen]
    return float(losses_of(problem, variables, inputs, labels).mean())


@pytest.mark.slow
def test_unsir_trains_on_noise_under_its_own_class(
    class_problem, variables, monkeypatch
):
    """The model errs on every noise image under the label it is trained with."""
    seen = {}

    def spy(key, variables, problem, indices, *rest, **options):
        seen.setdefault("impair", (problem, indices))
        return fit(key, variables, problem, indices, *rest, **options)

    monkeypatch.setattr(unsir, "fit", spy)
    problem = class_problem.replace(forget_classes=jnp.array([2, 1]))
    problem = problem.replace(retain=jnp.flatnonzero(problem.labels == 0))
    constants = settings(METHODS["unsir"]) | dict(noise_steps=40, examples=5)
    unsir.unsir(jax.random.key(0), variables, problem, **constants)
    noisy, indices = seen["impair"]
    np.testing.assert_array_equal(noisy.labels, [2] * 4 + [1] * 4)
    losses = losses_of(problem, variables, noisy.noise, noisy.labels)
    assert np.all(losses > 1.5 * np.log(3))
    wrong = losses_of(problem, variables, noisy.noise, jnp.zeros(8, int))  # a control
    assert not np.all(wrong > 1.5 * np.log(3))
    counts = np.bincount(indices, minlength=50)
    np.testing.assert_array_equal(counts[noisy.indices], 2)
    real = np.flatnonzero(counts[:42])
    assert len(real) == 5 and not np.asarray(problem.labels)[real].any()


@pytest.mark.parametrize("name", ["unsir", "curriculum_distill"])
def test_as_released_60_noise_images_are_fed(name):
    options = inspect.signature(METHODS[name].fn).parameters
    images, copies = (options[f"noise_{what}"].default for what in ("images", "copies"))
    assert images * copies == 60


@pytest.mark.slow
@pytest.mark.parametrize("c", [1, 2])
def test_unsir_impairs_the_class_most(class_problem, variables, c):
    problem = class_problem.replace(forget_classes=jnp.array([c]))
    problem = problem.replace(retain=jnp.flatnonzero(problem.labels != c))
    fn, seen = case(
        "unsir", problem, epochs=0, noise_images=8, noise_copies=4, noise_steps=40
    )
    after, _ = fn(jax.random.key(0), variables, seen)
    rises = [
        class_loss(problem, after, k) - class_loss(problem, variables, k)
        for k in range(3)
    ]
    assert np.argmax(rises) == c and rises[c] > 0.03
