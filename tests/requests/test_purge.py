"""After a purge nothing that can be reached depends on erased examples."""

import shutil

import numpy as np
import pytest
from deployments import config, erase, quiet, said, write_digits

from unlearn import requests
from unlearn.requests import matching, states, strategies
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


def test_exports_stay_out_of_the_deployment(deployed, tmp_path):
    from deployments import copy

    from unlearn.errors import InputError

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

    from unlearn.errors import InputError

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
