"""Models of a run: keys, what methods see, chains, training-time methods."""

import importlib.util
import sys

import jax
import numpy as np
import pytest
from small_runs import Silent, problem_of, results, run, small_config
from trees import assert_close, assert_equal

from unlearn import methods, pipeline, store, training
from unlearn import problem as problems
from unlearn.errors import InputError
from unlearn.pipeline import epochs, method_programs, stages


@pytest.mark.slow
def test_retain_examples_cuts_the_retain_set(finished):
    """So many steps as the sample has batches, and other samples for other keys."""
    problem = problem_of(small_config())
    variables = problem.model.init(jax.random.key(0), problem.inputs(np.arange(1)))
    constants = dict(epochs=1, batch_size=16, retain_examples=40)
    after, info = pipeline.run_method(
        methods.METHODS["finetune"].fn,
        jax.random.key(0),
        variables,
        problem,
        **constants,
    )
    assert info["loss"].shape == (1, 3)
    drawn = [
        np.asarray(problems.sample_retain(jax.random.key(s), problem, 40).retain)
        for s in (0, 1)
    ]
    assert len(np.unique(drawn[0])) == 40 and not np.array_equal(*map(np.sort, drawn))
    assert np.isin(drawn[0], problem.retain).all()


def test_two_steps_tell_what_an_epoch_takes_and_change_nothing(monkeypatch):
    problem, recipe = problem_of(small_config()), training.Recipe(batch_size=4)
    indices, key = jax.numpy.arange(len(problem.labels)), jax.random.key(0)
    begin, _ = epochs.train_functions(problem.model, recipe, len(indices))
    args = key, begin(key, problem), problem, indices, recipe
    assert np.isnan(epochs.epoch_seconds(*args))
    monkeypatch.setattr(epochs, "FEW", len(indices) // 4)
    before = jax.tree.map(np.array, args[1])
    assert 0 < epochs.epoch_seconds(*args) < 60
    assert_equal(args[1], before)


@pytest.mark.slow
def test_exact_methods_have_rows_with_what_they_cost(tmp_path):
    """Trained on everything, then asked; they and the others are one table."""
    config = dict(run=("sisa",), seeds=1, methods__sisa__epochs=4)
    run(tmp_path, **config, methods__sisa__slices=2, methods__sisa__shards=2)
    rows = {row["model"]: row for row in results(tmp_path)}
    assert float(rows["sisa"]["fit_seconds"]) > 0 < float(rows["sisa"]["seconds"])
    assert rows["sisa"]["status"] == "ok" and not rows["retrain"]["fit_seconds"]
    logits = store.load_arrays(tmp_path / "evaluations" / "sisa" / "0.npz")
    assert logits["test_logits"].shape == (90, 3)


@pytest.mark.slow
def test_a_chain_is_one_method_after_the_other(tmp_path):
    run(tmp_path, run=("gradient_ascent+finetune",), seeds=1)
    config = small_config()
    problem, name = problem_of(config), "gradient_ascent+finetune"
    like = pipeline.template(problem)
    folder = tmp_path / "checkpoints"
    chained, _ = store.load_checkpoint(folder / name / "0" / "final", like)
    after, _ = store.load_checkpoint(folder / "original" / "0" / "final", like)
    keys = jax.random.split(pipeline.key_of(0, name))
    for part, key in zip(name.split("+"), keys, strict=True):
        seen = problems.withhold(problem, methods.METHODS[part].needs)
        constants = tuple(config.methods[part].items())
        fn = jax.jit(
            method_programs.method_function(methods.METHODS[part].fn, constants)
        )
        after, _ = fn(key, after, seen)
    assert_equal(chained, jax.tree.map(np.asarray, after))
    with pytest.raises(InputError, match="run them alone"):
        run(tmp_path / "other", run=("sisa+finetune",))


@pytest.mark.slow
def test_rewinding_starts_on_the_way_of_the_originals_training(tmp_path):
    config = small_config()
    constants = dict(epoch=2, epochs=1, batch_size=16, learning_rate=0.05)
    own = {f"methods__rewind__{name}": value for name, value in constants.items()}
    run(tmp_path, run=("rewind",), seeds=1, **own)
    problem, recipe = problem_of(config), training.Recipe(**config.train)
    everything, key = np.arange(len(problem.labels)), pipeline.key_of(0, "original")
    early, _ = training.train(key, problem, everything, recipe, 2)
    expected, _ = methods.rewind(
        pipeline.key_of(0, "rewind"), {}, problem.replace(early={2: early}), **constants
    )
    folder, like = tmp_path / "checkpoints", pipeline.template(problem)
    found, _ = store.load_checkpoint(folder / "rewind" / "0" / "final", like)
    assert_close(found, expected)


def test_an_original_that_cannot_be_rewound(tmp_path):
    """Known before anything is loaded."""
    with pytest.raises(InputError, match="rewind.epoch must be from 1 to 2, .* is 99"):
        run(tmp_path, run=("rewind",), methods__rewind__epoch=99)
    with pytest.raises(InputError, match="was trained elsewhere: leave it out"):
        run(tmp_path, run=("rewind",), model__weights="there.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_method_sees_only_what_it_declares(tmp_path, monkeypatch):
    """In the pipeline too: what it is not told is not there."""
    seen = {}

    def look(name):
        def method(key, variables, problem, *, learning_rate=0.1):
            seen[name] = problem
            return jax.tree.map(lambda x: 0.9 * x, variables), {}

        return method

    for name, needs in (("one", ("forget",)), ("two", ("retain", "validation"))):
        info = methods.METHODS["finetune"]._replace(fn=look(name), needs=needs)
        monkeypatch.setitem(methods.METHODS, name, info)
    run(tmp_path / "x", seeds=1, run=("one", "two"))
    assert seen["one"].retain is None and seen["one"].validation is None
    assert seen["two"].forget is None and seen["two"].forget_classes is None
    assert seen["one"].labels.shape == (18,) and seen["two"].labels.shape == (162,)


def test_keys_differ_by_model_and_by_seed():
    keys = [
        tuple(jax.random.key_data(pipeline.key_of(seed, name)).tolist())
        for seed in (0, 1)
        for name in ("original", "retrain", "finetune", "ssd")
    ]
    assert len(set(keys)) == 8


@pytest.mark.slow
def test_two_names_of_one_method_draw_other_numbers(tmp_path, monkeypatch):
    info = methods.METHODS["finetune"]
    monkeypatch.setitem(methods.METHODS, "twin", info)
    run(tmp_path / "x", seeds=1, run=("finetune", "twin"))
    paths = [tmp_path / "x" / "evaluations" / n / "0.npz" for n in ("finetune", "twin")]
    first, other = (store.load_arrays(path)["train_logits"] for path in paths)
    assert not np.allclose(first, other)


@pytest.mark.slow
def test_the_accuracy_while_training_is_of_what_it_says(finished, tmp_path):
    progress = finished[1].run.progress
    assert any("validation accuracy" in line for line in progress.lines)
    progress, classes = Silent(), dict(forget__kind="class", forget__classes=(1,))
    done = run(tmp_path / "b", progress=progress, seeds=1, run=(), **classes)
    assert any("(retained classes) accuracy" in line for line in progress.lines)
    held_out = done.run.problem.validation
    stays = np.asarray(held_out.labels) != 1
    logits = done.run.evaluation("retrain", 0)["validation_logits"]
    right = (logits.argmax(-1) == np.asarray(held_out.labels))[stays].mean()
    assert 0 < stays.sum() < len(stays)
    assert done.rows[1]["validation_accuracy"] == pytest.approx(right)
    assert done.run.log.lines[-1]["accuracy"] == pytest.approx(right)
    progress = Silent()
    run(tmp_path / "c", progress=progress, seeds=1, run=(), data__validation=0.0)
    assert any("training accuracy" in line for line in progress.lines)


def test_the_pipeline_retrains_as_the_method_does(finished):
    """The resumable loop and the pure function give the same model."""
    folder, _ = finished
    config = small_config()
    problem = problem_of(config)
    recipe = training.Recipe(**config.train)
    pure, _ = methods.METHODS["retrain"].fn(
        pipeline.key_of(0, "retrain"), None, problem, **recipe._asdict()
    )
    path = folder / "checkpoints" / "retrain" / "0" / "final"
    saved, _ = store.load_checkpoint(path, pipeline.template(problem))
    for a, b in zip(jax.tree.leaves(pure), jax.tree.leaves(saved), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_method_that_is_defined_again_is_compiled_again(tmp_path, monkeypatch):
    """As in a notebook: the name is the same, the function is not."""
    accuracies = []
    for number, factor in enumerate((1.0, 0.0)):

        def again(key, variables, problem, *, rate=0.1, factor=factor):
            return jax.tree.map(lambda x: factor * x, variables), {"loss": np.ones(3)}

        info = methods.METHODS["ssd"]._replace(name="again", fn=again)
        monkeypatch.setitem(methods.METHODS, "again", info)
        folder = tmp_path / str(number)
        rows = run(folder, seeds=1, run=("again",), train__epochs=6).rows
        accuracies.append(rows[-1]["retain_accuracy"])
    assert accuracies[0] > 0.8 > 0.5 > accuracies[1]


def load_user_file(path, text, monkeypatch):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("a_users_file", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "a_users_file", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_changed_file_of_a_method_is_another_config(tmp_path, monkeypatch):
    text = "def mine(key, variables, problem, *, rate=0.1): return variables, {}\n"
    for number, code in enumerate((text, text + "CHANGED = 1\n")):
        module = load_user_file(tmp_path / f"mine_{number}.py", code, monkeypatch)
        info = methods.METHODS["ssd"]._replace(name="mine", fn=module.mine)
        monkeypatch.setitem(methods.METHODS, "mine", info)
        if number == 0:
            run(tmp_path / "x", seeds=1, run=("mine",))
            run(tmp_path / "x", seeds=1, run=("mine",))
    with pytest.raises(InputError, match="another config .sources.mine"):
        run(tmp_path / "x", seeds=1, run=("mine",))


def test_a_mistake_in_a_users_method_is_one_line_with_its_place(tmp_path, monkeypatch):
    text = "def wrong(key, variables, problem, *, rate=0.1):\n"
    text += "    return problem.retain.x\n"
    module = load_user_file(tmp_path / "wrong.py", text, monkeypatch)
    info = methods.METHODS["ssd"]._replace(
        name="wrong", fn=module.wrong, needs=("forget",)
    )
    monkeypatch.setitem(methods.METHODS, "wrong", info)
    with pytest.raises(InputError, match="wrong.py, line 2.: AttributeError.*forget"):
        run(tmp_path / "x", seeds=1, run=("wrong",))


def variables_alone(key, variables, problem, *, rate=0.1):
    return variables


def no_info(key, variables, problem, *, rate=0.1):
    return variables, None


def other_shapes(key, variables, problem, *, rate=0.1):
    return jax.tree.map(lambda x: x[:1], variables), {}


def another_tree(key, variables, problem, *, rate=0.1):
    return {"params": {}}, {}


def as_they_came(key, variables, problem, *, rate=0.1):
    return variables, {"rate": rate}


@pytest.mark.parametrize(
    "fn, constants, words",
    [
        (
            as_they_came,
            {"lr": 0.1},
            "methods.mine.lr: mine has no such constant: .* rat",
        ),
        (variables_alone, {}, "method mine returns dict: it must return .variables, "),
        (no_info, {}, "method mine returns .dict, NoneType.: it must return"),
        (other_shapes, {}, r"mine returns params/.* of shape \[1.*\], and it was"),
        (another_tree, {}, "mine returns variables with other names in them"),
    ],
)
def test_what_a_method_returns_is_looked_at_before_training(
    tmp_path, monkeypatch, fn, constants, words
):
    info = methods.METHODS["finetune"]._replace(name="mine", fn=fn)
    monkeypatch.setitem(methods.METHODS, "mine", info)
    monkeypatch.setattr(stages, "train", None)
    config = small_config(seeds=1, run=("mine",))
    config.methods = {"mine": {"rate": 0.1, **constants}}
    with pytest.raises(InputError, match=words):
        pipeline.run(config, tmp_path / "run")
