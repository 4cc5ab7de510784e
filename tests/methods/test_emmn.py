"""What is particular to error-minimising and -maximising noise."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import case
from conftest import trained
from references import accuracies

from unlearn.methods import METHODS
from unlearn.methods.emmn import mixed, without
from unlearn.methods.noise import error_maximizing_noise
from unlearn.problem import withhold
from unlearn.training import cross_entropy

FORGOTTEN = np.array([False, True, False])


@pytest.fixture(scope="module")
def variables(class_problem):
    return trained(class_problem, epochs=20)


@pytest.mark.slow
def test_the_papers_impairment_alone_does_not_forget(class_problem, variables):
    """Why there is a repair: noise that is labelled c makes c more frequent."""
    constants = dict(images=32, epochs=10, repair_epochs=0, learning_rate=3e-3)
    fn, seen = case("emmn", class_problem, **constants)
    after, info = fn(jax.random.key(0), variables, seen)
    assert accuracies(class_problem, after)[1] > 0.8
    assert info["loss"][-1].mean() < info["loss"][0].mean()
    assert "repair_loss" not in info


@pytest.mark.slow
def test_impairment_labels_maximising_noise_with_the_forgotten_class(
    class_problem, variables
):
    """On noise of class 1, the label 1 is learnt; the control forgets class 0."""
    constants = dict(images=16, batch_size=48, epochs=150, repair_epochs=0)
    fn, seen = case("emmn", class_problem, learning_rate=1e-2, **constants)
    labels = jnp.full(16, 1)
    images = error_maximizing_noise(
        jax.random.key(9), variables, seen, labels, steps=25
    )

    def loss(variables):
        logits, _ = seen.model.apply(variables, images)
        return float(cross_entropy(logits, labels).mean())

    after, _ = fn(jax.random.key(0), variables, seen)
    other = seen.replace(forget_classes=jnp.array([0], jnp.int32))
    control, _ = fn(jax.random.key(0), variables, other)
    assert loss(after) < 0.5 * min(loss(variables), loss(control))


@pytest.mark.slow
def test_emmn_impairs_with_noise_on_which_the_model_errs(
    class_problem, variables, monkeypatch
):
    module, noises = importlib.import_module("unlearn.methods.emmn"), []

    def fit(key, variables, noise, *args, **options):
        noises.append(noise)
        return module_fit(key, variables, noise, *args, **options)

    module_fit = module.fit
    monkeypatch.setattr(module, "fit", fit)
    module.emmn(
        jax.random.key(0),
        variables,
        withhold(class_problem, METHODS["emmn"].needs),
        images=6,
        max_steps=40,
        min_steps=30,
        epochs=1,
        repair_epochs=1,
    )
    noise = noises[0]
    logits = class_problem.model.apply(variables, noise.noise)[0]
    losses, of_forgotten = cross_entropy(logits, noise.labels), noise.labels == 1
    assert of_forgotten.sum() == 6 and losses[of_forgotten].min() > 1.5 * np.log(3)
    assert losses[~of_forgotten].max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("repair_epochs, images", [(0, 2 * 2), (1, 3 * 2)])
def test_noise_of_the_forgotten_is_minimised_for_the_repair_only(
    repair_epochs, images, class_problem, variables, monkeypatch
):
    module, made = importlib.import_module("unlearn.methods.emmn"), []

    def minimising(key, variables, problem, labels, **options):
        made.append(len(labels))
        return jnp.zeros((len(labels), 4, 4, 1))

    monkeypatch.setattr(module, "error_minimizing_noise", minimising)
    fn, seen = case("emmn", class_problem, images=2, repair_epochs=repair_epochs)
    jax.eval_shape(fn, jax.random.key(0), variables, seen)
    assert made == [images]


@pytest.mark.slow
def test_mixtures_lie_between_two_images():
    inputs = jax.random.normal(jax.random.key(0), (6, 4, 4, 1))
    after = np.asarray(mixed(jax.random.key(1), inputs)).reshape(6, -1)
    flat = np.asarray(inputs).reshape(6, -1)
    for i in range(6):
        between = np.minimum(flat[i], flat) - 1e-6 <= after[i]
        between &= after[i] <= np.maximum(flat[i], flat) + 1e-6
        assert between.all(1).any()


@pytest.mark.slow
def test_a_masked_teacher_gives_the_class_nothing_and_keeps_the_other_ratios():
    logits = np.array([[1.0, 5.0, 2.0]], np.float32)
    p = np.asarray(jax.nn.softmax(without(logits, FORGOTTEN)))[0]
    np.testing.assert_allclose(p, np.exp([1, -np.inf, 2]) / (np.e + np.e**2), rtol=1e-6)
