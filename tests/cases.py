"""Constants with which the tests run each method, and the checks of the protocol.

`settings` chooses small constants by the names of a method's arguments, so a new method
needs no row here; `OVERRIDES` is for what that does not get right. The `check_...`
functions take any registered `MethodInfo`.
"""

import functools
import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
from conftest import class_of_tiny_problem, tiny_problem
from trees import assert_close, assert_equal, distance, flat, pick

from unlearn.methods import METHODS, MethodInfo
from unlearn.methods.registry import NEEDS
from unlearn.problem import withhold

SMALL = dict(
    epochs=2,
    batch_size=16,
    warmup_epochs=1,
    impair_epochs=1,
    repair_epochs=1,
    forget_batch_size=4,
    forget_epochs=1,
    retain_steps=2,
    surrogates=12,
    surrogate_steps=2,
    examples=20,
    forget_examples=2,
    fisher_examples=6,
    images=8,
    noise_images=4,
    noise_copies=2,
    noise_steps=2,
    max_steps=2,
    min_steps=2,
    copies=2,
    layers=1,
    rounds=2,
    student_steps=2,
    latent=4,
    width=8,
    iterations=8,
)
OVERRIDES = {
    "retrain": dict(learning_rate=0.05),
    "gradient_ascent": dict(learning_rate=1e-3),
    "scrub": dict(max_epochs=1),
    "ssd": dict(alpha=1.0),
    "lfssd": dict(alpha=1.0),
    "l1_sparse": dict(no_l1_epochs=1),
    "unsir": dict(epochs=1),
    "curriculum_distill": dict(epochs=1),
    "class_swap": dict(epochs=1),
    "duck": dict(epochs=1, last_epochs=1),
    "sfron": dict(epochs=1, group=8),
    "influence": dict(examples=4, iterations=1, damping=0.1, batch_size=40),
    "fisher_forgetting": dict(alpha=1e-5, examples=0),
    "ntk_scrub": dict(examples=4),
    "newton_head": dict(steps=1, weight_decay=0.1, batch_size=40),
    "datamodel_matching": dict(replays=1, replay_epochs=1, replay_batch_size=16),
    "emmn": dict(epochs=1),
    "gkt": dict(batch_size=8),
    "scar": dict(temperature=2.0),  # at 1 the head's first gradient is rounding
    "lotus": dict(margin=2.0),  # else it may stop at once
    "kl_contrastive": dict(epochs=1, batch_size=40),
    "masked_small_gradients": dict(batch_size=20),
    "layer_noise": dict(epochs=3, tail_epochs=1),
}


def settings(info: MethodInfo) -> dict:
    """Small constants for a method."""
    names = inspect.signature(info.fn).parameters
    small = {name: value for name, value in SMALL.items() if name in names}
    return small | OVERRIDES.get(info.name, {})


def seen(info: MethodInfo, problem):
    """The problem as the method sees it, with made-up early weights if it needs any."""
    kept = withhold(problem, info.needs)
    if "early" in info.needs and kept.early is None:
        fresh = problem.model.init(jax.random.key(9), problem.input_spec.zeros())
        kept = kept.replace(early=dict.fromkeys(info.early_epochs({"epoch": 1}), fresh))
    return kept


def case(name, problem, **changes):
    """The jitted method with its constants, and the problem as the method sees it."""
    info = METHODS[name]
    return jitted(name, **settings(info) | changes), seen(info, problem)


def jitted(name, **constants):
    """The jitted method with these constants, else its defaults."""
    return jax.jit(functools.partial(METHODS[name].fn, **constants))


# The protocol. A method sees what it needs, no more; one of its floats is traced.


def swept(info: MethodInfo):
    """A float to sweep and two values of it: the first of `search`, or of any float."""
    defaults = {
        p.name: p.default
        for p in inspect.signature(info.fn).parameters.values()
        if isinstance(p.default, float)
    }
    for name, (low, high) in info.search.items():
        middle = (low * high) ** 0.5 if low > 0 else high / 2
        middle = settings(info).get(name, middle)
        return name, (middle, 0.7 * middle)
    for name in ("learning_rate", *defaults):
        if defaults.get(name):
            middle = settings(info).get(name, defaults[name])
            return name, (middle, 0.7 * middle)
    return None, (0.0, 0.0)


def value_of(info: MethodInfo, i=0):
    return jnp.float32(swept(info)[1][i])


def run(info: MethodInfo, key, variables, problem, value):
    """The method with the swept constant traced."""
    constants = settings(info)
    name, _ = swept(info)
    if name is not None:
        constants[name] = value
    return info.fn(key, variables, seen(info, problem), **constants)


@functools.cache
def program(fn, name, kind):
    """One compiled program a (method, kind of model) serves all checks of it."""
    del fn, kind
    return jax.jit(functools.partial(run, METHODS[name]))


def program_of(info: MethodInfo, kind="plain"):
    return program(info.fn, info.name, kind)


@functools.cache
def plain(scope):
    """A problem of a plain model: a class of 42 examples, or a single one of 20."""
    if scope == "class":
        return class_of_tiny_problem()
    return tiny_problem(size=20, forget=1)


def check_declaration(info: MethodInfo):
    parameters = list(inspect.signature(info.fn).parameters.values())
    assert [p.name for p in parameters[:3]] == ["key", "variables", "problem"]
    for p in parameters[3:]:
        assert p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    assert set(info.needs) <= set(NEEDS)
    assert info.scope in ("class", "random", "both")
    assert info.kind in ("exact", "approximate", "zero-shot")
    assert (info.kind == "zero-shot") == (not {"forget", "retain"} & set(info.needs))
    assert isinstance(info.differs, str) and info.paper
    assert METHODS[info.name] is info and info.fn.__name__ == info.name
    defaults = {p.name: p.default for p in parameters[3:]}
    for constant, (low, high) in info.search.items():
        assert low < high and isinstance(defaults[constant], float)


def check_alike(after, before):
    """The same structure and shapes; float32 in and out. `after` may be traced."""
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert new.shape == old.shape and new.dtype == old.dtype == jnp.float32


def check_pure_deterministic_compiled_once(info, problem, variables, kind="plain"):
    """Inputs keep their bits; float32 in and out; finite; not a no-op."""
    fn, key, value = program_of(info, kind), jax.random.key(1), value_of(info)
    before = jax.tree.map(lambda x: np.array(x), (variables, problem))
    after, told = fn(key, variables, problem, value)
    assert_equal(jax.tree.map(np.asarray, (variables, problem)), before)
    assert_equal(after, fn(key, variables, problem, value)[0])
    assert fn._cache_size() == 1
    check_alike(after, variables)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(after))
    assert distance(after, variables) > 0
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(told))
    assert "loss" not in told or told["loss"].ndim == 2


def check_traced(info, problem, variables):
    """Parameters and statistics go out as they came in, of the same types."""
    args = jax.random.key(1), variables, problem, value_of(info)
    after, told = jax.eval_shape(functools.partial(run, info), *args)
    assert "loss" not in told or told["loss"].ndim == 2
    check_alike(after, variables)


REWRITTEN = (
    *("cond", "while", "custom_linear_solve", "triangular_solve", "cholesky"),
    *("eigh", "eig", "svd", "lu", "qr", "approx_top_k"),
)
RUN_MAPPED = "finetune", "salun", "scrub"  # of those that have none of these


def is_rewritten(info, variables, problem):
    """Whether it has control flow or solvers, which vmap rewrites as a whole."""
    args = jax.random.key(0), variables, problem, value_of(info)
    program = str(program_of(info).trace(*args).jaxpr)
    return re.search(rf"= ({'|'.join(REWRITTEN)})[\[ ]", program) is not None


def check_vmap_equals_loop(info, variables):
    """Keys, forget sets of one size and a float mapped at once equal one by one.

    A set is a class, or a single example, of `plain`; what comes out is finite. That
    is of methods with control flow or solvers, and of three others; the rest have one
    step for each of the loop's, by a rule of JAX, and are traced: shapes and types.
    """
    problem = plain(info.scope)
    if info.scope == "class":
        classes = np.array([[1], [2]], np.int32)
        forgets = np.stack([np.flatnonzero(problem.labels == c) for (c,) in classes])
    else:
        classes, forgets = None, np.array([[3], [17]])
    everything = np.arange(len(problem.labels))
    retains = np.stack([np.setdiff1d(everything, f) for f in forgets])
    keys = jax.random.split(jax.random.key(0), 2)
    values = jnp.stack([value_of(info, i) for i in range(2)])

    def one(fn, key, forget, retain, classes, value):
        chosen = problem.forget_classes if classes is None else classes
        split = problem.replace(forget=forget, retain=retain, forget_classes=chosen)
        return fn(key, variables, split, value)[0]

    args = keys, forgets, retains, classes, values
    many = jax.jit(jax.vmap(functools.partial(one, functools.partial(run, info))))
    if info.name not in RUN_MAPPED and not is_rewritten(info, variables, problem):
        first = functools.partial(pick, i=0)
        check_alike(jax.eval_shape(first, many.trace(*args).out_info), variables)
        return
    many, single = many(*args), functools.partial(one, program_of(info))
    for i in range(2):
        assert np.isfinite(flat(pick(many, i))).all()
        assert_close(pick(many, i), single(*pick(args, i)), 1e-3, 1e-4)


def check_jit_equals_eager(info, problem, variables):
    args = jax.random.key(1), variables, problem, value_of(info)
    with jax.disable_jit():
        eager, _ = run(info, *args)
    assert_close(eager, program_of(info)(*args)[0], 1e-3, 1e-4)
