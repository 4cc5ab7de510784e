"""Recomputed blocks: the same gradients, of less that is kept for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import print_saved_residuals

from unlearn import models
from unlearn.errors import InputError
from unlearn.models.nets import REMAT

TINY = {
    "resnet18": {"width": 4},
    "resnet50": {"width": 4, "norm": "group"},
    "wideresnet": {"depth": 10, "widen": 1, "dropout": 0.3},
    "vit": {"width": 16, "depth": 2, "heads": 2, "mlp": 64, "dropout": 0.3},
}
SLOW = "vit", "resnet18", "wideresnet"  # resnet50 differs from resnet18 in blocks alone


def both(name, size=16):
    """The net as it is and with its blocks recomputed, and what it is applied to."""
    nets = [
        models.create(name, 3, **TINY[name], remat=remat) for remat in (False, True)
    ]
    images = jax.random.normal(jax.random.key(0), (4, size, size, 3))
    return nets, nets[0].init(jax.random.key(1), images), images


def loss_of(net, variables, images):
    def loss(params):
        logits, updated = net.apply(
            {**variables, "params": params},
            images,
            train=True,
            key=jax.random.key(2),
        )
        return jnp.mean(jnp.square(logits)), updated

    return loss


def kept_bytes(loss, params, capsys):
    """Bytes that JAX keeps between the passes, but for the parameters."""
    print_saved_residuals(lambda params: loss(params)[0], params)
    lines = capsys.readouterr().out.splitlines()
    shapes = [line.split()[0] for line in lines if "from the argument" not in line]
    sizes = [shape.partition("[")[2].rstrip("]") for shape in shapes]
    return sum(4 * np.prod([int(n) for n in size.split(",") if n]) for size in sizes)


def test_the_nets_that_have_it():
    assert set(REMAT) == {*TINY, "vit_ti", "vit_s", "vit_b"}
    with pytest.raises(InputError, match="remat of model vit must be one of False, T"):
        models.create("vit", 3, remat=2)
    with pytest.raises(InputError, match="model cnn has no option 'remat'"):
        models.create("cnn", 3, remat=True)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]
)
def test_same_gradients_and_statistics_of_less_that_is_kept(name, capsys):
    """The same dropout as well."""
    nets, variables, images = both(name)
    found, kept = [], []
    for net in nets:
        loss = loss_of(net, variables, images)
        found.append(jax.jit(jax.grad(loss, has_aux=True))(variables["params"]))
        kept.append(kept_bytes(loss, variables["params"], capsys))
    (expected, statistics), (gradients, others) = found
    largest = max(jnp.abs(g).max() for g in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest),
        (gradients, {**others, "params": 0}),
        (expected, {**statistics, "params": 0}),
    )
    assert kept[1] < 0.4 * kept[0]


@pytest.mark.slow
def test_what_layers_see_can_be_looked_at():
    (plain, net), variables, images = both("vit")
    options = {"train": True, "key": jax.random.key(2)}
    found, logits, _ = net.activations(variables, images, **options)
    expected, known, _ = plain.activations(variables, images, **options)
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(logits, known)
