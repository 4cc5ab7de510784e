"""What `@method` accepts, and what it refuses where the method is defined."""

import inspect

import jax
import pytest

from unlearn.errors import InputError
from unlearn.methods import METHODS, finetune, method, registry, ssd


@pytest.fixture(autouse=True)
def restored():
    known = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(known)


def good(key, variables, problem, *, rate=0.1, epochs=3):
    return variables, {}


def declare(fn=good, **changes):
    return method(**dict(needs=("forget",), paper="none") | changes)(fn)


def test_the_function_comes_back_checked_and_is_registered():
    checked = declare(search={"rate": (0.01, 1.0)})
    assert inspect.unwrap(checked) is good and checked.__doc__ == good.__doc__
    info = METHODS["good"]
    assert info == (
        "good",
        checked,
        ("forget",),
        "both",
        "approximate",
        "none",
        "",
        {"rate": (0.01, 1.0)},
        "any",
        False,
        False,
    )
    assert METHODS["finetune"].fn is finetune and METHODS["ssd"].fn is ssd


@pytest.mark.parametrize(
    ("needs", "kind"),
    [
        ((), "zero-shot"),
        (("forget_classes", "validation"), "zero-shot"),
        (("retain",), "approximate"),
        (("forget", "forget_classes"), "approximate"),
    ],
)
def test_the_kind_follows_from_the_needs(needs, kind):
    declare(needs=needs)
    assert METHODS["good"].kind == kind


def test_only_retraining_is_exact():
    exact = [name for name, info in METHODS.items() if info.kind == "exact"]
    assert exact == ["retrain", "retrain_short"]


def wrong_order(variables, key, problem, *, rate=0.1): ...
def positional(key, variables, problem, rate=0.1): ...
def no_default(key, variables, problem, *, rate): ...
def anything(key, variables, problem, **constants): ...


def taken():
    def finetune(key, variables, problem): ...

    return finetune


@pytest.mark.parametrize(
    ("fn", "changes", "says"),
    [
        (good, dict(needs=("forget", "labels")), "unknown need 'labels': choose from"),
        (good, dict(needs="forget"), "unknown need 'f'"),
        (good, dict(scope="classes"), "unknown scope 'classes': choose from both"),
        (good, dict(kind="fast"), "unknown kind 'fast'"),
        (good, dict(kind="zero-shot"), "zero-shot if it needs no data, and only then"),
        (good, dict(needs=(), kind="approximate"), "zero-shot if it needs no data"),
        (good, dict(needs=("retain",), ascends=True), "so it needs it: add `forget`"),
        (wrong_order, {}, "first three arguments must be key, variables, problem"),
        (positional, {}, "argument 'rate' must be keyword-only and have a default"),
        (no_default, {}, "argument 'rate' must be keyword-only and have a default"),
        (anything, {}, "argument 'constants' must be keyword-only"),
        (good, dict(search={"alpha": (0.1, 1.0)}), "'alpha', which is no argument"),
        (good, dict(search={"epochs": (1, 9)}), "'epochs', which is no argument"),
        (good, dict(search={"rate": (1.0, 0.1)}), "must be \\(lowest, highest\\)"),
        (good, dict(search={"rate": (0.1,)}), "must be \\(lowest, highest\\)"),
        (taken(), {}, "name is taken by unlearn.methods.finetune.finetune: choose"),
    ],
)
def test_nonsense_is_refused_in_one_line(fn, changes, says):
    known = dict(METHODS)
    with pytest.raises(InputError, match=says) as error:
        declare(fn, **changes)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"method {fn.__name__}: ")
    assert known == METHODS


def test_a_newer_version_of_the_same_function_replaces_it():
    declare()
    declare(paper="arXiv:0000.00000")
    assert METHODS["good"].paper == "arXiv:0000.00000"


@pytest.mark.parametrize("name", registry.RESERVED)
def test_names_of_other_models_are_taken(name):
    with pytest.raises(InputError, match="the name is taken"):
        exec(  # a function of that name
            f"@registry.method(needs=('retain',), paper='none')\n"
            f"def {name}(key, variables, problem, *, rate=0.1): ...",
            {"registry": registry, "__name__": "users"},
        )


def test_reserved_names_are_those_of_controls_and_training_time_methods():
    from unlearn import training_time
    from unlearn.audit import controls, shadow_models, tables

    others = {
        *controls.CONTROLS,
        controls.PRIVATE,
        controls.MATCHING,
        *shadow_models.REFERENCES,
        tables.UNTRAINED,
    }
    assert {*registry.RESERVED} == (others | {*training_time.METHODS}) - {"retrain"}


def test_a_method_once_more_under_a_label():
    info = METHODS["finetune__fast"]
    assert info == METHODS["finetune"]._replace(name="finetune__fast")
    assert "finetune__5" in METHODS and METHODS.get("finetune__5")
    assert "finetune__5" not in list(METHODS)
    for name in ("finetune__", "finetune__a__b", "finetune__a/b", "fine__5", "__5"):
        assert name not in METHODS and METHODS.get(name) is None
        with pytest.raises(KeyError):
            METHODS[name]


def test_a_certificate_is_declared_and_not_guessed():
    """As Adam's epsilon and Huber's delta would be."""

    def huber(key, variables, problem, *, epsilon=1e-8, delta=1.0):
        return variables, {}

    declare(huber, needs=("retain",))
    constants = {"huber": {"epsilon": 1e-8, "delta": 1.0}}
    assert registry.certificate(["huber"], constants) is None
    METHODS.pop("huber")
    with pytest.raises(InputError, match="must not see the forget set"):
        declare(huber, needs=("forget",), certifies=True)
    with pytest.raises(InputError, match="needs the constants epsilon and delta"):
        declare(needs=("retain",), certifies=True)
    declare(huber, needs=("retain",), certifies=True)
    assert registry.certificate(["huber"], constants) == (1e-8, 1.0)


def test_the_name_of_the_private_training_is_taken():
    def dp_sgd(key, variables, problem):
        return variables, {}

    with pytest.raises(InputError, match="the name is taken"):
        declare(dp_sgd)


def test_a_call_with_what_is_no_count_or_no_variables_is_refused(problem, variables):
    finetune = METHODS["finetune"].fn
    key = jax.random.key(0)
    for constants, words in (
        ({"epochs": 1.5}, "finetune: epochs must be a whole number of at least 0; it"),
        ({"epochs": -1}, "epochs must be a whole number of at least 0; it is -1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; it is 0"),
        ({"batch_size": "64"}, "batch_size must be a whole number .* it is '64'"),
    ):
        with pytest.raises(InputError, match=words):
            finetune(key, variables, problem, **constants)
    with pytest.raises(InputError, match="finetune needs the variables, .* no 'p"):
        finetune(key, variables["params"], problem)
    with pytest.raises(KeyError, match="no method 'fintune': did you mean 'finetune'"):
        METHODS["fintune"]
    with pytest.raises(KeyError, match="no method 'fintune__2': did you mean"):
        METHODS["fintune__2"]
