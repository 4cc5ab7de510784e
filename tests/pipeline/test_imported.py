"""Runs with models from files: the original, the reference, or no reference."""

import json
import math
import shutil

import jax
import numpy as np
import pytest
from small_runs import Silent, problem_of, results, run, small_config
from trees import assert_equal

from unlearn import models, pipeline, store
from unlearn.errors import InputError
from unlearn.pipeline import class_sweep, tune


def variables_in(folder, model, seed):
    like = pipeline.template(problem_of(small_config()))
    path = folder / "checkpoints" / model / str(seed) / "final"
    return store.load_checkpoint(path, like)[0]


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """Files of the original and of both retrained models of a finished run."""
    folder, files = finished[0], tmp_path_factory.mktemp("weights")
    models.save_weights(files / "original.npz", variables_in(folder, "original", 0))
    for seed in (0, 1):
        path = files / f"retrain_{seed}.safetensors"
        models.save_weights(path, variables_in(folder, "retrain", seed))
    return files


@pytest.fixture(scope="module")
def imported(exported, tmp_path_factory):
    """A run whose original is a file."""
    folder, progress = tmp_path_factory.mktemp("runs") / "imported", Silent()
    file = str(exported / "original.npz")
    return folder, run(folder, progress, model__weights=file), progress


@pytest.mark.slow
def test_the_original_of_every_seed_is_the_file(imported, finished):
    folder, result, progress = imported
    original = variables_in(finished[0], "original", 0)
    for seed in (0, 1):
        assert_equal(variables_in(folder, "original", seed), original)
    rows = [row for row in results(folder) if row["model"] == "original"]
    assert [row["status"] for row in rows] == ["imported"] * 2
    assert all(math.isnan(float(row["seconds"])) for row in rows)
    assert rows[0]["forget_accuracy"] == results(finished[0])[0]["forget_accuracy"]
    trained = {json.loads(x)["stage"] for x in (folder / "log.jsonl").open()}
    assert "original" not in trained and "retrain" in trained
    text = (folder / "summary.md").read_text()
    assert "> The original of all 2 seeds is" in text
    assert "| original (imported) |" in text
    line = next(x for x in text.splitlines() if x.startswith("| original"))
    assert line.split("|")[-4].strip() == "–"  # its seconds
    assert any("not trained here" in line for line in progress.lines)
    assert any(line.endswith("  imported") for line in progress.lines)


@pytest.mark.slow
def test_methods_start_from_it(imported, finished):
    """Of the first seed, whose original is the same: the same bits as there."""
    for name in ("finetune", "ssd", "retrain"):
        assert_equal(
            variables_in(imported[0], name, 0), variables_in(finished[0], name, 0)
        )


@pytest.mark.slow
def test_the_same_command_continues_and_another_file_is_refused(imported, exported):
    folder, file = imported[0], exported / "original.npz"
    before = (folder / "results.csv").read_bytes()
    run(folder, model__weights=str(file))
    assert (folder / "results.csv").read_bytes() == before
    saved = json.loads((folder / "config.json").read_text())
    assert saved["sources"][str(file)] == models.weights_hash(file)
    kept = file.read_bytes()
    other = jax.tree.map(
        lambda x: x + 1, models.load_weights(file, pipeline.template(problem()))
    )
    models.save_weights(file, other)
    try:
        with pytest.raises(InputError, match="holds a run with another config"):
            run(folder, model__weights=str(file))
    finally:
        file.write_bytes(kept)


def problem():
    return problem_of(small_config())


@pytest.mark.slow
def test_references_from_files(exported, finished, tmp_path):
    files = ",".join(str(exported / f"retrain_{seed}.safetensors") for seed in (0, 1))
    result = run(tmp_path / "run", reference=files)
    assert_equal(
        variables_in(tmp_path / "run", "retrain", 1),
        variables_in(finished[0], "retrain", 1),
    )
    own = {row["model"]: row for row in finished[1].summary}
    for row in result.summary:
        assert row["avg_gap"] == own[row["model"]]["avg_gap"]
        assert math.isnan(row["speedup"])
    text = (tmp_path / "run" / "summary.md").read_text()
    assert "**retrain (imported)**" in text
    assert "never saw what is forgotten was not checked" in text


@pytest.mark.slow
def test_a_reference_that_is_another_model_of_the_run_is_refused(exported, tmp_path):
    files = [str(exported / f"retrain_{seed}.safetensors") for seed in (0, 1)]
    twice = ",".join([files[0], files[0]])
    original, like = str(exported / "original.npz"), pipeline.template(problem())
    other = str(exported / "other.msgpack")  # the same weights in another file
    models.save_weights(other, models.load_weights(original, like))
    for reference in (twice, f"{files[0]},{other}"):
        with pytest.raises(InputError, match="holds the same weights as"):
            run(tmp_path / "run", model__weights=original, reference=reference)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_imported_model_says_what_images_it_is_given(imported, exported, tmp_path):
    assert any("std 0.5: if it was trained on others" in x for x in imported[2].lines)
    progress = Silent()
    run(
        tmp_path / "run",
        progress,
        model__weights=str(exported / "original.npz"),
        data__mean=(0.25,),
        reference="none",
    )
    assert any("by mean 0.25, std 0.5: if" in line for line in progress.lines)


@pytest.mark.slow
def test_no_reference(finished, tmp_path):
    progress = Silent()
    result = run(tmp_path / "run", progress, reference="none")
    assert [row["model"] for row in result.rows[:3]] == ["original", "finetune", "ssd"]
    assert not (tmp_path / "run" / "checkpoints" / "retrain").exists()
    assert {row["verdict"] for row in result.summary} == {"no reference"}
    assert all(math.isnan(row["avg_gap"]) for row in result.summary)
    text = (tmp_path / "run" / "summary.md").read_text()
    assert "> No reference: " in text and "| *floor* |" not in text
    assert any(line.startswith("No reference: ") for line in progress.lines)
    figures = {path.name for path in (tmp_path / "run" / "figures").glob("*")}
    assert "accuracy.png" in figures and "gap_against_time.png" not in figures
    assert_equal(
        variables_in(tmp_path / "run", "ssd", 0), variables_in(finished[0], "ssd", 0)
    )


@pytest.mark.slow
def test_a_reference_far_below_the_original_is_a_warning(finished, tmp_path):
    for seed in (0, 1):
        weak = variables_in(finished[0], "retrain", seed)
        weak = jax.tree.map(lambda x: -x, weak)
        models.save_weights(tmp_path / f"{seed}.npz", weak)
    progress = Silent()
    files = f"{tmp_path / '0.npz'}, {tmp_path / '1.npz'}"
    result = run(tmp_path / "run", progress, reference=files)
    rows = {row["model"]: row for row in result.summary}
    assert rows["original"]["test_accuracy"] - rows["retrain"]["test_accuracy"] > 0.1
    assert rows["finetune"]["verdict"] == "weak reference"
    text = (tmp_path / "run" / "summary.md").read_text()
    assert "> Warning: the reference has " in text
    assert any(line.startswith("Warning: the reference") for line in progress.lines)


@pytest.mark.slow
def test_an_original_near_chance_is_a_warning(finished, tmp_path):
    blind = jax.tree.map(np.zeros_like, variables_in(finished[0], "original", 0))
    models.save_weights(tmp_path / "w.npz", blind)
    run(tmp_path / "run", model__weights=str(tmp_path / "w.npz"), seeds=1, run=("ssd",))
    text = (tmp_path / "run" / "summary.md").read_text()
    assert "near chance: are the order of the classes" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "npz", "msgpack"])
def test_export(finished, tmp_path, kind):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    run(folder, export=kind)  # of a run that was made without it
    like = pipeline.template(problem())
    for name in ("retrain", "finetune", "ssd"):
        for seed in (0, 1):
            path = folder / "export" / name / f"{seed}.{kind}"
            assert_equal(
                models.load_weights(path, like), variables_in(folder, name, seed)
            )
    assert not (folder / "export" / "original").exists()


@pytest.mark.slow
def test_export_says_what_it_leaves_out(tmp_path):
    progress = Silent()
    run(tmp_path / "run", progress, export="npz", seeds=1, run=("sisa",))
    assert any("sisa is not exported" in line for line in progress.lines)
    assert not (tmp_path / "run" / "export" / "sisa").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model__weights": "none.npz"}, "model.weights: there is no file none.npz"),
        ({"reference": "non"}, "no file non; it is retrain, none or files"),
        ({"reference": __file__}, "reference names 1 file and seeds is 2: give one"),
        ({"reference": "a,b"}, "no file a; it is retrain, none or files"),
        ({"reference": ""}, "reference is empty"),
        ({"export": "pt"}, "unknown export 'pt': choose from safetensors, npz, msgp"),
        ({"model__name": "resnet"}, "there is no model 'resnet': choose from mlp"),
        ({"model__name": "none.py:net"}, "there is no file .*none.py"),
    ],
)
def test_wrong_settings_are_refused_at_once(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path / "run", **changes)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_are_named_before_training(tmp_path, finished):
    variables = variables_in(finished[0], "original", 0)
    variables["params"]["Dense_0"].pop("bias")
    models.save_weights(tmp_path / "w.npz", variables)
    for changes in (
        {"model__weights": str(tmp_path / "w.npz")},
        {"reference": str(tmp_path / "w.npz"), "seeds": 1},
    ):
        with pytest.raises(InputError, match="missing: params.Dense_0.bias"):
            run(tmp_path / "run", **changes)
        assert not (tmp_path / "run" / "checkpoints").exists()


def test_what_needs_a_reference_says_so(tmp_path, exported):
    one = small_config(
        reference="none", forget__kind="class", forget__classes=(1,), data__validation=9
    )
    with pytest.raises(
        InputError, match="a sweep over classes compares with retrained"
    ):
        class_sweep.run(one, tmp_path / "sweep")
    with pytest.raises(
        InputError, match="tuning compares with retrained models: set ref"
    ):
        tune.run(one, tmp_path / "tuning")
    files = ",".join([str(exported / "original.npz")] * 2)
    with pytest.raises(InputError, match="for more than one request: set reference"):
        class_sweep.run(small_config(reference=files, forget__classes=(1,)), tmp_path)
    config = small_config(model__weights=str(exported / "original.npz"))
    with pytest.raises(InputError, match="an audit trains originals of its own"):
        pipeline.require_trained(config, "an audit")


NET = """
from unlearn.models import create


def net(num_classes):
    return create("mlp", num_classes, widths=(16,))
"""


@pytest.mark.slow
def test_a_net_from_a_file(tmp_path, finished):
    path = tmp_path / "net.py"
    path.write_text(NET)
    changes = {"model__name": f"{path}:net", "seeds": 1, "run": ("ssd",)}
    run(tmp_path / "run", **changes)
    assert_equal(
        variables_in(tmp_path / "run", "ssd", 0), variables_in(finished[0], "ssd", 0)
    )
    path.write_text(NET + "CHANGED = 1\n")
    with pytest.raises(InputError, match="holds a run with another config"):
        run(tmp_path / "run", **changes)
