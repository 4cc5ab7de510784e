"""Nets of nnx, equinox and haiku, against the library's own forward pass."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_data
from foreign_nets import NETS, images_of
from trees import assert_close, assert_equal, distance

from unlearn import make_problem, models, surgery
from unlearn.errors import InputError
from unlearn.methods import METHODS

PACKAGES = {"nnx": "flax", "equinox": "equinox", "haiku": "haiku"}
LAYERS = {
    "nnx": [("conv",), ("norm",), ("dense", "0"), ("head",)],
    "equinox": [("conv",), ("norm",), ("dense", "0"), ("head",)],
    "haiku": [("conv",), ("norm",), ("dense",), ("head",)],
}


@pytest.fixture(params=list(NETS))
def library(request):
    pytest.importorskip(PACKAGES[request.param])
    return request.param


started = functools.cache(lambda model: model.init(jax.random.key(0), images_of()))


@pytest.fixture
def net(library):
    return NETS[library]()


@pytest.mark.slow
def test_forward_pass_is_the_librarys(net):
    model, forward, _ = net
    images, key = images_of(), jax.random.key(1)
    variables = started(model)
    assert set(variables) == {"params", "batch_stats"}
    # Statistics that are not those of the start, so that they count.
    for seed in range(3):
        _, variables = model.apply(
            variables, images_of(seed=seed) + 1, train=True, key=key
        )
    logits, same = model.apply(variables, images)
    assert same is variables
    expected, _ = forward(variables, images, False, None)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    trained, after = model.apply(variables, images, train=True, key=key)
    assert not np.allclose(trained, logits, atol=1e-3)
    assert_equal(after["params"], variables["params"])
    assert distance(after["batch_stats"], variables["batch_stats"]) > 0
    _, mean = forward(variables, images, True, key)
    found = [x for x in jax.tree.leaves(after["batch_stats"]) if x.shape == mean.shape]
    assert any(np.allclose(x, mean, rtol=1e-5, atol=1e-6) for x in found)


@pytest.mark.slow
def test_dropout_hangs_on_the_key_alone(net):
    model, images = net[0], images_of()
    variables = started(model)
    one, again, other = (
        model.apply(variables, images, train=True, key=jax.random.key(i))[0]
        for i in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other, atol=1e-3)
    silent = model.apply(variables, images, key=jax.random.key(1))[0]
    np.testing.assert_array_equal(silent, model.apply(variables, images)[0])


@pytest.mark.slow
def test_init_is_fresh_and_pure(net):
    model, images = net[0], images_of(1)
    one, again, other = (model.init(jax.random.key(i), images) for i in (1, 1, 2))
    assert_equal(one, again)
    kernels = [x["params"]["head"]["kernel"] for x in (one, other)]
    assert kernels[0].shape == (8, 3) and not np.allclose(*kernels)
    several = jax.vmap(model.init, (0, None))(
        jax.random.split(jax.random.key(3)), images
    )
    assert_close(
        jax.tree.map(lambda x: x[1], several),
        model.init(jax.random.split(jax.random.key(3))[1], images),
    )


@pytest.mark.slow
def test_it_jits_and_maps(net):
    model, images = net[0], images_of()
    keys = jax.random.split(jax.random.key(0))
    variables = jax.vmap(model.init, (0, None))(keys, images)

    def train(variables, key):
        return model.apply(variables, images, train=True, key=key)

    together = jax.jit(jax.vmap(train))(variables, keys)
    for i, key in enumerate(keys):
        own = jax.tree.map(lambda x, i=i: x[i], variables)
        apart = train(own, key)
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), apart, 1e-4, 1e-5)


def test_activations_are_the_inputs_of_the_layers(library, net):
    model, images = net[0], images_of()
    variables = started(model)
    found, logits, _ = model.activations(variables, images)
    assert list(found) == LAYERS[library]
    np.testing.assert_allclose(logits, model.apply(variables, images)[0], rtol=1e-5)
    head = variables["params"]["head"]
    again = found[("head",)] @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[("conv",)], images)
    assert found[("norm",)].shape == (6, 4, 4, 4)
    jitted, _, _ = jax.jit(model.activations)(variables, images)
    assert_close(dict(jitted), dict(found))


# One of each way to ask a net: others ask in the same ways.
METHOD_SETTINGS = {
    "finetune": dict(epochs=2, batch_size=16, learning_rate=0.05),
    "ssd": dict(alpha=1.0),
    "eu_k": dict(layers=1, epochs=2, batch_size=16),
    "newton_head": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHOD_SETTINGS)
def test_methods_run(net, name):
    images, labels = tiny_data(40)
    model = net[0]
    problem = make_problem(
        images, labels, range(6), model, validation=tiny_data(15, seed=1)
    )
    before = started(model)
    settings = METHOD_SETTINGS[name]
    method = METHODS[name].fn
    after, _ = jax.jit(lambda *args: method(*args, **settings))(
        jax.random.key(1), before, problem
    )
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert distance(after["params"], before["params"]) > 0
    assert surgery.head(problem, after) == ("head",)
    if name == "finetune":
        assert distance(after["batch_stats"], before["batch_stats"]) > 0


def test_a_module_that_is_made_already():
    """Fresh weights are its own, shuffled; its variables can be taken and put back."""
    from flax import nnx

    _, _, Net = NETS["nnx"]()
    module = Net(nnx.Rngs(3))
    model, images = models.from_nnx(module), images_of()
    own = models.nnx_variables(module)
    fresh = model.init(jax.random.key(0), images)
    assert_equal(jax.tree.map(jnp.sort, flat_leaves(fresh)), sorted_leaves(own))
    assert distance(fresh["params"]["head"], own["params"]["head"]) > 0
    module.eval()
    np.testing.assert_allclose(
        model.apply(own, images)[0], module(images), rtol=1e-5, atol=1e-6
    )
    back = models.to_nnx(module, fresh)
    np.testing.assert_allclose(
        model.apply(fresh, images)[0], back(images), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(InputError, match="of another module"):
        models.to_nnx(module, {"params": fresh["params"]})


def flat_leaves(tree):
    return [x.reshape(-1) for x in jax.tree.leaves(tree)]


def sorted_leaves(tree):
    return [jnp.sort(x) for x in flat_leaves(tree)]


def test_an_equinox_module_that_is_made_already():
    eqx = pytest.importorskip("equinox")
    _, _, Net = NETS["equinox"]()
    module, state = eqx.nn.make_with_state(Net)(jax.random.key(3))
    model = models.from_equinox(module, state, channels_first=True)
    images = images_of()
    own = models.equinox_variables(module, state)
    fresh = model.init(jax.random.key(0), images)
    assert_equal(sorted_leaves(fresh["params"]), sorted_leaves(own["params"]))
    assert distance(fresh["params"]["head"], own["params"]["head"]) > 0
    back, _ = models.to_equinox(module, own, state)
    assert eqx.tree_equal(back, module)
    with pytest.raises(InputError, match="of another module"):
        models.to_equinox(module, {"params": {}}, state)
    with pytest.raises(InputError, match="takes a state: from_equinox"):
        models.from_equinox(module)


def test_an_equinox_module_without_state():
    eqx = pytest.importorskip("equinox")
    make = lambda key: eqx.nn.MLP(16, 3, 8, 1, key=key)  # noqa: E731
    model = models.from_equinox(make)
    inputs = images_of().reshape(6, 16)
    variables = model.init(jax.random.key(0), inputs)
    assert set(variables) == {"params"}
    logits, same = model.apply(variables, inputs, train=True, key=jax.random.key(1))
    assert same is variables
    expected = jax.vmap(make(jax.random.key(0)))(inputs)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="channels_first=True") as caught:
        model.init(jax.random.key(0), images_of())
    assert "\n" not in str(caught.value)


def test_equinox_layers_under_vmap_have_no_activations():
    eqx = pytest.importorskip("equinox")

    class Attends(eqx.Module):
        attention: eqx.nn.MultiheadAttention
        head: eqx.nn.Linear

        def __init__(self, key):
            self.attention = eqx.nn.MultiheadAttention(2, 4, key=key)
            self.head = eqx.nn.Linear(4, 3, key=key)

        def __call__(self, tokens):
            return self.head(self.attention(tokens, tokens, tokens).mean(0))

    model = models.from_equinox(Attends)
    tokens = jnp.ones((2, 5, 4))
    variables = model.init(jax.random.key(0), tokens)
    assert model.apply(variables, tokens)[0].shape == (2, 3)
    with pytest.raises(InputError, match="attention.query_proj inside a transform"):
        model.activations(variables, tokens)


def test_what_is_no_module_is_refused():
    pytest.importorskip("equinox")
    pytest.importorskip("haiku")
    for make, message in (
        (lambda: models.from_nnx(3), "an nnx module or a function"),
        (lambda: models.from_nnx(lambda rngs: 3), "this is a ShapeDtypeStruct"),
        (lambda: models.from_equinox(3), "an equinox module or a function"),
        (lambda: models.from_equinox(lambda key: {}), "this is a dict"),
        (lambda: models.from_haiku(3), "takes a function that calls haiku"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_a_haiku_state_without_a_mode_is_refused():
    hk = pytest.importorskip("haiku")

    def net(images):
        norm = hk.BatchNorm(True, True, 0.9)
        return hk.Linear(3)(norm(images, True).reshape(len(images), -1))

    with pytest.raises(InputError, match="no argument that says whether it trains"):
        models.from_haiku(net).init(jax.random.key(0), images_of())
    transformed = hk.transform(lambda images: hk.Linear(3)(images.reshape(6, -1)))
    with pytest.raises(InputError, match='train="": it has none'):
        models.from_haiku(transformed)
    model = models.from_haiku(transformed, train="")
    variables = model.init(jax.random.key(0), images_of())
    assert model.apply(variables, images_of())[0].shape == (6, 3)


@pytest.mark.parametrize(
    "package, maker, install",
    [
        ("equinox", "from_equinox", "equinox"),
        ("haiku", "from_haiku", "dm-haiku"),
        ("flax.nnx", "from_nnx", "flax"),
    ],
)
def test_a_missing_library_is_a_line(monkeypatch, package, maker, install):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    monkeypatch.setitem(__import__("sys").modules, package.partition(".")[0], None)
    with pytest.raises(InputError, match=f"pip install {install}") as caught:
        getattr(models, maker)(lambda x: x)
    assert "\n" not in str(caught.value)


def test_a_module_of_another_library_is_refused():
    pytest.importorskip("flax.nnx")
    with pytest.raises(InputError, match="from_nnx takes an nnx module"):
        models.from_nnx(nn.Dense(3))
