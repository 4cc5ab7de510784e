"""Test-time mirroring: what a model of the mean answers, and how it is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import NormNet, plain_model, tiny_problem, trained
from deployments import config as deployment_config
from small_runs import Silent, small_config
from trees import assert_equal

from unlearn import models, pipeline, store, surgery, training
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.pipeline import setup
from unlearn.problem import Model, make_problem
from unlearn.requests import deploying, matching

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def case():
    """A net with batch statistics, its variables and images."""
    problem = tiny_problem(models.from_linen(NormNet()))
    return problem.model, trained(problem), problem.inputs(jnp.arange(12))


def test_logits_are_the_mean_of_two(case):
    model, variables, images = case
    logits, new = models.mirrored(model).apply(variables, images, key=KEY)
    turned = np.asarray(images)[:, :, ::-1]
    both = [model.apply(variables, x)[0] for x in (images, turned)]
    np.testing.assert_allclose(logits, np.mean(both, 0), rtol=1e-6, atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 0.1
    assert new is variables
    other, _ = models.mirrored(model).apply(variables, turned)
    np.testing.assert_allclose(logits, other, atol=1e-6)


def test_training_is_the_models_own(case):
    model, variables, images = case
    found = models.mirrored(model).apply(variables, images, train=True, key=KEY)
    assert_equal(found, model.apply(variables, images, train=True, key=KEY))
    problem = tiny_problem(model)
    recipe = training.Recipe(epochs=2, batch_size=16)
    alike = [
        training.train(KEY, problem.replace(model=one), problem.retain, recipe)
        for one in (model, models.mirrored(model))
    ]
    assert_equal(*alike)


def test_the_head_sees_the_mean(case):
    model, variables, images = case
    found, logits, _ = models.mirrored(model).activations(variables, images)
    own, _, _ = model.activations(variables, images)
    assert list(found) == list(own)
    *before, head = own
    assert_equal([found[one] for one in before], [own[one] for one in before])
    made = surgery.head_logits(surgery.at(variables["params"], head), found[head])
    np.testing.assert_allclose(logits, made, atol=1e-5)
    expected, _ = models.mirrored(model).apply(variables, images)
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    training_too = models.mirrored(model).activations(variables, images, train=True)
    assert_equal(training_too, model.activations(variables, images, train=True))


@pytest.mark.slow
def test_gradients_in_evaluation_mode_are_of_the_mean(case):
    model, variables, images = case
    labels = jnp.arange(12) % 3

    def loss(params, apply):
        logits, _ = apply({**variables, "params": params}, images)
        return training.cross_entropy(logits, labels).mean()

    def by_hand(variables, images):
        both = [model.apply(variables, x)[0] for x in (images, images[:, :, ::-1])]
        return (both[0] + both[1]) / 2, variables

    made, expected = (
        jax.grad(loss)(variables["params"], apply)
        for apply in (models.mirrored(model).apply, by_hand)
    )
    assert_equal(made, expected)


def test_one_model_has_one_mirror(case):
    assert models.mirrored(case[0]) is models.mirrored(case[0])
    plain = plain_model()._replace(activations=None)
    assert models.mirrored(plain).activations is None


def test_only_images_have_a_mirror_image():
    def init(key, inputs):
        return {"params": {"w": jnp.zeros((5, 2))}}

    def apply(variables, inputs, *, train=False, key=None):
        return inputs @ variables["params"]["w"], variables

    model = models.mirrored(Model(init, apply))
    features = np.zeros((6, 5), np.float32)
    with pytest.raises(InputError, match=r"for images \[H, W, C\]; .* are \[5\]"):
        make_problem(features, [0, 1] * 3, [0], model)


def test_a_head_fit_to_features(case):
    """A method that looks inside works on the mean as well."""
    model, variables, _ = case
    problem = tiny_problem(models.mirrored(model))
    after, _ = METHODS["newton_head"].fn(KEY, variables, problem, steps=2)
    assert np.isfinite(training.predict_set(problem, after, problem.retain)).all()


@pytest.mark.slow
def test_a_run_measures_the_mean_and_trains_as_before(tmp_path):
    config = {"run": (), "seeds": 1, "train__epochs": 1}
    plain = small_config(**config)
    both = small_config(**config, model__test_flip=True)
    assert "test_flip" not in setup.saved_config(plain, ())["model"]
    assert setup.saved_config(both, ())["model"]["test_flip"] is True
    weights, logits = [], []
    for name, one in (("plain", plain), ("both", both)):
        pipeline.run(one, tmp_path / name, progress=Silent())
        built = pipeline.prepare(one, tmp_path / name, (), progress=Silent())
        weights.append(pipeline.make_model(built, "original", 0)[0])
        folder = tmp_path / name / "evaluations" / "original"
        logits.append(store.load_arrays(folder / "0.npz")["test_logits"])
        if name == "plain":
            model, images = built.problem.model, built.test_examples
            inputs = built.problem.preprocess(images)
    assert_equal(*weights)
    turned = model.apply(weights[0], inputs[:, :, ::-1])[0]
    np.testing.assert_allclose(logits[1], (logits[0] + turned) / 2, atol=1e-5)


def test_a_deployment_keeps_what_it_was_told():
    config = deployment_config(model__test_flip=True)
    kept = deploying.make_settings(config, "finetune", None)
    assert kept["model"]["test_flip"] is True
    kept["class_names"] = ["a", "b", "c"]
    model = matching.make_model(kept)
    del kept["model"]["test_flip"]
    assert model is models.mirrored(matching.make_model(kept))
    plain = deploying.make_settings(deployment_config(), "finetune", None)
    assert "test_flip" not in plain["model"]
