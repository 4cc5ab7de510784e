"""Runs from data to report on made-up data, and everything that can go wrong."""

import csv
import json

import jax
import numpy as np
import pytest
from trees import assert_equal

from unlearn import data, methods, models, pipeline, store, training
from unlearn import problem as problems
from unlearn.errors import InputError
from unlearn.pipeline import default_config
from unlearn.report.progress import Progress

FIXED = "model seed forget_accuracy retain_accuracy test_accuracy mia_confidence "
FIXED += "mia_regression mia_auc mia_tpr_at_1fpr seconds compile_seconds"


def small_config(**changes):
    config = default_config()
    config.data.name = "synthetic:6x6x1,classes=3,train=200,test=90"
    config.model.name = "mlp"
    config.model.mlp.widths = (16,)
    config.train.epochs = 2
    config.train.batch_size = 32
    config.run = ("finetune", "ssd")
    config.methods.finetune.epochs = 1
    config.seeds = 2
    with config.unlocked():
        for name, value in changes.items():
            *path, last = name.split("__")
            node = config
            for part in path:
                node = node[part]
            node[last] = value
    return config


def problem_of(config):
    """The problem that a run with this config has."""
    dataset = data.load(config.data.name)
    model = models.create("mlp", 3, **config.model.mlp)
    parts = pipeline.split(dataset.train_labels, 3, config)
    return pipeline.make_problem(dataset, parts, model, config)


class Silent(Progress):
    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def tick(self, text):
        self.lines.append(text)


def run(folder, **changes):
    return pipeline.run(small_config(**changes), folder, progress=Silent())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    return folder, run(folder)


def results(folder):
    with open(folder / "results.csv") as file:
        return list(csv.DictReader(file))


def test_the_run_folder(finished):
    folder, summary = finished
    rows = results(folder)
    assert list(rows[0])[: len(FIXED.split())] == FIXED.split()
    assert {(r["model"], r["seed"]) for r in rows} == {
        (m, s) for m in ("original", "retrain", "finetune", "ssd") for s in ("0", "1")
    }
    assert [r["model"] for r in summary[:2]] == ["original", "retrain"]
    for name in ("config.json", "manifest.json", "summary.csv", "summary.md"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "figures").glob("*.png"))) >= 5
    log = [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
    trained = [x for x in log if x["stage"] == "retrain"]
    places = [(x["seed"], x["epoch"]) for x in trained]
    assert places == [(0, 1), (0, 2), (1, 1), (1, 2)]
    fields = {"stage", "seed", "epoch", "loss", "accuracy", "seconds"}
    assert fields <= trained[0].keys()
    assert not list(folder.rglob("*.partial")) and not list(folder.rglob("epoch_*"))


def test_the_split_is_a_partition_and_its_hash_is_in_the_manifest(finished):
    folder, _ = finished
    parts = store.load_arrays(folder / "split.npz")
    union = np.concatenate([parts[k] for k in ("forget", "retain", "validation")])
    assert sorted(union) == list(range(200))
    manifest = json.loads((folder / "manifest.json").read_text())
    expected = store.array_hash(parts["forget"].astype(np.int64))
    assert manifest["forget"]["sha256"] == expected
    assert len(manifest["data"]["sha256"]) == 64


def test_measured_on_the_checkpoints_that_were_saved(finished):
    """Accuracy of the stored weights, computed anew, is what the table says."""
    folder, _ = finished
    config = small_config()
    problem = problem_of(config)
    like = pipeline.template(problem)
    for row in results(folder):
        path = folder / "checkpoints" / row["model"] / row["seed"] / "final"
        variables, _ = store.load_checkpoint(path, like)
        logits, _ = problem.model.apply(variables, problem.inputs(problem.forget))
        hits = np.argmax(logits, -1) == np.asarray(problem.labels[problem.forget])
        assert float(row["forget_accuracy"]) == pytest.approx(hits.mean())


def test_running_again_changes_nothing(finished):
    folder, _ = finished
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".png"]
    before = {p: p.read_bytes() for p in files}
    run(folder)
    assert {p: p.read_bytes() for p in files} == before


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


class Stop(BaseException):
    pass


def test_stopped_anywhere_it_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch):
    """An exception at the n-th write of a file, for many n, then the same command."""
    folder, _ = finished
    monkeypatch.setattr(pipeline, "CHECKPOINT_SECONDS", -1.0)
    again, write = tmp_path / "small", store.write_bytes
    stops = 0
    for allowed in range(0, 200, 3):
        left = allowed

        def write_or_stop(path, data):
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            write(path, data)

        monkeypatch.setattr(store, "write_bytes", write_or_stop)
        try:
            run(again)
            break
        except Stop:
            stops += 1
    assert stops >= 6
    drop = ("seconds", "compile_seconds")
    for a, b in zip(results(folder), results(again), strict=True):
        assert {k: v for k, v in a.items() if k not in drop} == {
            k: v for k, v in b.items() if k not in drop
        }
    sums = sorted(p.relative_to(folder) for p in folder.rglob("checksum.json"))
    assert sums == sorted(p.relative_to(again) for p in again.rglob("checksum.json"))
    for name in sums:
        assert (folder / name).read_bytes() == (again / name).read_bytes()
    lines = store.Log(again / "log.jsonl").lines
    epochs = [(x["stage"], x["seed"], x["epoch"]) for x in lines]
    assert len(epochs) == len(set(epochs))


def test_a_diverged_method_is_reported_and_the_others_go_on(tmp_path):
    with pytest.raises(pipeline.Diverged, match="finetune .seed 0.") as caught:
        run(
            tmp_path / "x",
            seeds=1,
            methods__finetune__learning_rate=1e30,
            methods__finetune__epochs=6,
        )
    assert "\n" not in str(caught.value)
    rows = {r["model"]: r for r in results(tmp_path / "x")}
    assert rows["finetune"]["status"] == "diverged"
    assert rows["ssd"]["status"] == "ok" and float(rows["ssd"]["test_accuracy"]) > 0
    assert (tmp_path / "x" / "summary.md").exists()


def test_a_diverged_training_stops_with_a_line(tmp_path):
    with pytest.raises(pipeline.Diverged, match="learning_rate"):
        run(tmp_path / "x", train__learning_rate=1e30)


def test_what_was_finished_before_a_diverged_training_is_reported(
    tmp_path, monkeypatch
):
    train = pipeline.train

    def fail(this, name, seed):
        if (name, seed) == ("retrain", 1):
            raise pipeline.Diverged("retrain (seed 1) diverged")
        return train(this, name, seed)

    monkeypatch.setattr(pipeline, "train", fail)
    with pytest.raises(pipeline.Diverged, match="seed 1"):
        run(tmp_path / "x", run=("ssd",))
    summary = (tmp_path / "x" / "summary.md").read_text()
    assert "ssd" in summary and len(results(tmp_path / "x")) == 3


def test_class_forgetting_and_one_seed(tmp_path):
    run(
        tmp_path / "x",
        seeds=1,
        forget__kind="class",
        forget__classes=(1,),
        train__epochs=8,
    )
    row = {r["model"]: r for r in results(tmp_path / "x")}["retrain"]
    assert float(row["forget_accuracy"]) == float(row["test_forget_accuracy"]) == 0
    assert float(row["test_accuracy"]) > 0.5


def test_given_indices_are_forgotten_and_never_held_out(tmp_path):
    wanted = [3, 50, 199, 7]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, wanted)))
    for i, changes in enumerate(
        (
            {"forget__indices": tuple(wanted)},
            {"forget__file": str(tmp_path / "ids.txt")},
        )
    ):
        config = small_config(forget__kind="indices", data__validation=0.5, **changes)
        labels = np.arange(200) % 3
        parts = pipeline.split(labels, 3, config)
        assert sorted(parts.train[parts.forget]) == sorted(wanted), i
        assert not set(wanted) & set(parts.validation)


def test_part_of_the_training_split():
    """`data.examples`: the forget set is always among them, validation never."""
    labels = np.arange(200) % 3
    config = small_config(forget__kind="indices", forget__indices=(5, 9, 100))
    whole = pipeline.split(labels, 3, config)
    config.data.examples = 50
    parts = pipeline.split(labels, 3, config)
    assert len(np.unique(parts.train)) == 50
    assert {5, 9, 100} <= set(parts.train)
    assert parts.train[parts.forget].tolist() == [5, 9, 100]
    np.testing.assert_array_equal(parts.validation, whole.validation)
    assert not np.intersect1d(parts.train, parts.validation).size
    for count in (3, 1000):
        config.data.examples = count
        with pytest.raises(InputError, match="data.examples must lie in 4.."):
            pipeline.split(labels, 3, config)


def test_validation_takes_whole_groups():
    labels = np.arange(200) % 3
    groups = np.random.default_rng(0).integers(0, 60, 200)
    config = small_config(
        forget__kind="indices", forget__indices=(0, 1), data__validation=0.3
    )
    parts = pipeline.split(labels, 3, config, groups)
    held_out = groups[parts.validation]
    assert not set(held_out) & set(groups[parts.train])
    assert not set(held_out) & set(groups[[0, 1]])
    assert 60 - max(np.bincount(groups)) <= len(held_out) <= 60
    apart = pipeline.split(labels, 3, config)
    assert set(groups[apart.validation]) & set(groups[apart.train])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"forget__fraction": 0.0}, "empty"),
        ({"forget__fraction": 1.0}, r"\(0, 1\)"),
        ({"forget__fraction": -0.5}, r"\(0, 1\)"),
        ({"forget__count": -3}, "negative"),
        ({"forget__count": 5000}, "it would have 5000"),
        ({"forget__kind": "some"}, "unknown forget.kind"),
        ({"forget__kind": "class"}, "needs classes"),
        ({"forget__kind": "class", "forget__classes": (3,)}, "no class 3"),
        ({"forget__kind": "indices"}, "empty"),
        ({"forget__kind": "indices", "forget__indices": (1, 1)}, "repeated"),
        ({"forget__kind": "indices", "forget__indices": (200,)}, "0..199"),
        (
            {"forget__kind": "indices", "forget__indices": tuple(range(200))},
            "nothing to retain",
        ),
        (
            {"forget__kind": "indices", "forget__indices": tuple(range(190))},
            "nothing to retain",
        ),
        ({"forget__kind": "indices", "forget__file": "/no/such"}, "cannot read"),
        ({"data__validation": 1.0}, "data.validation"),
        ({"data__name": "no_such_data"}, "no_such_data"),
        ({"model__name": "vgg"}, "vgg"),
        ({"run": ("finetun",)}, "unknown method"),
        ({"train__batch_size": 500}, "train.batch_size"),
        ({"train__epochs": 0}, "train.epochs"),
        ({"train__schedule": "linear"}, "train.schedule"),
        ({"seeds": 0}, "--seeds"),
        ({"forget__file": "ids.txt"}, "add --config.forget.kind=indices"),
        ({"forget__classes": (1,)}, "add --config.forget.kind=class"),
        ({"forget__kind": "class", "forget__classes": ("a",)}, "must be numbers"),
        ({"attack_examples": -1}, "attack_examples"),
        ({"methods__finetune__epochs": 0}, "methods.finetune.epochs"),
        ({"methods__finetune__decay": "linear"}, "methods.finetune.decay"),
        ({"methods__finetune__batch_size": 0}, "methods.finetune.batch_size"),
        ({"methods__ssd__group": 0}, "methods.ssd.group"),
        ({"run": ("scrub",), "methods__scrub__optimizer": "lion"}, "scrub.optimizer"),
        ({"run": ("scrub",), "methods__scrub__max_epochs": -1}, "scrub.max_epochs"),
        (
            {"run": ("scrub",), "data__validation": 0.0, "train__batch_size": 16},
            "needs a validation set for rewind",
        ),
        ({"model__mlp__widths": (0,)}, "widths"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path / "x", **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())  # the corrected command can use the folder


def test_another_config_in_the_same_folder_is_refused(finished):
    folder, _ = finished
    before = (folder / "results.csv").read_bytes()
    with pytest.raises(InputError, match="train.epochs: 2 there, 3 now"):
        run(folder, train__epochs=3)
    assert (folder / "results.csv").read_bytes() == before


def test_another_forget_set_in_the_same_file_is_refused(tmp_path):
    """The config names a file; what it holds is in the manifest."""
    ids = tmp_path / "ids.txt"
    ids.write_text("1 2 3")
    changes = {"forget__kind": "indices", "forget__file": str(ids), "run": ()}
    run(tmp_path / "x", seeds=1, **changes)
    before = (tmp_path / "x" / "split.npz").read_bytes()
    ids.write_text("1 2 4")
    with pytest.raises(InputError, match="forget set is not the one"):
        run(tmp_path / "x", seeds=1, **changes)
    assert (tmp_path / "x" / "split.npz").read_bytes() == before


def test_a_deleted_evaluation_is_computed_anew(tmp_path):
    run(tmp_path / "x", seeds=1, run=("finetune",))
    before = results(tmp_path / "x")
    path = tmp_path / "x" / "evaluations" / "finetune" / "0.npz"
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(InputError, match="0.npz is damaged"):
        store.load_arrays(path)
    path.unlink()
    run(tmp_path / "x", seeds=1, run=("finetune",))
    assert path.exists() and results(tmp_path / "x") == before


def test_methods_are_run_once_and_retrain_is_always_there(tmp_path):
    run(tmp_path / "x", seeds=1, run=("ssd", "retrain", "ssd"))
    models = [r["model"] for r in results(tmp_path / "x")]
    assert models == ["original", "retrain", "ssd"]


def test_remains_of_killed_saves_are_cleared(tmp_path):
    run(tmp_path / "x", seeds=1, run=())
    seed = tmp_path / "x" / "checkpoints" / "original" / "0"
    for name in ("epoch_0001", ".epoch_0001.partial"):
        (seed / name).mkdir()
    (tmp_path / "x" / "results.csv").unlink()
    run(tmp_path / "x", seeds=1, run=())
    assert [p.name for p in seed.iterdir()] == ["final"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(tmp_path / "x", seeds=1)
    path = tmp_path / "x" / "checkpoints" / "original" / "0" / "final"
    (path / "checksum.json").write_text('{"sha256": "0"}')
    (tmp_path / "x" / "results.csv").unlink()
    with pytest.raises(InputError, match="original/0/final is damaged"):
        run(tmp_path / "x", seeds=1)


def test_a_method_for_classes_is_refused_in_random_forgetting(tmp_path):
    with pytest.raises(InputError, match="whole classes only"):
        run(tmp_path, run=("unsir",))
    assert "unsir" not in default_config().run


def test_retain_examples_cuts_the_retain_set(finished):
    """So many steps as the sample has batches, and other samples for other keys."""
    problem = problem_of(small_config())
    variables = problem.model.init(jax.random.key(0), problem.inputs(np.arange(1)))
    constants = dict(epochs=1, batch_size=16, retain_examples=40)
    after, info = pipeline.run_method(
        "finetune", jax.random.key(0), variables, problem, **constants
    )
    assert info["loss"].shape == (1, 3)
    drawn = [
        np.asarray(problems.sample_retain(jax.random.key(s), problem, 40).retain)
        for s in (0, 1)
    ]
    assert len(np.unique(drawn[0])) == 40 and not np.array_equal(*map(np.sort, drawn))
    assert np.isin(drawn[0], problem.retain).all()


def test_exact_methods_have_rows_with_what_they_cost(tmp_path):
    """Trained on everything, then asked; they and the others are one table."""
    config = dict(run=("sisa",), seeds=1, methods__sisa__epochs=4)
    run(tmp_path, **config, methods__sisa__slices=2, methods__sisa__shards=2)
    rows = {row["model"]: row for row in results(tmp_path)}
    assert float(rows["sisa"]["fit_seconds"]) > 0 < float(rows["sisa"]["seconds"])
    assert rows["sisa"]["status"] == "ok" and not rows["retrain"]["fit_seconds"]
    logits = store.load_arrays(tmp_path / "evaluations" / "sisa" / "0.npz")
    assert logits["test_logits"].shape == (90, 3)


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
        fn = jax.jit(pipeline.method_function(part, constants))
        after, _ = fn(key, after, seen)
    assert_equal(chained, jax.tree.map(np.asarray, after))
    with pytest.raises(InputError, match="run them alone"):
        run(tmp_path / "other", run=("sisa+finetune",))
