"""Nets that are not a chain of layers of linen: what methods make of their parts."""

import flax.linen as nn
import foreign_nets
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import jitted
from conftest import class_of_tiny_problem, tiny_problem
from trees import assert_equal, flat

from unlearn import surgery
from unlearn.audit.controls import head_distill
from unlearn.errors import InputError
from unlearn.methods import METHODS
from unlearn.models import create, from_linen
from unlearn.problem import make_problem
from unlearn.training import cross_entropy, predict_set

KEY = jax.random.key(3)
LIBRARIES = {"haiku": "haiku", "equinox": "equinox"}
fresh = jax.jit(surgery.fresh)  # eagerly every operation is a program of its own


def run(name, variables, problem, **constants):
    return jitted(name, **constants)(KEY, variables, problem)


def vit_problem():
    net = create("vit", 3, patch=2, width=8, depth=1, heads=2, mlp=8)
    return class_of_tiny_problem(net)


def foreign_problem(library):
    pytest.importorskip(LIBRARIES[library])
    model = getattr(foreign_nets, f"{library}_net")()[0]
    draw = np.random.default_rng(0)
    images = draw.normal(size=(24, 4, 4, 1)).astype(np.float32)
    return make_problem(images, np.arange(24) % 3, range(4), model)


def moved(before, after):
    """Names the layers of which anything is not as before."""
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, after)
    return {name for name, tree in changed.items() if any(jax.tree.leaves(tree))}


def test_what_a_vit_owns_beside_its_layers_is_no_layer():
    problem = vit_problem()
    variables = fresh(KEY, problem)
    weighted = surgery.weighted_layers(problem, variables)
    assert weighted[0] == ("patch",) and weighted[-1] == ("head",)
    assert () in surgery.layers(problem, variables)
    # Those that own a matrix of numbers, and no normalisation.
    kernels = [p for p in weighted if "kernel" in surgery.at(variables["params"], p)]
    assert kernels == weighted and len(weighted) > 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, constants, expected",
    [
        ("weight_negation", {}, {"patch"}),
        ("noise_reset", {"learning_rate": 0.0, "epochs": 1}, {"patch"}),
        ("reset_head_distill", {"epochs": 0, "warmup_epochs": 0}, {"patch", "head"}),
    ],
)
def test_the_first_layer_of_a_vit_is_its_patches(name, constants, expected):
    problem = vit_problem()
    params = jax.tree.map(lambda w: w + 0.01, fresh(KEY, problem)["params"])
    if name == "weight_negation":
        constants = {"epochs": 0}
    after, _ = run(name, {"params": params}, problem, **constants)
    assert moved(params, after["params"]) == expected


@pytest.mark.slow
def test_a_normalisation_of_haiku_is_no_layer_with_a_matrix():
    problem = foreign_problem("haiku")
    variables = fresh(KEY, problem)
    assert variables["params"]["norm"]["scale"].ndim > 1
    weighted = surgery.weighted_layers(problem, variables)
    assert weighted == [("conv",), ("dense",), ("head",)]


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_statistics_go_with_the_layers_that_train(library, name):
    problem = foreign_problem(library)
    variables = fresh(KEY, problem)
    found = {}
    for layers in (1, 3):  # the head alone; the normalisation as well
        constants = dict(layers=layers, epochs=2, batch_size=8)
        after, _ = run(name, variables, problem, **constants)
        trained = moved(variables["params"], after["params"])
        assert ("norm" in trained) == (layers == 3)
        found[layers] = np.abs(
            flat(after["batch_stats"]) - flat(variables["batch_stats"])
        ).max()
    assert found[3] > 0
    # Of equinox the names do not say whose they are, so they go with the training.
    assert (found[1] == 0) == (library == "haiku")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cf_k", "eu_k"])
def test_a_frozen_normalisation_without_parameters_keeps_its_statistics(name):
    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.Dense(8)(x.reshape(len(x), -1))
            own = {"use_scale": False, "use_bias": False}
            x = nn.BatchNorm(use_running_average=not train, **own)(x)
            return nn.Dense(3)(nn.relu(x))

    problem = tiny_problem(from_linen(Plain()))
    variables = fresh(KEY, problem)
    variables["batch_stats"]["BatchNorm_0"]["mean"] += 0.5
    after, _ = run(name, variables, problem, layers=1, epochs=1)
    assert_equal(after["batch_stats"], variables["batch_stats"])


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["undo", "prune_reinit_entropy"])
def test_counters_stay_whole_numbers(library, name):
    problem = foreign_problem(library)
    variables = fresh(KEY, problem)
    assert any(x.dtype == jnp.int32 for x in jax.tree.leaves(variables))
    after, _ = run(name, variables, problem, epochs=1, batch_size=8)
    assert jax.tree.map(jnp.dtype, variables) == jax.tree.map(jnp.dtype, after)
    assert np.isfinite(flat(after["params"])).all()


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_averages_that_undo_mixed_are_no_larger_than_what_they_are_of(library):
    """A counter at 0 beside old sums would enlarge them by up to 1 / (1 - decay)."""
    problem = foreign_problem(library)
    variables = fresh(KEY, problem)
    long = run("finetune", variables, problem, epochs=20, batch_size=8)[0]
    constants = dict(share=0.3, epochs=1, batch_size=24, learning_rate=0.0)
    after, _ = run("undo", long, problem, **constants)
    mean = {"haiku": "norm/~/mean_ema", "equinox": "1"}[library]
    size = {
        name: np.abs(flat(tree["batch_stats"][mean])).max()
        for name, tree in (("long", long), ("after", after))
    }
    assert size["after"] < 1.5 * size["long"]


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_net_that_was_not_trained_is_unsure(library):
    """Haiku's variance of 0 would make it certain; teachers of noise ask such nets."""
    problem = foreign_problem(library)
    logits = predict_set(problem, fresh(KEY, problem), problem.retain)
    assert np.abs(logits).max() < 20


@pytest.mark.slow
@pytest.mark.parametrize("net", ["resnet9", "speednet", "cnn"])
def test_a_net_that_scales_its_logits(net):
    small = {"cnn": {"widths": (4,)}, "speednet": {"widths": (16, 16)}}
    options = small.get(net, {"width": 4})
    images = np.random.default_rng(0).normal(size=(20, 12, 12, 1)).astype(np.float32)
    model = create(net, 3, **options)
    problem = make_problem(images, np.arange(20) % 3, range(4), model)
    variables = fresh(KEY, problem)
    after, info = run("newton_head", variables, problem, steps=2)

    def objective(variables):
        logits = predict_set(problem, variables, problem.retain)
        head = surgery.at(variables["params"], surgery.head(problem, variables))
        squares = sum(float(jnp.sum(w**2)) for w in jax.tree.leaves(head))
        losses = cross_entropy(logits, problem.labels[problem.retain])
        return float(jnp.mean(losses)) + 5e-4 / 2 * squares

    np.testing.assert_allclose(info["objective"][0], objective(variables), rtol=1e-4)
    assert objective(after) < info["objective"][1] < info["objective"][0]
    teacher = fresh(jax.random.key(8), problem)
    taught = head_distill(variables, problem, teacher)
    wanted, before, now = (
        jax.nn.log_softmax(predict_set(problem, v, problem.retain))
        for v in (teacher, variables, taught)
    )
    gap = [float(jnp.mean(jnp.exp(wanted) * (wanted - own))) for own in (before, now)]
    assert gap[1] < 0.9 * gap[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fisher_forgetting", "influence", "ntk_scrub"])
def test_logits_of_half_precision(name):
    class Half(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(8)(x.reshape(len(x), -1)))
            return nn.Dense(3, dtype=jnp.bfloat16)(x)

    problem = tiny_problem(from_linen(Half()))
    variables = fresh(KEY, problem)
    after, _ = run(name, variables, problem)
    assert np.isfinite(flat(after)).all() and flat(after).dtype == np.float32
    # A pair of functions of one's own may answer in half precision as well.
    apply = problem.model.apply

    def half(variables, inputs, **options):
        logits, variables = apply(variables, inputs, **options)
        return logits.astype(jnp.bfloat16), variables

    own = problem.replace(model=problem.model._replace(apply=half))
    again, _ = run(name, variables, own)
    assert np.isfinite(flat(again)).all()


@pytest.mark.slow
def test_a_stateless_sequential_of_equinox_and_one_with_a_normalisation():
    eqx = pytest.importorskip("equinox")
    from unlearn.models import from_equinox

    def plain(key):
        return eqx.nn.Sequential(
            [eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(16, 3, key=key)]
        )

    def normalised(key):
        return eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(1, 2, 3, padding=1, key=key),
                eqx.nn.BatchNorm(2, axis_name="batch", mode="batch"),
                eqx.nn.Lambda(jnp.ravel),
                eqx.nn.Linear(32, 3, key=key),
            ]
        )

    images = np.random.default_rng(0).normal(size=(6, 4, 4, 1)).astype(np.float32)
    for net, count in ((plain, 1), (eqx.nn.make_with_state(normalised), 3)):
        model = from_equinox(net, channels_first=True)
        variables = model.init(KEY, images)
        logits, _ = model.apply(variables, images)
        seen, again, _ = model.activations(variables, images)
        np.testing.assert_array_equal(logits, again)
        assert len(seen) == count and logits.shape == (6, 3)


@pytest.mark.slow
def test_classes_are_named_once_and_none_are_no_class():
    problem = class_of_tiny_problem()
    labels = np.asarray(problem.labels)
    with pytest.raises(InputError, match="names a class twice: name each once, .1."):
        make_problem(
            *(problem.examples, labels, problem.forget, problem.model),
            forget_classes=[1, 1],
        )
    variables, none = fresh(KEY, problem), jnp.zeros(0, jnp.int32)
    for name in ("random_labels", "delete"):
        unsaid, empty = (
            run(name, variables, problem.replace(forget_classes=classes))[0]
            for classes in (None, none)
        )
        assert_equal(unsaid, empty)


@pytest.mark.slow
def test_no_epoch_is_no_crash():
    problem = tiny_problem()
    variables = fresh(KEY, problem)
    after, info = run("noise_reset", variables, problem, epochs=0)
    assert info["loss"].shape[0] == 0 and not moved(variables, after)
    with pytest.raises(InputError, match="goes back to one of its epochs"):
        METHODS["scrub"].fn(KEY, variables, problem, epochs=0, rewind=True)
