"""Shadow models of a problem: who saw what, and margins like those of each alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_problem
from trees import pick

from unlearn import shadows
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.metrics.lira import FORGET, OUT, RETAIN, margins
from unlearn.metrics.strongest import attack_all
from unlearn.problem import withhold
from unlearn.training import Recipe, predict_set, train

RECIPE = Recipe(epochs=2, batch_size=8)
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def problem():
    return tiny_problem(size=30, forget=6)


@pytest.fixture(scope="module")
def made(problem):
    return shadows.train_shadows(KEY, problem, RECIPE, models=9)


def test_every_target_has_every_state_equally_often(made, problem):
    np.testing.assert_array_equal(made.targets, problem.forget)
    for state in (OUT, RETAIN, FORGET):
        np.testing.assert_array_equal((made.states == state).sum(0), 3)
        np.testing.assert_array_equal((made.states == state).sum(1), 2)
    others = np.setdiff1d(np.arange(30), made.targets)
    for states, forget, retain in zip(
        made.states, made.forget, made.retain, strict=True
    ):
        assert set(forget) == set(made.targets[states == FORGET])
        assert set(retain) == {*made.targets[states == RETAIN], *others}
        assert len(retain) == 2 + 24


@pytest.mark.slow
@pytest.mark.parametrize("name", ["original", "finetune"])
def test_margins_are_those_of_the_models_one_by_one(made, problem, name):
    found = shadows.shadow_margins(KEY, made, name, **options(name))
    assert found.shape == (9, 6)
    keys, labels = jax.random.split(KEY, 9), np.asarray(problem.labels)

    @jax.jit
    def unlearned(key, variables, own):
        info = METHODS[name]
        return info.fn(key, variables, withhold(own, info.needs), **options(name))[0]

    for s in (0, 8):
        variables = pick(made.variables, s)
        if name != "original":
            own = problem.replace(
                forget=jnp.asarray(made.forget[s]), retain=jnp.asarray(made.retain[s])
            )
            variables = unlearned(keys[s], variables, own)
        logits = predict_set(problem, variables, jnp.asarray(made.targets))
        wanted = margins(np.asarray(logits), labels[made.targets])
        np.testing.assert_allclose(found[s], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_margins_of_other_examples_are_of_the_same_models(made, problem):
    constants = options("finetune")
    own = shadows.shadow_margins(KEY, made, "finetune", **constants)
    some = made.targets[:3]
    of = problem.examples[some], problem.labels[some]
    again = shadows.shadow_margins(KEY, made, "finetune", of=of, **constants)
    np.testing.assert_allclose(again, own[:, :3], rtol=1e-4, atol=1e-5)
    found = attack_all(own, made.states, again)
    assert set(found) == {"U-LiRA", "LiRA offline", "RMIA"}


def options(name):
    return {} if name == "original" else dict(epochs=1, batch_size=8)


@pytest.mark.slow
def test_retraining_follows_the_recipe_of_the_originals(made):
    own = shadows.shadow_margins(KEY, made, "retrain")
    same = shadows.shadow_margins(KEY, made, "retrain", **RECIPE._asdict())
    other = shadows.shadow_margins(KEY, made, "retrain", epochs=1)
    np.testing.assert_array_equal(own, same)
    assert np.any(own != other)


def test_attacked_finds_what_is_there(made):
    rng = np.random.default_rng(0)
    many = made._replace(states=shadows.balanced_states(rng, 36, 6))
    nothing = rng.normal(size=many.states.shape)
    shift = 9.0 * (many.states == FORGET)
    plain = shadows.attacked(many, nothing).auc
    assert abs(plain - 0.5) < 0.15
    assert shadows.attacked(many, nothing + shift).auc > 0.99


@pytest.mark.parametrize(
    "options, message",
    [
        ({"models": 8}, "at least 9"),
        ({"targets": [1, 2, 3, 4]}, "there are 4: leave out 1"),
        ({"targets": [1, 2]}, "there are 2: add 1"),
        ({"targets": [1, 2, 30]}, "30 is out of range"),
        ({"targets": []}, "empty"),
    ],
)
def test_what_cannot_be_studied_is_refused(problem, options, message):
    with pytest.raises(InputError, match=message):
        shadows.train_shadows(KEY, problem, RECIPE, **options)


def test_a_method_for_classes_is_refused(made):
    with pytest.raises(InputError, match="unsir forgets whole classes, and shadow"):
        shadows.shadow_margins(KEY, made, "unsir")


def test_an_unknown_method_is_refused(made):
    with pytest.raises(InputError, match="unknown method 'fintune'"):
        shadows.shadow_margins(KEY, made, "fintune")


@pytest.mark.slow
def test_what_rewinds_needs_the_early_weights_of_each_model(problem):
    made = shadows.train_shadows(KEY, problem, RECIPE, models=9, early=(1,))
    (epoch,) = made.early
    indices = np.concatenate([made.forget[4], made.retain[4]])
    key = jax.random.split(jax.random.split(KEY)[1], 9)[4]
    alone, _ = train(key, problem, jnp.asarray(indices), RECIPE, epoch)
    for one, many in zip(
        jax.tree.leaves(alone), jax.tree.leaves(made.early[1]), strict=True
    ):
        np.testing.assert_allclose(one, many[4], atol=1e-5)
    found = shadows.shadow_margins(KEY, made, "rewind", epochs=1, batch_size=8)
    assert np.isfinite(found).all()
    with pytest.raises(InputError, match=r"after epoch 2, .* keep \[1\]: .* early=\(2"):
        shadows.shadow_margins(KEY, made, "rewind", epoch=2)


def test_early_epochs_are_those_of_the_recipe(problem):
    with pytest.raises(InputError, match="early must have epochs from 0 to 2"):
        shadows.train_shadows(KEY, problem, RECIPE, models=9, early=(3,))
