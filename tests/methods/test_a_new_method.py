"""A method in a file of its own is in the registry and in the protocol."""

import importlib.util
import sys

import cases
import pytest

from unlearn.methods import METHODS
from unlearn.methods.__main__ import EXAMPLE

FORGET_ONLY = '''
"""A step up the forget loss, with no constant to tune and none of the usual names."""

import jax

from unlearn.methods import method
from unlearn.problem import withhold
from unlearn.training import cross_entropy


@method(needs=("forget",), paper="none")
def one_step(key, variables, problem, *, size=0.1):
    """Climbs once; `info` is empty."""
    assert problem.retain is problem.validation is problem.forget_classes is None

    def loss(params):
        inputs = problem.inputs(problem.forget)
        logits, _ = problem.model.apply({**variables, "params": params}, inputs)
        return cross_entropy(logits, problem.labels[problem.forget]).mean()

    gradient = jax.grad(loss)(variables["params"])
    params = jax.tree.map(lambda p, g: p + size * g, variables["params"], gradient)
    return {**variables, "params": params}, {}
'''

CLASS_ONLY = '''
"""The head's column of a forgotten class is set back: no data is needed."""

import jax

from unlearn.methods import method


@method(needs=("forget_classes",), paper="none", scope="class")
def without_column(key, variables, problem, *, scale: float = 0.5):
    """Shrinks the column; `info` is empty."""

    def shrink(w):
        if w.shape[-1] != problem.num_classes:
            return w
        return w.at[..., problem.forget_classes].multiply(scale)

    return {**variables, "params": jax.tree.map(shrink, variables["params"])}, {}
'''

FILES = {
    "small_steps": EXAMPLE,
    "one_step": FORGET_ONLY,
    "without_column": CLASS_ONLY,
}
KINDS = {
    "small_steps": "approximate",
    "one_step": "approximate",
    "without_column": "zero-shot",
}


def load(name, path):
    """Imports a file, which registers its method."""
    spec = importlib.util.spec_from_file_location(f"method_of_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=FILES)
def info(request, tmp_path):
    name, known = request.param, dict(METHODS)
    path = tmp_path / f"{name}.py"
    path.write_text(FILES[name])
    try:
        module = load(name, path)
        assert METHODS.keys() - known.keys() == {name}
        assert METHODS[name].fn is getattr(module, name)
        assert list(METHODS) == sorted(METHODS)
        load(name, path)  # as a notebook does: the newer one replaces it
        yield METHODS[name]
    finally:
        METHODS.clear()
        METHODS.update(known)
        sys.modules.pop(f"method_of_{name}", None)


@pytest.mark.slow
def test_a_new_file_goes_through_the_protocol(info, request):
    assert info.kind == KINDS[info.name]
    cases.check_declaration(info)
    plain = "class_problem" if info.scope == "class" else "problem"
    plain, variables, norm_class_problem, norm_variables = map(
        request.getfixturevalue,
        (plain, "variables", "norm_class_problem", "norm_variables"),
    )
    check = cases.check_pure_deterministic_compiled_once
    check(info, plain, variables, "plain")
    check(info, norm_class_problem, norm_variables, "norm")
    cases.check_vmap_equals_loop(info, variables)
    if info.name != "small_steps":  # which has loops: each would be compiled by itself
        cases.check_jit_equals_eager(info, plain, variables)
