"""The nets, and linen modules as models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unlearn import models
from unlearn.errors import InputError

MNIST, CIFAR = (28, 28, 1), (32, 32, 3)
SMALL = [
    ("mlp", {"widths": (8,)}),
    ("cnn", {"widths": (4, 4), "dense": 8}),
    ("allcnn", {"width": 4}),
    ("allcnn", {"width": 4, "norm": "none"}),
    ("resnet18", {"width": 4}),
    ("resnet18", {"width": 4, "norm": "group", "dtype": "bfloat16"}),
]


def images_of(shape, count=2):
    values = np.random.default_rng(0).normal(size=(count, *shape))
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize(
    "name, options, shape, count",
    [
        # layer by layer: weights + biases (+ scales and biases of the norms)
        ("mlp", {}, MNIST, 784 * 256 + 256 + 256 * 256 + 256 + 2570),
        ("cnn", {}, MNIST, 160 + 4640 + 7 * 7 * 32 * 128 + 128 + 1290),
        (
            "cnn",
            {"widths": (32, 64), "pool": "last"},
            MNIST,
            320 + 18496 + 14 * 14 * 64 * 128 + 128 + 1290,
        ),
        ("allcnn", {"norm": "none"}, CIFAR, 1_369_738),  # the paper: 1.37 million
        ("allcnn", {}, CIFAR, 1_370_986),
        ("resnet18", {}, CIFAR, 11_173_962),  # as the PyTorch nets for CIFAR
        ("resnet18", {"norm": "group"}, CIFAR, 11_173_962),
    ],
)
def test_parameter_count(name, options, shape, count):
    model = models.create(name, 10, **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images_of(shape))
    assert models.parameter_count(shapes) == count
    documented = f"{count:,}" in models.NETS[name].__doc__
    assert documented


@pytest.mark.parametrize("name, options", SMALL, ids=str)
def test_nets_follow_the_protocol(name, options):
    model = models.create(name, 5, **options)
    images = images_of((8, 8, 3), 4)
    variables = model.init(jax.random.key(0), images)
    assert set(variables) - {"batch_stats"} == {"params"}
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))

    @jax.jit
    def run(variables):
        single, _ = model.apply(variables, images[:1])
        return (
            model.apply(variables, images),
            single,
            model.apply(variables, images, train=True),
        )

    (logits, same), single, (trained, updated) = run(variables)
    assert logits.shape == (4, 5) and logits.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, same, variables)
    assert jnp.isfinite(trained).all()
    assert jax.tree.structure(updated) == jax.tree.structure(variables)
    if "batch_stats" in variables:
        old, new = variables["batch_stats"], updated["batch_stats"]
        jax.tree.map(lambda a, b: np.testing.assert_(not np.allclose(a, b)), old, new)
    # An example's logits do not depend on the others when not training.
    np.testing.assert_allclose(single, logits[:1], rtol=2e-2, atol=2e-2)


def test_initialisation_is_he_scaled_and_pure():
    model = models.create("cnn", 10)
    images = images_of(MNIST)
    variables = model.init(jax.random.key(0), images)
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        if path[-1].key == "kernel" and leaf.size > 1000:
            expected = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            assert abs(float(leaf.std()) / expected - 1) < 0.05
            assert abs(float(leaf.mean())) < 0.1 * expected
        if path[-1].key == "bias":
            assert not leaf.any()
    keys = jax.random.split(jax.random.key(1), 3)
    several = jax.vmap(lambda key: model.init(key, images))(keys)
    for i, key in enumerate(keys):
        one = model.init(key, images)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), several, one
        )
    first, second = (several["params"]["Dense_0"]["kernel"][i] for i in (0, 1))
    assert not np.allclose(first, second)


def test_create_is_cached_and_options_count():
    model = models.create("cnn", 10, widths=(4, 8))
    assert models.create("cnn", 10, widths=[4, 8]) is model
    assert models.create("cnn", 10, widths=(4, 8, 8)) is not model
    assert models.create("cnn", 9, widths=(4, 8)) is not model


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet", {}, "choose from mlp, cnn, allcnn, resnet18"),
        ("cnn", {"depth": 3}, "no option 'depth': it has widths, dense, pool"),
        ("cnn", {"pool": "first"}, "one of each, last"),
        ("cnn", {"widths": 4}, "positive whole numbers"),
        ("cnn", {"dense": 0}, "a positive int"),
        ("resnet18", {"norm": "none"}, "one of batch, group"),
    ],
)
def test_create_refuses(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        models.create(name, 10, **options)
    assert "\n" not in str(caught.value)


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


def test_cnn_learns_in_a_scan():
    model = models.create("cnn", 2, widths=(4, 4), dense=8)
    images = images_of((8, 8, 1), 32)
    labels = (images.mean((1, 2, 3)) > 0).astype(jnp.int32)
    variables = model.init(jax.random.key(0), images)

    def step(variables, _):
        def loss(params):
            logits, new = model.apply(
                {**variables, "params": params}, images, train=True
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), new

        (value, new), gradient = jax.value_and_grad(loss, has_aux=True)(
            variables["params"]
        )
        params = jax.tree.map(lambda p, g: p - 0.1 * g, variables["params"], gradient)
        return {**new, "params": params}, value

    _, losses = jax.jit(lambda v: jax.lax.scan(step, v, None, length=30))(variables)
    assert losses[-1] < 0.5 * losses[0]
