"""What a program takes of a device's memory, and what is done if that is too much."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from small_runs import Silent, small_config

from unlearn import devices, memory, pipeline, spread
from unlearn.devices import compiled
from unlearn.errors import InputError
from unlearn.pipeline import checks, evaluation, method_programs


def program(size):
    """Takes `size` floats and gives as many."""
    return jax.jit(lambda x: x + 1).lower(jnp.zeros(size)).compile()


def test_what_a_program_needs_is_counted_with_its_arguments_and_results():
    assert memory.needed(program(1000)) >= 2 * 4000
    nothing_known = SimpleNamespace(memory_analysis=lambda: None)
    assert memory.needed(nothing_known) == 0 and memory.fits(nothing_known)
    used = SimpleNamespace(
        temp_size_in_bytes=300,
        output_size_in_bytes=200,
        argument_size_in_bytes=400,
        alias_size_in_bytes=150,
    )
    assert memory.needed(SimpleNamespace(memory_analysis=lambda: used)) == 750


def test_the_limit_is_that_of_the_device_or_of_the_machine(monkeypatch):
    assert 2**28 < memory.limit() < 2**46
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 10_000})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert memory.limit() == 10_000
    assert memory.fits(program(1000)) and not memory.fits(program(1000), share=0.8)
    with pytest.raises(
        InputError, match="^a step takes 0.0 GiB of a device's 0.0 GiB: "
    ):
        memory.check(program(2000), "a step")


def test_much_of_it_is_said(monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: 2**32)
    assert memory.check(program(1000), "a step") == ""
    monkeypatch.setattr(memory, "needed", lambda program: 3 * 2**30)
    assert memory.check(None, "a step") == "a step takes 3.0 GiB of a device's 4.0 GiB"


def test_of_a_program_on_many_devices_it_is_what_each_takes():
    mesh = spread.make_mesh(2)
    x = spread.replicate(jnp.zeros(1000), mesh)
    executable, _ = compiled(lambda x: x + 1, x)
    assert memory.needed(executable) >= 2 * 4000


def test_a_training_that_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: 1000)
    with pytest.raises(InputError, match="an epoch of original takes .* train.parts"):
        pipeline.run(small_config(), tmp_path / "run", progress=Silent())
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("changes", [{}, {"batch_devices": 2}, {"few": True}])
def test_a_model_that_cannot_be_evaluated_is_not_trained(
    changes, tmp_path, monkeypatch
):
    check = memory.check

    def small(program, what, *advice):
        if what == "evaluation":
            monkeypatch.setattr(memory, "limit", lambda: 1000)
        return check(program, what, *advice)

    monkeypatch.setattr(memory, "check", small)
    config = small_config()
    config.batch_devices = changes.get("batch_devices", 0)
    if "few" in changes:
        monkeypatch.setattr(checks, "MOST_LOGITS", 10)
    with pytest.raises(InputError, match="evaluation takes .* data.resident=False"):
        pipeline.run(config, tmp_path / "run", progress=Silent())
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_method_that_does_not_fit_stops_a_large_run_before_training(
    tmp_path, monkeypatch
):
    check = memory.check

    def large(program, what, *advice):
        monkeypatch.setattr(memory, "limit", lambda: 2 ** (29 if what == "ssd" else 32))
        return check(program, what, *advice)

    monkeypatch.setattr(memory, "check", large)
    monkeypatch.setattr(memory, "needed", lambda program: 2**30)
    config = small_config(run=("finetune", "rewind", "ssd"))
    with pytest.raises(InputError, match="^ssd takes .* methods.ssd.retain_examples"):
        pipeline.run(config, tmp_path / "run", progress=Silent())
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_of_a_large_net_methods_are_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "limit", lambda: 2**32)
    monkeypatch.setattr(memory, "needed", lambda program: 2**30)
    devices._executables.clear()
    config = small_config(run=("finetune", "rewind"), seeds=1)
    run = pipeline.prepare(config, tmp_path / "run", config.run, progress=Silent())
    run.remember(method_programs.TO_COME, 0, lambda: config.run)
    _, told = pipeline.make_model(run, "original", 0)
    assert not [name for name in run.cache if name.startswith("only")]  # copies of sets
    ahead = dict(run.remember("compiled ahead", None, dict))
    assert ahead.keys() == {"finetune", "rewind"} and min(ahead.values()) > 0
    monkeypatch.setattr(jax, "jit", None)  # nothing is compiled after it
    for name, seconds in ahead.items():
        _, told = pipeline.make_model(run, name, 0)
        assert told["compile_seconds"] == seconds


@pytest.mark.parametrize("few", [False, True])
def test_that_is_the_program_that_evaluates(few, tmp_path, monkeypatch):
    """Nothing is compiled after it; of many logits, for the training set."""
    if few:
        monkeypatch.setattr(checks, "MOST_LOGITS", 10)
    run = pipeline.prepare(small_config(), tmp_path / "run", (), progress=Silent())
    variables = run.problem.model.init(
        jax.random.key(0), run.problem.input_spec.zeros()
    )
    evaluation.check_memory(run, variables)
    before = len(devices._executables)
    predict = functools.partial(pipeline.predict_examples, run.problem, variables)
    if few:
        list(evaluation.answers_of(predict, run.problem.examples, 3))
    else:
        pipeline.evaluate(run, predict)
    assert len(devices._executables) == before


def test_a_method_that_does_not_fit_names_its_own_settings():
    def advice(name, **constants):
        return method_programs.advice_on_memory(name, constants.items())

    assert advice("scrub", rate=0.1, batch_size=64, forget_batch_size=8) == (
        "lower methods.scrub.batch_size or methods.scrub.forget_batch_size"
    )
    assert advice("ssd", alpha=1.0, retain_examples=0) == (
        "set methods.ssd.retain_examples"
    )
    assert advice("ssd", retain_examples=9) == "lower methods.ssd.retain_examples"
