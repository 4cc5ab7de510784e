"""Every method through the same protocol.

One compiled program a (method, model) serves all tests of it. Plain models forget a
random set, smaller than a batch (or a class, if the method is for classes only); models
with batch statistics forget a class.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, case
from conftest import tiny_problem
from trees import assert_close, assert_equal, distance, flat, pick

from unlearn import methods
from unlearn.problem import withhold

KEY = 1


def test_every_method_has_a_case():
    assert CASES.keys() == methods.METHODS.keys()


@pytest.mark.parametrize("name", CASES)
def test_signature(name):
    info = methods.METHODS[name]
    parameters = list(inspect.signature(info.fn).parameters.values())
    assert [p.name for p in parameters[:3]] == ["key", "variables", "problem"]
    for p in parameters[3:]:
        assert p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    assert set(info.needs) <= {"forget", "retain", "forget_classes", "validation"}
    assert info.scope in ("class", "random", "both")
    assert info.kind in ("exact", "approximate", "zero-shot")
    assert (info.kind == "zero-shot") == (not {"forget", "retain"} & set(info.needs))
    assert info.faithful is True or isinstance(info.faithful, str)
    assert info.fn.__doc__ and inspect.getmodule(info.fn).__doc__
    assert info.search or name == "retrain"
    defaults = {p.name: p.default for p in parameters[3:]}
    for constant, (low, high) in info.search.items():
        assert low < high and isinstance(defaults[constant], float)


def swept(name):
    """The float hyper-parameter to sweep, and two values of it."""
    constant, (low, high) = next(iter(methods.METHODS[name].search.items()))
    middle = CASES[name].get(constant, (low * high) ** 0.5 if low > 0 else high / 2)
    return constant, (middle, 0.7 * middle)


def run(name, key, variables, problem, value):
    """The method with the swept constant traced; it sees what it needs, no more."""
    info = methods.METHODS[name]
    settings = dict(CASES[name])
    if name != "retrain":
        settings[swept(name)[0]] = value
    return info.fn(key, variables, withhold(problem, info.needs), **settings)


@functools.cache
def program(name, kind):
    return jax.jit(functools.partial(run, name))


@pytest.fixture
def plain(name, problem, class_problem):
    return class_problem if methods.METHODS[name].scope == "class" else problem


def value_of(name, i=0):
    return jnp.float32(0 if name == "retrain" else swept(name)[1][i])


@pytest.mark.parametrize("kind", ["plain", "norm"])
@pytest.mark.parametrize("name", CASES)
def test_pure_deterministic_compiled_once(name, kind, plain, request):
    """Inputs keep their bits; float32 in and out; finite; not a no-op."""
    problem, variables = plain, request.getfixturevalue("variables")
    if kind == "norm":
        problem = request.getfixturevalue("norm_class_problem")
        variables = request.getfixturevalue("norm_variables")
    fn, key, value = program(name, kind), jax.random.key(KEY), value_of(name)
    before = jax.tree.map(lambda x: np.array(x), (variables, problem))
    after, info = fn(key, variables, problem, value)
    assert_equal(jax.tree.map(np.asarray, (variables, problem)), before)
    assert_equal(after, fn(key, variables, problem, value)[0])
    assert fn._cache_size() == 1
    assert jax.tree.structure(after) == jax.tree.structure(variables)
    for old, new in zip(
        jax.tree.leaves(variables), jax.tree.leaves(after), strict=True
    ):
        assert new.shape == old.shape and new.dtype == old.dtype == jnp.float32
        assert np.isfinite(new).all()
    assert distance(after, variables) > 0
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(info))
    assert "loss" not in info or info["loss"].ndim == 2


@pytest.mark.parametrize("name", CASES)
def test_vmap_equals_loop(name, plain, variables):
    """Keys, forget sets of one size and a float mapped at once equal one by one."""
    forgets, classes = np.stack([np.arange(3, 10), np.arange(20, 27)]), [[0], [0]]
    if methods.METHODS[name].scope == "class":
        classes = [[1], [2]]
        forgets = np.stack([np.flatnonzero(plain.labels == c) for (c,) in classes])
    everything = np.arange(len(plain.labels))
    retains = np.stack([np.setdiff1d(everything, f) for f in forgets])
    keys = jax.random.split(jax.random.key(0), 2)
    values = jnp.stack([value_of(name, i) for i in range(2)])

    def one(fn, key, forget, retain, classes, value):
        chosen = plain.forget_classes if classes is None else classes
        split = plain.replace(forget=forget, retain=retain, forget_classes=chosen)
        return fn(key, variables, split, value)[0]

    args = keys, forgets, retains, np.array(classes, np.int32), values
    if methods.METHODS[name].scope != "class":
        args = *args[:3], None, values
    many = jax.jit(jax.vmap(functools.partial(one, functools.partial(run, name))))
    many, single = many(*args), functools.partial(one, program(name, "plain"))
    for i in range(2):
        assert_close(pick(many, i), single(*pick(args, i)), 1e-3, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_jit_equals_eager(name, plain, variables):
    args = jax.random.key(KEY), variables, plain, value_of(name)
    with jax.disable_jit():
        eager, _ = run(name, *args)
    assert_close(eager, program(name, "plain")(*args)[0], 1e-3, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in CASES if methods.METHODS[name].scope != "class"]
)
def test_a_single_example_is_forgotten(name, variables):
    problem = tiny_problem(size=10, forget=1)
    with jax.disable_jit():
        after, _ = run(name, jax.random.key(0), variables, problem, value_of(name))
    assert np.isfinite(flat(after)).all()


def test_withheld_data_is_gone(problem):
    forget_only = withhold(problem, ("forget",))
    assert forget_only.retain is None and forget_only.validation is None
    np.testing.assert_array_equal(
        forget_only.images[forget_only.forget], problem.images[problem.forget]
    )
    assert len(forget_only.images) == len(problem.forget)
    nothing = withhold(problem, ())
    assert nothing.images is None and nothing.labels is None
    with pytest.raises(Exception):  # noqa: B017
        case("finetune", problem)[0](jax.random.key(0), {}, nothing)
