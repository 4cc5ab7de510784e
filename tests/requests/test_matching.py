"""The user's data are those that were deployed, or the request is refused."""

import shutil

import numpy as np
import pytest
from deployments import config, erase, quiet, said, write_digits
from PIL import Image

from unlearn import requests
from unlearn.errors import InputError
from unlearn.requests import matching
from unlearn.requests.calls import make_call
from unlearn.requests.deployment import open_deployment


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return folder, write_digits(folder, 100)


@pytest.fixture
def case(pictures, tmp_path, monkeypatch):
    """A deployment of a copy of the pictures: `(folder, pictures, names)`."""

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, names = pictures
    copy = tmp_path / "data"
    shutil.copytree(source, copy)
    folder = tmp_path / "dep"
    made = config(data=f"folder:{copy}")
    requests.deploy(made, folder, "certified", progress=quiet())
    return folder, copy, names


def of_split(folder, split):
    with np.load(folder / "examples.npz") as file:
        return file["ids"][file["split"] == split].tolist()


def test_a_changed_picture_is_refused_and_named(case):
    folder, data, _ = case
    one, other = of_split(folder, 0)[:2]
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(data / one)
    with pytest.raises(InputError, match=f"{one}: not as deployed"):
        erase(folder, [other])


def test_a_missing_picture_is_refused_and_named(case):
    folder, data, _ = case
    one, other = of_split(folder, 0)[:2]
    (data / one).unlink()
    with pytest.raises(InputError, match=f"{one}: missing"):
        erase(folder, [other])


def test_erased_pictures_may_be_deleted_before_or_after(case):
    folder, data, _ = case
    first, second, third, fourth = of_split(folder, 0)[:4]
    erase(folder, [first])
    (data / first).unlink()
    erase(folder, [second])
    (data / third).unlink()  # before it is erased: certified does not look at it
    erase(folder, [third])
    requests.verify(folder, progress=quiet())
    assert erase(folder, [first, third]) == []


def test_splits_stay_although_the_loader_draws_another(case):
    folder, data, _ = case
    tests = of_split(folder, 2)
    gone = of_split(folder, 0)[:30]
    erase(folder, gone)
    for name in gone:
        (data / name).unlink()
    erase(folder, of_split(folder, 0)[40:42])
    assert of_split(folder, 2) == tests


def test_new_pictures_are_not_used_and_said(case):
    folder, data, _ = case
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(data / "3" / "new.png")
    lines = said(requests.request, folder, of_split(folder, 0)[:1], reason="r")
    assert any("1 examples that came after" in line for line in lines)
    with pytest.raises(InputError, match="unknown id"):
        erase(folder, ["3/new.png"])


def test_data_that_moved_are_found_where_they_are_now(case):
    folder, data, _ = case
    moved = data.rename(data.with_name("moved"))
    one = of_split(folder, 0)[0]
    with pytest.raises(InputError, match="no such folder"):
        erase(folder, [one])
    erase(folder, [one], data=f"folder:{moved}")


def test_a_failed_request_is_taken_back(case):
    folder, data, _ = case
    one, other = of_split(folder, 0)[:2]
    (data / one).unlink()
    with pytest.raises(InputError):
        erase(folder, [other])
    assert not (folder / "begun.json").exists()
    assert not (folder / "requests" / "0001").exists()


def test_copies_of_one_picture_go_together(pictures, tmp_path, monkeypatch):

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, names = pictures
    copy = tmp_path / "data"
    shutil.copytree(source, copy)
    shutil.copy(copy / names[5], copy / names[5].replace(".png", "-copy.png"))
    folder = tmp_path / "dep"
    requests.deploy(
        config(data=f"folder:{copy}"), folder, "certified", progress=quiet()
    )
    (line,) = erase(folder, [names[5]])
    assert line["erased"] == {
        "named": [names[5]],
        "groups": [],
        "copies": [names[5].replace(".png", "-copy.png")],
    }


def test_a_copy_of_an_erased_picture_under_a_new_name_is_told(case):
    folder, data, _ = case
    one = of_split(folder, 0)[0]
    erase(folder, [one])
    (data / one).rename(data / "0" / "again.png")
    lines = said(requests.purge, folder)
    assert any("0/again.png (a copy) is still there; delete it" in x for x in lines)
    assert "not used" in "".join(
        said(requests.request, folder, [of_split(folder, 0)[1]], reason="r")
    )


def test_validation_examples_of_a_request_choose_nothing_more(pictures, tmp_path):
    folder = tmp_path / "dep"
    made = config(data=f"folder:{pictures[0]}", data__validation=0.2)
    requests.deploy(made, folder, "finetune", progress=quiet())
    found = open_deployment(folder)
    held_out = found.examples.of(1)
    loaded = matching.load(found, (), make_call(quiet()), asked=held_out[:2])
    np.testing.assert_array_equal(loaded.held_out, held_out[2:])
    assert loaded.present[held_out].all()  # they can still be measured


def test_a_changed_picture_can_be_erased_by_who_need_not_see_it(case):
    folder, data, _ = case
    one, other = of_split(folder, 0)[:2]
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(data / one)
    with pytest.raises(InputError, match="or erase it by a request"):
        erase(folder, [other])
    erase(folder, [one])
    erase(folder, [other])
    requests.verify(folder, progress=quiet())


def test_who_must_see_what_it_forgets_is_told_what_is_left_to_do(
    pictures, tmp_path, monkeypatch
):
    """A changed example can be no way out where the method must see it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, data = tmp_path / "dep", tmp_path / "data"
    shutil.copytree(pictures[0], data)
    made = config(data=f"folder:{data}")
    requests.deploy(made, folder, "gradient_ascent", progress=quiet())
    first, one, other = of_split(folder, 0)[:3]
    erase(folder, [first])
    last = "Everything is as recorded."
    assert said(requests.verify, folder)[-1] == last
    (data / first).unlink()
    assert said(requests.verify, folder)[-1] == last.replace("thing", "thing else")
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(data / one)
    for asked in (one, other):
        with pytest.raises(InputError, match="deploy a model without it") as caught:
            erase(folder, [asked])
        assert "erase it by a request" not in str(caught.value)
    with pytest.raises(InputError, match=f"the data are not as deployed: {one}"):
        requests.verify(folder, progress=quiet())


def test_groups_are_those_of_the_deployment(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, folder = tmp_path / "data", tmp_path / "dep"
    shutil.copytree(pictures[0], data)
    rows = [f"{name},{i // 2}" for i, name in enumerate(pictures[1])]
    (data / "groups.csv").write_text("\n".join(["file,group", *rows]))
    made = config(data=f"folder:{data}")
    told = said(requests.deploy, made, folder, "certified")
    assert any("groups of test examples are not used" in line for line in told)
    found = open_deployment(folder).examples
    first, second = found.ids[found.group == found.group[0]].tolist()
    erase(folder, [first])
    (data / first).unlink()  # groups.csv still has its line
    (data / second).unlink()
    others = found.ids[found.group == found.group[-60]].tolist()
    (line,) = erase(folder, others[:1])
    assert line["erased"]["groups"] == others[1:]
    requests.verify(folder, progress=quiet())


def test_a_class_that_was_erased_and_deleted_keeps_the_deployment_at_work(tmp_path):
    """Labels are numbers, which then have a gap, and the class is in no file."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (60, 8, 8, 1), np.uint8)
    labels, ids = np.arange(60) % 3, np.array([f"p{i}" for i in range(60)])
    held_out = (np.arange(60) % 5 == 0) & (labels != 1)

    def write(there):
        parts = {}
        for split, chosen in (("train", ~held_out), ("test", held_out)):
            rows = np.flatnonzero(chosen & there)
            parts |= {f"x_{split}": images[rows], f"y_{split}": labels[rows]}
            parts[f"{split}_ids"] = ids[rows]
        np.savez(tmp_path / "set.npz", **parts)

    write(np.ones(60, bool))
    folder = tmp_path / "dep"
    made = config(data=f"npz:{tmp_path / 'set.npz'}")
    requests.deploy(made, folder, "certified", progress=quiet())
    erase(folder, ids[labels == 1].tolist())
    write(labels != 1)
    assert erase(folder, ["p2"])
    requests.verify(folder, progress=quiet())
