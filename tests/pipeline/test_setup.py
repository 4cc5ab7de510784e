"""What a run says and writes down of whose data it forgets."""

import json

import numpy as np
import pytest
from small_runs import Silent, run, small_config

from unlearn import data, pipeline, store
from unlearn.errors import InputError

QUICK = {"run": (), "seeds": 1, "train__epochs": 1}


def user_file(folder, names=("cat", "dog", "owl"), test_labels=(0, 1, 2), **more):
    """An npz file of 90 examples with names of their own; 3 and 50 are alike."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 6, 6, 1), np.uint8)
    images[50] = images[3]
    labels = np.arange(90) % len(names)
    labels[50] = labels[3]
    path = folder / "mine.npz"
    arrays = {"train_images": images, "train_labels": labels, "class_names": names}
    if test_labels:
        test = np.resize(test_labels, 30)
        arrays |= {"test_images": images[:30] // 2 + 1, "test_labels": test}
    np.savez(path, **arrays, **more)
    return f"npz:{path}"


def prepared(config, folder):
    progress = Silent()
    return pipeline.prepare(config, folder, ("ssd",), progress=progress), progress.lines


def test_the_sets_are_written_by_the_users_ids(tmp_path):
    """Of a set without a test split, where rows of the data are not the user's."""
    name = user_file(tmp_path, test_labels=())
    dataset = data.load(name)
    wanted = [int(one) for one in dataset.train_ids[[20, 5]]]
    config = small_config(
        data__name=name, forget__kind="ids", forget__ids=tuple(wanted), **QUICK
    )
    built, lines = prepared(config, tmp_path / "run")
    there = store.load_arrays(tmp_path / "run" / "split.npz")
    assert there["forget_ids"].tolist() == sorted(wanted)
    names = "forget_ids", "retain_ids", "validation_ids", "test_ids"
    everyone = np.concatenate([there[name] for name in names])
    assert sorted(everyone) == list(range(90))
    for part in ("forget", "retain", "validation"):
        ids = dataset.train_ids[there[part]]
        np.testing.assert_array_equal(there[f"{part}_ids"], ids)
    assert f"Forgetting 2 examples: {min(wanted)}, {max(wanted)}" in lines
    images = np.asarray(built.problem.examples)[np.asarray(built.problem.forget)]
    with np.load(tmp_path / "mine.npz") as file:
        np.testing.assert_array_equal(images, file["train_images"][sorted(wanted)])


def test_what_is_not_trained_on_is_named_before_anything_is_made(tmp_path):
    name = user_file(tmp_path, test_labels=())
    gone = int(data.load(name).test_ids[0])
    config = small_config(
        data__name=name, forget__kind="ids", forget__ids=(gone, 4000), **QUICK
    )
    with pytest.raises(InputError, match=f"4000.*test split, 1 of 2.*: {gone} "):
        prepared(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_copies_are_in_the_manifest_and_in_the_summary(tmp_path):
    name = user_file(tmp_path)
    config = small_config(
        data__name=name,
        forget__kind="ids",
        forget__ids=(3,),
        forget__copies=False,
        **QUICK,
    )
    pipeline.run(config, tmp_path / "run", progress=Silent())
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    expected = {"retain": 1, "validation": 0, "test": 0}
    assert manifest["forget"]["copies"] == expected
    line = "1 forgotten example has an exact copy that is still trained on."
    assert line in (tmp_path / "run" / "summary.md").read_text()


def test_notes_of_the_data_set_are_said(tmp_path, monkeypatch):
    load = data.load
    monkeypatch.setattr(
        data,
        "load",
        lambda *a, **k: load(*a, **k)._replace(notes=("2 files\nskipped",)),
    )
    _, lines = prepared(small_config(**QUICK), tmp_path / "run")
    assert lines[0] == "2 files skipped"


def test_a_class_by_its_name(tmp_path):
    config = small_config(
        data__name=user_file(tmp_path),
        forget__kind="class",
        forget__classes=("owl",),
        **QUICK,
    )
    built, lines = prepared(config, tmp_path / "run")
    assert built.sets.forget_classes == (2,)
    assert any("of class 2 ('owl')" in line for line in lines)
    config.forget.classes = ("Owl",)
    with pytest.raises(InputError, match="did you mean 'owl'"):
        prepared(config, tmp_path / "other")


def test_a_test_set_of_forgotten_classes_only_is_refused(tmp_path):
    config = small_config(
        data__name=user_file(tmp_path, test_labels=(2,)),
        forget__kind="class",
        forget__classes=(2,),
        **QUICK,
    )
    with pytest.raises(InputError, match="test set has forgotten classes only"):
        prepared(config, tmp_path / "run")


@pytest.mark.parametrize(
    "name, option", [("finetune", "early_stopping"), ("scrub", "rewind")]
)
def test_a_validation_set_of_forgotten_classes_only_is_refused(tmp_path, name, option):
    """Where it would decide; a run that does not look at it goes on."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [190, 5, 5])  # validation is of class 0
    images = rng.integers(0, 256, (200, 6, 6, 1), np.uint8)
    path = tmp_path / "a.npz"
    np.savez(
        path,
        train_images=images,
        train_labels=labels,
        test_images=images[:30],
        test_labels=np.arange(30) % 3,
    )
    config = small_config(
        data__name=f"npz:{path}",
        data__validation=0.02,
        forget__kind="class",
        forget__classes=(0,),
        train__batch_size=4,
    )
    config.methods[name][option] = True
    with pytest.raises(InputError, match=f"{name} needs .* for {option}"):
        pipeline.prepare(config, tmp_path / "run", (name,), progress=Silent())
    config.methods[name][option] = False
    assert pipeline.prepare(config, tmp_path / "run", (name,), progress=Silent())


@pytest.mark.slow
def test_a_run_continues_with_the_same_sets(tmp_path):
    run(tmp_path / "x", **QUICK)
    before = (tmp_path / "x" / "split.npz").read_bytes()
    run(tmp_path / "x", **QUICK)
    assert (tmp_path / "x" / "split.npz").read_bytes() == before
