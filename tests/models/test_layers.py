"""The fast layers against flax's: same values, gradients and variables."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from unlearn.models import layers
from unlearn.models.layers import (
    BatchNorm,
    Conv,
    conv_general_dilated,
    many_nets,
    max_pool,
)

PLAIN = ("NHWC", "HWIO", "NHWC")


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(a, b, tolerance=1e-5):
    """Equal to `tolerance` of the largest entry."""
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(
            x, y, rtol=tolerance, atol=tolerance * max(1, float(jnp.abs(y).max()))
        ),
        a,
        b,
    )


def conv_loss(conv, strides, padding):
    def loss(images, kernel):
        out = conv(images, kernel, strides, padding, dimension_numbers=PLAIN)
        return jnp.sum(jnp.sin(out)), out

    return loss


@pytest.mark.parametrize(
    "images, kernel, strides, padding",
    [
        ((4, 8, 8, 3), (3, 3, 3, 4), (1, 1), "SAME"),
        ((3, 7, 9, 1), (3, 3, 1, 2), (1, 1), "VALID"),
        ((5, 6, 7, 3), (5, 3, 3, 2), (1, 1), ((2, 1), (0, 2))),
        ((1, 6, 7, 3), (5, 3, 3, 2), (1, 1), ((2, 1), (0, 2))),
        ((6, 6, 6, 2), (3, 3, 2, 3), (1, 1), ((4, 3), (3, 5))),
        ((4, 8, 8, 3), (2, 2, 3, 4), (1, 1), "SAME"),
        ((1, 5, 5, 2), (5, 5, 2, 3), (1, 1), "VALID"),
        ((2, 8, 8, 3), (3, 3, 3, 4), (2, 2), "SAME"),
        ((5, 8, 8, 3), (3, 3, 3, 4), (2, 2), ((1, 1), (1, 1))),
        ((2, 9, 8, 3), (3, 3, 3, 4), (2, 3), "VALID"),
        ((19, 7, 7, 2), (3, 3, 2, 3), (2, 2), ((0, 1), (2, 0))),
        ((2, 9, 9, 2), (2, 2, 2, 3), (3, 3), "VALID"),
        ((2, 6, 6, 3), (1, 1, 3, 5), (1, 1), "SAME"),
        ((2, 7, 6, 3), (1, 1, 3, 5), (2, 2), "VALID"),
        ((2, 6, 6, 3), (1, 1, 3, 5), (1, 1), ((1, 1), (1, 1))),
    ],
)
def test_conv_equals_lax(images, kernel, strides, padding):
    def gradients(*arguments):
        return [
            jax.value_and_grad(
                conv_loss(conv, strides, padding), argnums=(0, 1), has_aux=True
            )(*arguments)
            for conv in (conv_general_dilated, lax.conv_general_dilated)
        ]

    close(*jax.jit(gradients)(normal(0, *images), normal(1, *kernel)))


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
def test_conv_jvp_of_gradient_and_vmap(strides):
    arguments = normal(0, 4, 6, 6, 2), normal(1, 3, 3, 2, 3)
    directions = normal(2, 4, 6, 6, 2), normal(3, 3, 3, 2, 3)
    models = normal(4, 3, 3, 3, 2, 3)
    results = []
    for conv in (conv_general_dilated, lax.conv_general_dilated):
        loss = conv_loss(conv, strides, "SAME")
        gradient = jax.grad(lambda *a, loss=loss: loss(*a)[0], argnums=(0, 1))
        curvature = jax.jit(lambda a, d, f=gradient: jax.jvp(f, a, d))(
            arguments, directions
        )
        many = jax.jit(jax.vmap(gradient, (None, 0)))(arguments[0], models)
        results.append((curvature, many))
    close(*results)


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_group_count": 2},
        {"rhs_dilation": (2, 2)},
        {"lhs_dilation": (2, 1), "padding": ((1, 1), (1, 1))},
        {"dimension_numbers": ("NHWC", "HWOI", "NHWC")},
        {"dimension_numbers": ("NCHW", "OIHW", "NCHW")},
        {"preferred_element_type": jnp.float32},
        {"padding": ((-1, 0), (0, 0))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_unusual_convolutions_are_laxs(changes):
    options = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": PLAIN}
    options |= changes
    images, kernel = normal(0, 4, 4, 4, 4), normal(1, 3, 3, 4, 4)
    if "feature_group_count" in options:
        kernel = kernel[:, :, :2]
    if options["dimension_numbers"][0] == "NCHW":
        kernel = kernel.transpose(3, 2, 0, 1)
    ours = jax.jit(lambda x, w: conv_general_dilated(x, w, **options))
    lax_s = jax.jit(lambda x, w: lax.conv_general_dilated(x, w, **options))
    np.testing.assert_array_equal(ours(images, kernel), lax_s(images, kernel))
    tangent = jax.jvp(lambda w: ours(images, w), (kernel,), (kernel,))[1]
    assert tangent.shape == ours(images, kernel).shape  # no custom gradient in the way


def test_one_dimensional_and_mismatched_dtypes_are_laxs():
    layer = nn.Conv(3, (3,), conv_general_dilated=conv_general_dilated)
    images = normal(0, 2, 8, 2)
    out, variables = layer.init_with_output(jax.random.key(0), images)
    np.testing.assert_array_equal(out, nn.Conv(3, (3,)).apply(variables, images))
    with pytest.raises(TypeError, match="dtype"):
        conv_general_dilated(
            normal(0, 1, 4, 4, 1),
            jnp.ones((3, 3, 1, 1), jnp.bfloat16),
            (1, 1),
            "SAME",
            dimension_numbers=PLAIN,
        )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False, "strides": 2, "padding": 1},
        {"padding": "CIRCULAR"},
        {"feature_group_count": 2},
        {"kernel_dilation": 2},
        {"dtype": jnp.bfloat16},
    ],
    ids=str,
)
def test_conv_layer_equals_flax(options):
    images = normal(0, 4, 8, 8, 4)
    fast, plain = Conv(6, (3, 3), **options), nn.Conv(6, (3, 3), **options)
    variables = plain.init(jax.random.key(0), images)
    close(fast.init(jax.random.key(0), images), variables)

    def gradients(layer):
        def loss(variables, images):
            return jnp.sum(layer.apply(variables, images).astype(jnp.float32) ** 2)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, images)

    tolerance = 2e-2 if "dtype" in options else 1e-5
    close(gradients(fast), gradients(plain), tolerance)


def test_accelerators_get_laxs_convolution(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    images, kernel = normal(0, 2, 6, 6, 2), normal(1, 3, 3, 2, 3)

    def conv(kernel):
        return conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=PLAIN
        )

    assert "custom_vjp" not in str(jax.make_jaxpr(conv)(kernel))


@pytest.mark.parametrize(
    ("channels", "strides", "product"),
    [(2, (1, 1), True), (32, (1, 1), True), (33, (1, 1), False), (2, (2, 2), False)],
)
@pytest.mark.parametrize("padding", ["SAME", ((2, 0), (0, 1))])
@pytest.mark.slow
def test_many_nets_of_few_channels_are_products(
    channels, strides, product, padding, monkeypatch
):
    """On an accelerator; the same values and gradients as those of `jax.lax`."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    images, kernel = normal(0, 3, 2, 6, 5, channels), normal(1, 3, 3, 2, channels, 4)

    def gradients(conv):
        def loss(images, kernel):
            return jnp.sum(
                conv(images, kernel, strides, padding, dimension_numbers=PLAIN) ** 2
            )

        return jax.vmap(jax.grad(loss, argnums=(0, 1)))

    with many_nets():
        program = jax.make_jaxpr(gradients(conv_general_dilated))(images, kernel)
        found = gradients(conv_general_dilated)(images, kernel)
    assert ("conv_general_dilated" not in str(program)) == product
    close(found, gradients(jax.lax.conv_general_dilated)(images, kernel), 1e-5)


@pytest.mark.parametrize("shape", [(2, 7, 9, 2), (1, 2, 2, 1)])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.slow
def test_max_pool_equals_flax(shape, ties):
    images = normal(0, *shape)
    if ties:
        images = jnp.round(images)
    weights = normal(1, shape[0], shape[1] // 2, shape[2] // 2, shape[3])

    def plain(images):
        return nn.max_pool(images, (2, 2), strides=(2, 2))

    np.testing.assert_array_equal(max_pool(images), plain(images))
    ours, flax_s = (
        jax.grad(lambda x, pool=pool: jnp.sum(weights * pool(x)))(images)
        for pool in (max_pool, plain)
    )
    np.testing.assert_array_equal(ours, flax_s)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_equals_flax(train, backend, monkeypatch):
    monkeypatch.setattr(layers.jax, "default_backend", lambda: backend)
    images = 2 * normal(0, 5, 4, 4, 3) + 0.5
    fast = BatchNorm()
    plain = nn.BatchNorm(use_running_average=not train, momentum=0.9)
    variables = plain.init(jax.random.key(0), images)
    created = fast.init(jax.random.key(0), images, train=train)
    close(created, variables)
    variables = jax.tree.map(lambda x: x + jnp.linspace(0.1, 1, x.size), variables)

    def gradients(apply):
        # The loss also looks at the new statistics: their gradients must be right too.
        def loss(params, images):
            out, state = apply({**variables, "params": params}, images)
            terms = jax.tree.map(lambda s: jnp.sum(jnp.cos(s)), state)
            return jnp.sum(jnp.sin(out)) + sum(jax.tree.leaves(terms)), (out, state)

        value = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        return jax.jit(value)(variables["params"], images)

    close(
        gradients(lambda v, x: fast.apply(v, x, train=train, mutable=["batch_stats"])),
        gradients(lambda v, x: plain.apply(v, x, mutable=["batch_stats"])),
    )


def test_batch_norm_curvature_equals_flax():
    images, direction = normal(0, 5, 4, 4, 3), normal(1, 5, 4, 4, 3)
    variables = BatchNorm().init(jax.random.key(0), images, train=True)
    products = []
    for layer, mode in (
        (BatchNorm(), {"train": True}),
        (nn.BatchNorm(momentum=0.9), {"use_running_average": False}),
    ):

        def loss(images, layer=layer, mode=mode):
            out, _ = layer.apply(variables, images, mutable=["batch_stats"], **mode)
            return jnp.sum(jnp.sin(out) ** 3)

        products.append(
            jax.jit(lambda x, d, f=loss: jax.jvp(jax.grad(f), (x,), (d,))[1])(
                images, direction
            )
        )
    close(*products)
