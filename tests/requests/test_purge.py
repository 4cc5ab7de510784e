"""After a purge nothing that can be reached depends on erased examples."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from deployments import config, erase, quiet, said, write_digits

from unlearn import requests, store
from unlearn.errors import InputError
from unlearn.requests import ledger, matching, purging, states, strategies, weights
from unlearn.requests.calls import make_call
from unlearn.requests.deployment import open_deployment


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return folder, write_digits(folder, 100)


def traces(folder, erased):
    """What must be gone of each erased example, as bytes, by what it is.

    Pixels, and the logits and features of every version there is.
    """
    found = open_deployment(folder)
    loaded = matching.load(found, (), make_call(quiet()))
    place = {str(one): i for i, one in enumerate(found.examples.ids.tolist())}
    rows = np.array([place[one] for one in erased])
    train = found.examples.of(0)
    problem = loaded.problem(found.settings, train)
    made = strategies.make(found.settings, folder / "none", found.slices, quiet())
    marks = [("pixels", one.tobytes()) for one in loaded.rows[rows]]
    for version in sorted((folder / "states").glob("[0-9]*")):
        state = states.load(version, problem)
        logits = made.predict(state, problem, loaded.rows[rows])
        marks += [("logits", np.float32(one).tobytes()) for one in logits]
        if hasattr(state, "features"):
            features = np.asarray(state.features)[np.searchsorted(train, rows)]
            marks += [("features", f.tobytes()) for f in features if f.any()]
    return marks


def scan(marks, *folders):
    """Names the kinds of traces that are in any file."""
    data = [p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file()]
    return {kind for kind, mark in marks if any(mark in one for one in data)}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["certified", "sisa", "finetune"])
def test_no_file_left_has_pixels_logits_or_features(
    pictures, tmp_path, monkeypatch, method
):
    cache, data, folder = (tmp_path / name for name in ("cache", "data", "dep"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    shutil.copytree(pictures[0], data)
    made = config(data=f"folder:{data}", model__mlp__widths=(64,))
    requests.deploy(made, folder, method, progress=quiet())
    with np.load(folder / "examples.npz") as file:
        ids = file["ids"][file["split"] == 0].tolist()
    erased = ids[10:13]
    marks = traces(folder, erased)
    erase(folder, erased)
    marks += traces(folder, erased)
    found = scan(marks, folder, cache)
    assert "pixels" in found  # the scan sees what the cache has
    assert ("features" in found) == (method == "certified")
    for name in erased:
        (data / name).unlink()
    lines = said(requests.purge, folder)
    assert not scan(marks, folder, cache, data)
    assert not any("still there" in line for line in lines)
    assert not (folder / "weights" / "0000.safetensors").exists()
    assert [path.name for path in (folder / "states").glob("[0-9]*")] == ["0001"]
    requests.verify(folder, progress=quiet())
    erase(folder, ids[20:22])
    requests.verify(folder, progress=quiet())
    assert not scan(marks, folder, cache, data)


@pytest.mark.slow
def test_what_cannot_be_reached_is_listed(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, folder, copy = (tmp_path / name for name in ("data", "dep", "old.npz"))
    shutil.copytree(pictures[0], data)
    made = config(data=f"folder:{data}")
    requests.deploy(made, folder, "finetune", progress=quiet())
    requests.export(folder, copy, progress=quiet())
    with np.load(folder / "examples.npz") as file:
        one = file["ids"][file["split"] == 0].tolist()[0]
    erase(folder, [one])
    lines = said(requests.purge, folder)
    for what in (f"{one} is still there", str(copy), "weights in use", "backups"):
        assert any(what in line for line in lines), (what, lines)
    assert not list((tmp_path / "cache").rglob("*.npz"))
    assert said(requests.purge, folder)[0] == "Nothing is left to delete."
    assert not list((tmp_path / "cache").rglob("*.npz"))
    (line,) = [x for x in open_deployment(folder).lines() if x["kind"] == "purge"]
    assert line["deleted"] >= 2


def test_sisa_keeps_the_slices_that_are_in_use(deployed, tmp_path):
    from deployments import copy

    folder = copy(deployed("sisa"), tmp_path / "dep")
    erase(folder, [3])
    requests.purge(folder, progress=quiet())
    for shard in range(3):
        requests.verify(folder, shard, progress=quiet())


@pytest.mark.parametrize("place", ["../dep", "link"])
def test_the_state_in_use_stays_however_the_folder_is_named(
    fresh, tmp_path, monkeypatch, place
):
    folder, inside = fresh("sisa"), tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(folder)
    monkeypatch.chdir(inside)
    erase(place, [3])
    assert requests.purge(place, progress=quiet())["deleted"]
    requests.verify(place, progress=quiet())
    requests.verify(folder, progress=quiet())


def test_states_on_another_disk_are_purged_as_well(fresh, tmp_path):
    folder, other = fresh("sisa"), tmp_path / "other"
    os.rename(folder / "states", other)
    (folder / "states").symlink_to(other)
    erase(folder, [3])
    requests.purge(folder, progress=quiet())
    assert [path.name for path in other.glob("[0-9]*")] == ["0001"]
    requests.verify(folder, progress=quiet())


def test_nothing_is_purged_where_the_version_in_use_is_damaged(fresh):
    folder = fresh("certified")
    erase(folder, [3])
    path = folder / "states/0001/state.safetensors"
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(InputError, match=f"restore it first: {path} is damaged"):
        requests.purge(folder, progress=quiet())
    assert (folder / "states/0000").exists()
    assert not (folder / "begun.json").exists()
    path.write_bytes(kept)
    requests.purge(folder, progress=quiet())


def test_a_purge_that_would_delete_what_is_in_use_does_not(fresh):
    """As one that was begun by a version that got it wrong."""
    folder = fresh("certified")
    erase(folder, [3])
    wrong = [f"states/{version}/state.safetensors" for version in ("0000", "0001")]
    begun = {"kind": "purge", "number": 2, "received": "", "unreached": []}
    store.write_json(folder / "begun.json", begun | {"deleted": wrong})
    requests.purge(folder, progress=quiet())
    assert not (folder / wrong[0]).exists() and (folder / wrong[1]).exists()
    requests.verify(folder, progress=quiet())


def test_a_file_that_cannot_be_deleted_is_named(fresh, monkeypatch):
    folder, real = fresh("certified"), Path.unlink
    erase(folder, [3])

    def unlink(self, missing_ok=False):
        if self.name == "0000.safetensors":
            raise PermissionError(13, "Permission denied", str(self))
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(InputError, match=r"cannot delete .*0000\.safetensors \(.*"):
        requests.purge(folder, progress=quiet())
    monkeypatch.undo()
    requests.purge(folder, progress=quiet())
    requests.verify(folder, progress=quiet())


def test_the_cached_images_of_a_table_go(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = write_digits(tmp_path / "data", 60)
    rows = [f"{name},{name[0]}" for name in names]
    table = tmp_path / "data" / "train.csv"
    table.write_text("\n".join(["file,label", *rows]))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "dep"
    requests.deploy(
        config("table:data/train.csv"), folder, "certified", progress=quiet()
    )
    assert open_deployment(folder).settings["data"]["name"] == f"table:{table}"
    monkeypatch.chdir("/")
    erase(folder, [names[0]])
    assert list((tmp_path / "cache").rglob("*.npz"))
    lines = said(requests.purge, folder)
    assert not list((tmp_path / "cache").rglob("*.npz"))
    assert not any("public data set" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "told"), [("digits", 0), ("synthetic:4x4x1", 0), ("no_such_set", 1)]
)
def test_public_sets_are_those_of_tensorflow_datasets(fresh, monkeypatch, name, told):
    found = open_deployment(fresh("certified"))
    found.settings["data"]["name"] = name
    monkeypatch.setattr(purging, "still_in_data", lambda *_: "")
    lines = purging.unreached(found, found.lines(), make_call(quiet()))
    assert sum("public data set" in line for line in lines) == told


@pytest.mark.parametrize("failing", [".json", ".jsonl", ".npz"])
def test_an_export_that_fails_gives_nothing_away(fresh, tmp_path, monkeypatch, failing):
    folder, to = fresh("certified"), tmp_path / "w.npz"

    def fail(path, *_):
        raise store.cannot_write(path, OSError(28, "No space left on device"))

    with monkeypatch.context() as patch:
        if failing == ".npz":
            patch.setattr(weights, "save", fail)
        elif failing == ".json":
            patch.setattr(
                store, "write_text", only_for("w.json", store.write_text, fail)
            )
        else:
            patch.setattr(ledger, "append", fail)
        with pytest.raises(InputError, match="cannot write"):
            requests.export(folder, to, progress=quiet())
    assert not to.exists() and not to.with_suffix(".json").exists()
    assert not (folder / "begun.json").exists()
    requests.export(folder, to, progress=quiet())
    assert to.exists() and to.with_suffix(".json").exists()


def only_for(name, work, instead):
    """A function that does `instead` where it is given a file of that name."""
    return lambda path, *rest: (instead if path.name == name else work)(path, *rest)


def test_exports_stay_out_of_the_deployment(deployed, tmp_path):
    from deployments import copy

    folder = copy(deployed("finetune"), tmp_path / "dep")
    (tmp_path / "link").symlink_to(folder)
    before = sorted(folder.rglob("*"))
    for place in (folder, folder / "weights", tmp_path / "link", folder / "states/.."):
        with pytest.raises(InputError, match="choose a place outside") as caught:
            requests.export(folder, place / "w.npz", progress=quiet())
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="choose a place outside"):
        requests.export(tmp_path / "link", folder / "w.npz", progress=quiet())
    assert {p for p in folder.rglob("*") if p.name != ".lock"} == set(before)
    requests.verify(folder, progress=quiet())


def test_exports_that_are_gone_are_not_listed(deployed, tmp_path, monkeypatch):
    from deployments import copy

    from unlearn.requests import exporting

    folder = copy(deployed("finetune"), tmp_path / "dep")
    there, gone, inside = (
        tmp_path / "a.npz",
        tmp_path / "b.npz",
        folder / "weights/c.npz",
    )
    for place in (there, gone):
        requests.export(folder, place, progress=quiet())
    monkeypatch.setattr(exporting, "check_place", lambda to, folder: None)  # as it was
    requests.export(folder, inside, progress=quiet())
    gone.unlink()
    erase(folder, [3])
    listed = [x for x in said(requests.purge, folder) if "an export of" in x]
    assert len(listed) == 1 and str(there) in listed[0]
    assert there.exists() and not inside.exists()


def test_exports_never_replace_a_file_and_are_recorded(deployed, tmp_path):
    from deployments import copy

    folder, to = copy(deployed("sisa"), tmp_path / "dep"), tmp_path / "w.npz"
    line = requests.export(folder, to, progress=quiet())
    assert line["kind"] == "export" and line["to"] == str(to)
    with np.load(to) as file:
        assert {name.split(".")[0].split("/")[0] for name in file.files} == {
            f"shard_{s}" for s in range(3)
        }
    with pytest.raises(InputError, match="is there already"):
        requests.export(folder, to, progress=quiet())
    requests.verify(folder, progress=quiet())
