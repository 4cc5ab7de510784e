"""The nets."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unlearn import models
from unlearn.errors import InputError
from unlearn.models.speednet import Whiten, whitening_filters

MNIST, CIFAR = (28, 28, 1), (32, 32, 3)
SMALL = [
    ("mlp", {"widths": (8,)}),
    ("mlp", {"widths": (8,), "dtype": "bfloat16"}),
    ("cnn", {"widths": (4, 4), "dense": 8}),
    ("allcnn", {"width": 4}),
    ("allcnn", {"width": 4, "norm": "none"}),
    ("resnet18", {"width": 4}),
    ("resnet18", {"width": 4, "norm": "group", "stem": "large", "dtype": "bfloat16"}),
    pytest.param("resnet50", {"width": 4}, marks=pytest.mark.slow),
    ("poolnet", {"widths": (4, 8)}),
    ("poolnet", {"widths": (4,), "norm": "group"}),
    ("resnet9", {"width": 4}),
    ("speednet", {"widths": (4, 8), "depth": 3}),
    ("wideresnet", {"depth": 10, "widen": 1}),
    pytest.param("vgg16", {"width": 2}, marks=pytest.mark.slow),
    pytest.param("vgg16", {"width": 2, "head": "large"}, marks=pytest.mark.slow),
    ("vit", {"width": 8, "depth": 2, "heads": 2, "mlp": 8}),
    ("vit", {"width": 8, "depth": 1, "heads": 1, "mlp": 8, "dtype": "bfloat16"}),
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
        pytest.param("resnet50", {}, CIFAR, 23_520_842, marks=pytest.mark.slow),
        # 24 biases; 64 x (216 + 576), 256 x (576 + 2304) and 256 x 4608 weights of
        # convolutions; scales and biases of the norms; the head
        ("speednet", {}, CIFAR, 24 + 50_688 + 737_280 + 1_179_648 + 2304 + 2560),
        ("resnet9", {}, CIFAR, 2_274_880),  # the data-unlearning benchmark's
        ("wideresnet", {}, CIFAR, 36_479_194),  # the paper: 36.5 million
        pytest.param(
            *("wideresnet", {"norm": "group"}, CIFAR, 36_479_194),
            marks=pytest.mark.slow,
        ),
        ("vgg16", {}, CIFAR, 14_728_266),  # as the PyTorch nets for CIFAR
        (
            "poolnet",
            {},
            CIFAR,
            9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
            + 4 * (32 + 64 + 128)
            + 1290,
        ),
        (
            "vit",
            {},
            CIFAR,
            6272  # patches
            + 128
            + 65 * 128  # class token, positions
            + 4 * (2 * 256 + 4 * 16512 + 66048 + 65664)  # blocks: norms, dense layers
            + 256
            + 1290,
        ),
    ],
)
def test_parameter_count(name, options, shape, count):
    model = models.create(name, 10, **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images_of(shape))
    assert models.parameter_count(shapes) == count
    documented = f"{count:,}" in models.NETS[name].__doc__
    assert documented


@pytest.mark.parametrize(
    "name, options, count",
    [
        ("resnet18", {"stem": "large"}, 11_689_512),
        ("resnet50", {"stem": "large"}, 25_557_032),
        ("vgg16", {"head": "large"}, 138_365_992),
        ("vit_ti", {}, 5_717_416),
        ("vit_s", {}, 22_050_664),
        ("vit_b", {}, 86_567_656),
    ],
)
@pytest.mark.slow
def test_parameter_count_for_imagenet(name, options, count):
    """Those that torchvision and timm state."""
    model = models.create(name, 1000, **options)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert models.parameter_count(shapes) == count
    assert f"{count:,}" in models.NETS[name].__doc__


@pytest.mark.parametrize(
    "name, options",
    [
        ("wideresnet", {"depth": 10, "widen": 1, "dropout": 0.5}),
        ("vit", {"width": 8, "depth": 1, "heads": 1, "mlp": 8, "dropout": 0.5}),
        pytest.param("vgg16", {"width": 2, "head": "large"}, marks=pytest.mark.slow),
    ],
)
def test_dropout_is_for_training_only(name, options):
    model = models.create(name, 5, **options)
    images = images_of((8, 8, 3), 4)
    variables = model.init(jax.random.key(0), images)

    @jax.jit
    def logits(key, variables):
        return (
            model.apply(variables, images, train=True, key=key)[0],
            model.apply(variables, images, key=key)[0],
        )

    (first, plain), (second, same) = (
        logits(jax.random.key(seed), variables) for seed in (1, 2)
    )
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(plain, same)


# A net of few blocks is of the same blocks.
SHALLOW = {"wideresnet": {"depth": 10}} | {
    name: {"depth": 1} for name in models.NETS if name.startswith("vit")
}


@pytest.mark.parametrize(
    "name, dtype",
    [
        *((name, "float16") for name in models.NETS),
        *((name, "bfloat16") for name in ("mlp", "cnn", "poolnet", "vit")),
    ],
)
@pytest.mark.slow
def test_every_net_computes_in_few_bits(name, dtype):
    """Layers but the head do; parameters, statistics and logits are float32."""
    plain, half = (
        models.create(name, 3, **SHALLOW.get(name, {}), dtype=kind)
        for kind in ("float32", dtype)
    )
    side = 224 if name.startswith("vit_") else 32
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    variables = jax.eval_shape(half.init, jax.random.key(0), images)
    assert variables == jax.eval_shape(plain.init, jax.random.key(0), images)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}

    def seen(model):
        found, logits, _ = jax.eval_shape(
            lambda v, x: model.activations(v, x, train=True, key=jax.random.key(1)),
            variables,
            images,
        )
        assert logits.dtype == jnp.float32
        weighted = [p for p in found if p and "norm" not in "".join(p).lower()]
        return [found[path].dtype.name for path in weighted]

    known, found = seen(plain), seen(half)
    assert found.count("float32") == 2  # the images, and what the head is given
    assert found.count(dtype) == len(known) - 2
    assert set(known) == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("name, options", SMALL, ids=str)
def test_nets_follow_the_protocol(name, options):
    model = models.create(name, 5, **options)
    images = images_of((12, 12, 3) if name == "resnet9" else (8, 8, 3), 4)
    variables = model.init(jax.random.key(0), images)
    assert set(variables) - {"batch_stats"} == {"params"}
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))

    @jax.jit
    def run(variables):
        single, _ = model.apply(variables, images[:1])
        return (
            model.apply(variables, images),
            single,
            model.apply(variables, images, train=True, key=jax.random.key(1)),
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
        ("resnet", {}, "choose from mlp, cnn, allcnn, poolnet"),
        ("cnn", {"depth": 3}, "no option 'depth': it has widths, dense, pool"),
        ("cnn", {"pool": "first"}, "one of each, last"),
        ("cnn", {"widths": 4}, "positive whole numbers"),
        ("cnn", {"dense": 0}, "a positive int"),
        ("resnet18", {"norm": "none"}, "one of batch, group"),
        ("poolnet", {"widths": 4}, "positive whole numbers"),
        ("poolnet", {"norm": "none"}, "one of batch, group"),
        ("resnet18", {"stem": "huge"}, "one of small, large"),
        ("vit", {"dtype": "float64"}, "one of float32, bfloat16, float16"),
        ("vit", {"dropout": 1}, "dropout of model vit must be from 0 to below 1"),
        ("wideresnet", {"dropout": "0.3"}, "from 0 to below 1; it is '0.3'"),
        ("net.py", {}, "say which function makes it, as PATH.py:function"),
        ("none/net.py:make", {}, "there is no file .*none/net.py"),
    ],
)
def test_create_refuses(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        models.create(name, 10, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in models.NETS if name != "mlp"])
def test_nets_for_images_refuse_what_is_none(name):
    init = models.create(name, 3).init
    for inputs in (jnp.zeros((2, 5, 5)), {"a": jnp.zeros((2, 4)), "b": jnp.zeros(2)}):
        with pytest.raises(InputError, match=f"^model {name} is for images .*take mlp"):
            jax.eval_shape(init, jax.random.key(0), inputs)


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


@pytest.mark.parametrize(
    "options, shape, message",
    [
        ({"patch": 3}, (8, 8, 3), "set patch to a divisor of their sides"),
        ({}, (16,), "model vit is for images"),
        ({"heads": 3, "width": 8}, (8, 8, 3), "width 8, which its 3 heads do not"),
    ],
)
def test_vit_refuses(options, shape, message):
    with pytest.raises(InputError, match=message):
        models.create("vit", 3, **options).init(jax.random.key(0), images_of(shape))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("wideresnet", {"depth": 18}, "4 more than a multiple of 6.*it is 18"),
        ("resnet9", {}, "12 pixels a side; these are \\[8, 8, 3\\]: take cnn"),
        ("speednet", {}, "3 widths needs.*9 pixels a side; .* take fewer widths"),
    ],
)
def test_a_net_that_does_not_fit_says_what_does(name, options, message):
    with pytest.raises(InputError, match=message):
        models.create(name, 3, **options).init(jax.random.key(0), images_of((8, 8, 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_of_speednet_whiten_images_of_their_model(channels):
    steps = np.abs(np.subtract.outer(np.arange(2), np.arange(2)))
    colours = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
    covariance = np.kron(np.kron(0.93**steps, 0.93**steps), 0.91**colours)
    filters = whitening_filters(channels, epsilon=0.0)
    assert filters.shape == (2, 2, channels, 4 * channels)
    seen = filters.reshape(-1, 4 * channels)
    np.testing.assert_allclose(
        seen.T @ covariance @ seen, np.eye(4 * channels), atol=1e-9
    )
    assert (filters[0, 0, 0] > 0).all()  # one sign, and no choice left, everywhere
    # [row, column, colour] in the order of a convolution's kernel
    draw = np.random.default_rng(0).normal(size=(20_000, 4 * channels))
    patches = draw @ np.linalg.cholesky(covariance).T
    images = jnp.asarray(patches.reshape(-1, 2, 2, channels), jnp.float32)
    model = models.create("speednet", 3, widths=(4,))
    module = Whiten()
    out = module.apply(module.init(jax.random.key(0), images), images)
    half = np.asarray(out).reshape(-1, 8 * channels)
    assert np.cov(half[:, : 4 * channels].T).trace() == pytest.approx(
        4 * channels, rel=0.1
    )
    other = -half[:, 4 * channels :]
    np.testing.assert_allclose(half[:, : 4 * channels], other, rtol=1e-5, atol=1e-5)
    fixed = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, channels)))["params"]
    assert set(fixed["Whiten_0"]) == {"bias"}  # nothing of the filters is trained


def test_vit_starts_with_places_that_differ():
    model = models.create("vit", 3, width=8, depth=1, heads=2, mlp=8)
    variables = model.init(jax.random.key(0), images_of((8, 8, 3)))
    places = variables["params"]["position_embedding"]
    assert 0.01 < float(places.std()) < 0.03 and places.shape == (1, 5, 8)
    assert not variables["params"]["class_token"].any()


def test_a_stage_of_poolnet_is_what_its_docstring_says():
    """Against plain operations: pooled before it is normed, and a shortcut."""
    images = images_of((8, 8, 3), 4)
    model = models.create("poolnet", 5, widths=(6,))
    variables = model.init(jax.random.key(0), images)
    params = variables["params"]

    def convolved(inputs, kernel):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            inputs, kernel, (1, 1), "SAME", dimension_numbers=dims
        )

    def normed(x):
        x = (x - x.mean((0, 1, 2))) / jnp.sqrt(x.var((0, 1, 2)) + 1e-5)
        return jnp.maximum(x, 0)

    hidden = convolved(images, params["Conv_0"]["kernel"])
    hidden = normed(hidden.reshape(4, 4, 2, 4, 2, 6).max((2, 4)))
    hidden = hidden + normed(convolved(hidden, params["Conv_1"]["kernel"]))
    expected = hidden.mean((1, 2)) @ params["Dense_0"]["kernel"]
    logits, _ = model.apply(variables, images, train=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
