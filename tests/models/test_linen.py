"""Linen modules as models: they are told whether they train, or refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unlearn import models
from unlearn.errors import InputError


def images_of(shape, count=2):
    values = np.random.default_rng(0).normal(size=(count, *shape))
    return jnp.asarray(values, jnp.float32)


class WithTrain(nn.Module):
    @nn.compact
    def __call__(self, images, train: bool):
        hidden = nn.Dense(8)(images.reshape(len(images), -1))
        hidden = nn.BatchNorm(use_running_average=not train)(hidden)
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(hidden))


class WithTraining(nn.Module):
    @nn.compact
    def __call__(self, x, training=False):
        return WithTrain()(x, training)


class WithDeterministic(nn.Module):
    @nn.compact
    def __call__(self, x, *, deterministic):
        return WithTrain()(x, train=not deterministic)


@pytest.mark.parametrize("module", [WithTrain(), WithTraining(), WithDeterministic()])
def test_from_linen_knows_the_mode(module):
    model = models.from_linen(module)
    images = images_of((4, 4, 1), 6)
    variables = model.init(jax.random.key(0), images)
    assert set(variables) == {"params", "batch_stats"}
    logits, same = model.apply(variables, images)
    again, _ = model.apply(variables, images, key=jax.random.key(1))
    np.testing.assert_array_equal(logits, again)  # no dropout when not training
    assert same is variables
    one, updated = model.apply(variables, images, train=True, key=jax.random.key(1))
    two, _ = model.apply(variables, images, train=True, key=jax.random.key(2))
    assert not np.allclose(one, two)  # the key feeds dropout
    old, new = variables["batch_stats"], updated["batch_stats"]
    assert not np.allclose(jax.tree.leaves(old)[0], jax.tree.leaves(new)[0])
    jax.tree.map(np.testing.assert_array_equal, updated["params"], variables["params"])


def test_from_linen_without_a_mode():
    module = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(3)])
    model = models.from_linen(module)
    images = images_of((4, 4, 1))
    variables = model.init(jax.random.key(0), images)
    logits, same = model.apply(variables, images, train=True, key=jax.random.key(1))
    assert same is variables
    kernel, bias = (
        variables["params"]["layers_1"][name] for name in ("kernel", "bias")
    )
    np.testing.assert_allclose(logits, images.reshape(2, -1) @ kernel + bias, rtol=1e-5)
    assert models.from_linen(WithTrain()) is models.from_linen(WithTrain())


def network(x, train):
    return WithTrain()(x, train)


class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, is_training: bool = False):
        return network(x, is_training)


class Required(nn.Module):
    @nn.compact
    def __call__(self, x, is_training):
        return network(x, is_training)


class Inverted(nn.Module):
    @nn.compact
    def __call__(self, x, use_running_average=True):
        return network(x, not use_running_average)


class Inference(nn.Module):
    @nn.compact
    def __call__(self, x, *, inference=None):
        return network(x, not inference)


class Unheard(nn.Module):
    @nn.compact
    def __call__(self, x, learn: bool = False):
        return network(x, learn)


class ByText(nn.Module):
    @nn.compact
    def __call__(self, x, learn: "bool | None" = None):
        return network(x, learn)


class Two(nn.Module):
    @nn.compact
    def __call__(self, x, train=False, use_running_average=True):
        return network(x, train and not use_running_average)


class Open(nn.Module):
    @nn.compact
    def __call__(self, x, **options):
        return network(x, options["is_training"])


NAMED = [
    (IsTraining(), "is_training"),
    (Required(), "is_training"),
    (Inverted(), "!use_running_average"),
    (Inference(), "!inference"),
    (Unheard(), "learn"),
    (ByText(), "learn"),
    (Two(), "train, !use_running_average"),
    (Open(), "is_training"),
]


@pytest.mark.parametrize("module, name", NAMED, ids=lambda x: type(x).__name__)
def test_an_unknown_mode_is_refused_until_it_is_named(module, name):
    images = images_of((4, 4, 1), 6)
    if not isinstance(module, Open):  # its arguments cannot be seen
        with pytest.raises(InputError) as caught:
            models.from_linen(module)
        remedy = name.rpartition(", ")[2]
        assert f'from_linen(..., train="{remedy}")' in str(caught.value)
        assert "\n" not in str(caught.value)
    model = models.from_linen(module, train=name)
    assert models.from_linen(module, train=name) is model
    variables = model.init(jax.random.key(0), images)
    logits, same = model.apply(variables, images, key=jax.random.key(1))
    assert same is variables
    expected, updates = WithTrain().apply(
        {n: tree["WithTrain_0"] for n, tree in variables.items()},
        images,
        True,
        rngs={"dropout": jax.random.key(1)},
        mutable=["batch_stats"],
    )
    trained, after = model.apply(variables, images, train=True, key=jax.random.key(1))
    assert expected.shape == trained.shape and not np.allclose(trained, logits)
    np.testing.assert_allclose(
        after["batch_stats"]["WithTrain_0"]["BatchNorm_0"]["mean"],
        updates["batch_stats"]["BatchNorm_0"]["mean"],
        rtol=1e-6,
    )


class Unrelated(nn.Module):
    @nn.compact
    def __call__(self, x, features: bool = False):
        hidden = x.reshape(len(x), -1)
        return hidden if features else nn.Dense(3)(hidden)


class Attribute(nn.Module):
    train: bool = False

    @nn.compact
    def __call__(self, x):
        return network(x, self.train)


class NotHandedOn(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return network(x, True)


class Masked(nn.Module):
    @nn.compact
    def __call__(self, x, mask):
        return nn.Dense(3)(x.reshape(len(x), -1) * mask)


def test_a_switch_that_is_not_the_mode():
    with pytest.raises(InputError, match='train="" if it has nothing to do with it'):
        models.from_linen(Unrelated())
    model = models.from_linen(Unrelated(), train="")
    variables = model.init(jax.random.key(0), images_of((4, 4, 1)))
    assert model.apply(variables, images_of((4, 4, 1)), train=True)[0].shape == (2, 3)


@pytest.mark.parametrize("module", [Attribute(), Attribute(train=True)])
def test_batch_statistics_without_a_mode_are_refused(module):
    model, key = models.from_linen(module), jax.random.key(0)
    for init in (model.init, jax.jit(model.init)):
        with pytest.raises(InputError, match="takes no argument that says whether"):
            init(key, images_of((4, 4, 1)))


def test_a_mode_that_is_not_handed_on_is_refused():
    model = models.from_linen(NotHandedOn())
    with pytest.raises(InputError, match="does its __call__ hand on") as caught:
        model.init(jax.random.key(0), images_of((4, 4, 1)))
    assert "test_linen.py, line" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "module, train, message",
    [
        (Masked(), None, "the net needs 'mask' beside its inputs: wrap it"),
        (Required(), "", "the net needs 'is_training' beside"),
        (IsTraining(), "training", "no argument 'training'; it has is_training"),
        (Masked(), "train", "no argument 'train'; it has mask"),
    ],
)
def test_what_cannot_be_called_is_refused(module, train, message):
    with pytest.raises(InputError, match=message) as caught:
        models.from_linen(module, train=train)
    assert "\n" not in str(caught.value)


class WithWord(nn.Module):
    @nn.compact
    def __call__(self, x, mode="eval"):
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=mode != "train")(x))


def test_a_word_that_says_whether_a_net_trains_is_refused():
    with pytest.raises(InputError, match="takes mode='eval', a word .* wrap it"):
        models.from_linen(WithWord())
    models.from_linen(WithWord(), train="")  # as its author says


@pytest.mark.parametrize("module, kind", [(WithTrain, "WithTrain"), (len, "builtin")])
def test_what_is_no_linen_module(module, kind):
    with pytest.raises(InputError, match=f"takes a linen module.*; this is {kind}"):
        models.from_linen(module)
