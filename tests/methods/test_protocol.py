"""Every method through the same protocol.

Plain models forget a single example (or a class, if the method is for classes only),
models with batch statistics and transformers a class; sets smaller than a batch and
larger ones are forgotten in test_any_input.py. On a residual net and a transformer
methods run that look into a net, and `RUN`; to the others it is a function: they run on
two layers with batch statistics, and are traced on the larger nets.
"""

import functools
import inspect

import cases
import jax
import pytest
from cases import case
from conftest import NormNet, class_of_tiny_problem, traced_once, trained

from unlearn import models
from unlearn.methods import METHODS


@pytest.fixture
def plain(name):
    return cases.plain(METHODS[name].scope)


@pytest.mark.parametrize("name", METHODS)
def test_declaration(name):
    info = METHODS[name]
    cases.check_declaration(info)
    assert info.fn.__doc__ and inspect.getmodule(info.fn).__doc__
    assert info.search or name == "retrain"
    assert info.fn.__module__ == f"unlearn.methods.{name}"


def test_settings_name_methods_and_arguments_that_exist():
    assert cases.OVERRIDES.keys() <= METHODS.keys()
    for name, constants in cases.OVERRIDES.items():
        assert constants.keys() <= inspect.signature(METHODS[name].fn).parameters.keys()
    arguments = set().union(
        *(inspect.signature(info.fn).parameters for info in METHODS.values())
    )
    assert cases.SMALL.keys() <= arguments


VIT = dict(patch=2, width=8, depth=1, heads=2, mlp=8)
NETS = {  # the first two with batch statistics
    "norm": lambda: models.from_linen(NormNet()),
    "resnet": lambda: models.create("poolnet", 3, widths=(4,)),
    "transformer": lambda: models.create("vit", 3, **VIT),
}
LARGER = "resnet", "transformer"


FUNCTION = (
    *("amnesiac_relabel", "amun", "bad_teacher", "boundary_shrink", "class_swap"),
    *("curriculum_distill", "datamodel_matching", "delete", "emmn", "finetune"),
    *("gradient_ascent", "influence", "kl_contrastive", "kl_uniform", "l1_sparse"),
    *("lfssd", "lipschitz", "lotus", "mu_mis", "munba", "neggrad_plus"),
    *("noisy_finetune", "noisy_rewind", "random_labels", "regun", "retrain"),
    *("retrain_short", "rewind", "rum", "salun", "scrub", "sfron", "ssd", "unsir"),
    *("weight_distortion",),
)
"""To these a net is a function of all its parameters; of layers they know nothing."""
RUN = "finetune", "scrub", "retrain"  # these of them run on all nets
TRACED = [name for name in FUNCTION if name not in RUN]


@functools.cache
def with_net(kind):
    """A problem and its original."""
    problem = class_of_tiny_problem(traced_once(NETS[kind]()))
    return problem, trained(problem)


def of_kind(kind):
    """The methods to run on it: of the larger nets those that may look into them."""
    if kind == "plain":
        return [pytest.param(name, kind) for name in METHODS]
    names = [n for n in METHODS if (n in TRACED) == (kind not in LARGER)]
    return [pytest.param(name, kind, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    ("name", "kind"), [case for kind in ("plain", *NETS) for case in of_kind(kind)]
)
def test_pure_deterministic_compiled_once(name, kind, plain, variables):
    problem = plain
    if kind in NETS:
        problem, variables = with_net(kind)
    cases.check_pure_deterministic_compiled_once(
        METHODS[name], problem, variables, kind
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGER)
@pytest.mark.parametrize("name", TRACED)
def test_a_net_as_a_function_is_traced(name, kind):
    cases.check_traced(METHODS[name], *with_net(kind))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_vmap_equals_loop(name, variables):
    cases.check_vmap_equals_loop(METHODS[name], variables)


EAGER = "lotus", "newton_head", "trew"  # loops and branches, solvers, searches


@pytest.mark.slow
@pytest.mark.parametrize("name", EAGER)
def test_jit_equals_eager(name, plain, variables):
    cases.check_jit_equals_eager(METHODS[name], plain, variables)


@pytest.mark.parametrize(
    "name", [name for name, info in METHODS.items() if info.kind == "zero-shot"]
)
def test_a_zero_shot_method_sees_no_data(name, class_problem):
    _, seen = case(name, class_problem)
    assert seen.examples is seen.labels is seen.forget is seen.retain is None
    assert seen.validation is None
    assert list(seen.forget_classes) == [1]


def test_a_method_fails_without_what_it_needs(problem):
    nothing = cases.withhold(problem, ())
    with pytest.raises(Exception):  # noqa: B017
        case("finetune", problem)[0](jax.random.key(0), {}, nothing)
