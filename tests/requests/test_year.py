"""A year of requests to a model of the digits, as PNG files in class folders."""

import time

import numpy as np
import pytest
from deployments import quiet, said, write_digits

from unlearn import requests
from unlearn.requests import matching, states
from unlearn.requests.calls import make_call
from unlearn.requests.deployment import open_deployment
from unlearn.training_time import METHODS

REQUESTS = 16


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return folder, write_digits(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def deploy(folder, method, data, **changes):
    made = requests.default_config()
    made.data.name = f"folder:{data}"
    made.model.name = "mlp"
    made.train.update(epochs=10)
    made.update_from_flattened_dict(changes)
    requests.deploy(made, folder, method, progress=quiet())


def year(folder, names, count=REQUESTS):
    """Answers requests of 1 to 5 names, with some mistakes people make.

    Returns the names that were erased and the lines that were said.
    """
    draw, erased, lines = np.random.default_rng(0), [], []
    for number in range(count):
        ids = draw.choice(names, draw.integers(1, 6), replace=False).tolist()
        if number % 5 == 1:
            ids.append(ids[0])  # twice
        if number % 5 == 2:
            ids.append("9/none.png")  # of nobody
        if number % 5 == 3 and erased:
            ids.append(erased[0])  # erased already
        lines += said(
            requests.request,
            folder,
            ids,
            reason=f"request {number}",
            skip_unknown=number % 5 == 2,
        )
        erased += [one for one in ids if one != "9/none.png"]
    return set(erased), lines


def check(folder, erased):
    status = requests.status(folder, progress=quiet())
    lines = open_deployment(folder).lines()
    gone = {one for x in lines[1:] for ids in x["erased"].values() for one in ids}
    assert erased <= gone and status["erased"] == len(gone)
    assert said(requests.verify, folder)[-1] == "Everything is as recorded."
    report = folder / "requests" / f"{lines[-1]['number']:04d}" / "report.html"
    assert "Erasure report" in report.read_text()
    return gone, lines


@pytest.mark.slow
def test_a_year_by_sisa_ends_as_if_never_trained_on_them(pictures, tmp_path):
    data, names = pictures
    folder, began = tmp_path / "dep", time.monotonic()
    deploy(folder, "sisa", data)
    erased, lines = year(folder, names)
    gone, _ = check(folder, erased)
    assert any("was erased already, by request" in line for line in lines)
    assert any("unknown, left out: 9/none.png" in line for line in lines)
    found = open_deployment(folder)
    loaded = matching.load(found, (), make_call(quiet()))
    rows = found.examples.of(0)
    problem = loaded.problem(found.settings, rows)
    left = np.flatnonzero(~np.isin(found.examples.ids[rows], list(gone)))
    constants = found.settings["methods"]["sisa"]
    fitted = METHODS["sisa"].fit(found.key(0), problem, indices=left, **constants)
    version = found.lines()[-1]["version"]
    state = states.load(found.state(version), problem)
    everything = loaded.rows
    np.testing.assert_array_equal(
        METHODS["sisa"].predict(state, everything),
        METHODS["sisa"].predict(fitted, everything),
    )
    assert time.monotonic() - began < 180


@pytest.mark.slow
def test_a_year_by_certified(pictures, tmp_path):
    data, names = pictures
    folder = tmp_path / "dep"
    deploy(folder, "certified", data)
    erased, said = year(folder, names)
    _, lines = check(folder, erased)
    assert len(lines) == 1 + REQUESTS
    versions = {line["version"] for line in lines[1:]} - {0}
    moved = {
        line["version"]
        for line in lines[1:]
        if line["weights"]["after"] != line["weights"]["before"]
    }
    assert len(versions) >= 0.9 * REQUESTS and len(moved) > len(versions) / 2
    warnings = sum("has not changed the weights" in line for line in said)
    assert len(moved) + warnings == len(versions)


USERS_FILE = '''
"""A vision transformer as a user has it."""

import flax.linen as nn
import jax.numpy as jnp


class ViT(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(16, (2, 2), (2, 2))(images)
        x = x.reshape(len(x), -1, 16)
        places = nn.initializers.normal(0.02)
        x = x + self.param("places", places, (1, x.shape[1], 16))
        for _ in range(2):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(2)(y, y)
            x = x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        return nn.Dense(self.classes)(nn.LayerNorm()(x).mean(1))


class ResNet(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, images, train=False):
        def norm():
            return nn.BatchNorm(use_running_average=not train, momentum=0.9)

        x = nn.relu(norm()(nn.Conv(8, (3, 3))(images)))
        for width, stride in ((8, 1), (16, 2)):
            y = nn.relu(norm()(nn.Conv(width, (3, 3), stride)(x)))
            y = norm()(nn.Conv(width, (3, 3))(y))
            if x.shape != y.shape:
                x = nn.Conv(width, (1, 1), stride)(x)
            x = nn.relu(x + y)
        return nn.Dense(self.classes)(x.mean((1, 2)))


def vit(num_classes=10):
    return ViT(num_classes)


def resnet(num_classes=10):
    return ResNet(num_classes)
'''


@pytest.mark.slow
@pytest.mark.parametrize("net", ["vit"])
def test_a_year_of_a_users_own_weights(pictures, tmp_path, net):
    import jax

    from unlearn import models

    data, names = pictures
    file, weights = tmp_path / "nets.py", tmp_path / "mine.safetensors"
    file.write_text(USERS_FILE)
    model = models.create(f"{file}:{net}", 10)
    like = model.init(jax.random.key(0), np.zeros((2, 8, 8, 1), np.float32))
    draw = np.random.default_rng(0)  # batch statistics are not those of no training
    stats = (
        {
            "batch_stats": jax.tree.map(
                lambda x: np.float32(x + draw.uniform(0, 0.1, x.shape)),
                like["batch_stats"],
            )
        }
        if "batch_stats" in like
        else {}
    )
    mine = jax.device_get(like) | stats
    models.save_weights(weights, mine)
    folder = tmp_path / "dep"
    changes = {"model.name": f"{file}:{net}", "model.weights": str(weights)}
    deploy(folder, "newton_head", data, **changes)
    first = open_deployment(folder).lines()[0]
    of_deployment = models.load_weights(open_deployment(folder).weights(0), mine)
    jax.tree.map(np.testing.assert_array_equal, of_deployment, mine)
    erased, _ = year(folder, names, count=4)
    _, lines = check(folder, erased)
    assert lines[-1]["weights"]["after"] != first["weights"]["after"]
    to = tmp_path / "new.safetensors"
    requests.export(folder, to, progress=quiet())
    exported = jax.tree.leaves(models.load_weights(to, mine))
    moved = [
        np.any(a != b) for a, b in zip(exported, jax.tree.leaves(mine), strict=True)
    ]
    assert any(moved) and (net == "vit" or "batch_stats" in mine)
