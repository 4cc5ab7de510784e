"""Deployments that are stopped, or trained by several processes."""

import contextlib
import json
import os

import jax
import numpy as np
import pytest
from deployments import SYNTHETIC, config, copy, deploy, erase, quiet, said
from kills import killed_at, release
from safetensors.numpy import load_file, save_file

from unlearn import requests, training_time
from unlearn.errors import InputError
from unlearn.models.weights import save_weights
from unlearn.requests import deploying, matching
from unlearn.requests.deployment import open_deployment


def start_of(folder, tmp_path, name):
    """A folder with the secret of a deployment and nothing else: the same bits."""
    target = tmp_path / name
    target.mkdir()
    (target / "secret.json").write_bytes((folder / "secret.json").read_bytes())
    return target


def hashes(folder):
    (line,) = open_deployment(folder).lines()
    return line["state"], line["weights"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sisa", "certified", "finetune"])
def test_a_deployment_killed_before_any_write_ends_the_same(deployed, tmp_path, method):
    whole, made = deployed(method), config()
    step, finished = 0, False
    while not finished:
        step += 1
        folder = start_of(whole, tmp_path, f"{step}")
        with killed_at(step):
            requests.deploy(made, folder, method, progress=quiet())
            finished = True
        if step % 2 and not finished:  # every other moment is enough of a test
            continue
        release(folder)
        requests.deploy(made, folder, method, progress=quiet())
        assert hashes(folder) == hashes(whole), step
    assert step > 6
    requests.verify(folder, progress=quiet())


def test_shards_trained_apart_are_put_together_to_the_same_bits(deployed, tmp_path):
    whole, made = deployed("sisa"), config()
    folder = start_of(whole, tmp_path, "dep")
    first = said(requests.deploy, made, folder, "sisa", shards=[2])
    assert first[0].startswith("shards that are not trained yet: 0,1; whoever")
    with pytest.raises(InputError, match="not deployed yet"):
        erase(folder, [3])
    said(requests.deploy, made, folder, "sisa", shards=[1])
    lines = said(requests.deploy, made, folder, "sisa", shards=[0])
    assert "deployed in" in lines[-1]
    assert hashes(folder) == hashes(whole)
    requests.verify(folder, progress=quiet())


def test_shards_may_be_trained_at_the_same_time(deployed, tmp_path):
    """A second process is not kept out while another trains."""
    from unlearn.requests import strategies

    whole, made = deployed("sisa"), config()
    folder = start_of(whole, tmp_path, "dep")
    real = strategies.TrainingTime.fit_shards

    def meanwhile(self, key, problem, shards):
        missing = real(self, key, problem, shards)
        patch.setattr(strategies.TrainingTime, "fit_shards", real)
        requests.deploy(made, folder, "sisa", shards=[1, 2], progress=quiet())
        return missing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies.TrainingTime, "fit_shards", meanwhile)
        requests.deploy(made, folder, "sisa", shards=[0], progress=quiet())
    assert hashes(folder) == hashes(whole)


def test_shards_that_others_train_meanwhile_are_found(deployed, tmp_path, monkeypatch):
    whole, made = deployed("sisa"), config()
    folder, real = start_of(whole, tmp_path, "dep"), training_time.METHODS["sisa"]

    def fit(key, problem, **options):
        state = real.fit(key, problem, **options)
        if options.get("only"):
            real.fit(key, problem, **options | {"only": [1, 2]})
        return state

    monkeypatch.setitem(training_time.METHODS, "sisa", real._replace(fit=fit))
    lines = said(requests.deploy, made, folder, "sisa", shards=[0])
    assert "deployed in" in lines[-1]
    assert hashes(folder) == hashes(whole)


@pytest.mark.parametrize(
    ("method", "message"),
    [("retrain+finetune", "cannot be chained"), ("influence+retrain", "be chained")],
)
def test_chains_with_what_trains_anew_are_refused(tmp_path, method, message):
    with pytest.raises(InputError, match=message):
        requests.deploy(config(), tmp_path, method, progress=quiet())


def test_a_certificate_that_could_refuse_an_erasure_is_refused(tmp_path):
    made = config(methods__certified__past_budget="refuse")
    with pytest.raises(InputError, match="past_budget='retrain'"):
        requests.deploy(made, tmp_path, "certified", progress=quiet())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__learning_rate": -0.001}, "train.learning_rate must be finite and at"),
        ({"train__warmup_epochs": 99}, "train.warmup_epochs is 99, more than train.ep"),
        ({"methods__finetune__momentum": 1.0}, "methods.finetune.momentum must be at"),
    ],
)
def test_rates_that_make_no_sense_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        requests.deploy(config(**changes), tmp_path / "x", "finetune", progress=quiet())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("method", "shards", "message"),
    [("sisa", [3], "no shard 3"), ("finetune", [0], "shards are of sisa")],
)
def test_shards_that_are_not_there_are_refused(tmp_path, method, shards, message):
    with pytest.raises(InputError, match=message):
        requests.deploy(config(), tmp_path, method, shards=shards, progress=quiet())


@pytest.mark.slow
def test_weights_are_imported_as_they_are(deployed, tmp_path):

    source, file = deployed("finetune"), tmp_path / "w.safetensors"
    requests.export(copy(source, tmp_path / "source"), file, progress=quiet())
    made = config(model__weights=str(file), train__epochs=1)
    folder = tmp_path / "dep"
    requests.deploy(made, folder, "newton_head", progress=quiet())
    assert hashes(folder)[1] == hashes(source)[1]
    (line,) = erase(folder, [3])
    assert line["weights"]["after"] != line["weights"]["before"]
    requests.verify(folder, progress=quiet())
    file.unlink()  # the deployment has its own copy
    erase(folder, [14])
    assert any(str(file) in line for line in said(requests.purge, folder))


OTHER = "of a hospital that has agreed"


def features_of_another(deployed, tmp_path):
    file = tmp_path / "w.safetensors"
    source = copy(deployed("finetune"), tmp_path / "source")
    requests.export(source, file, progress=quiet())
    return file


@pytest.mark.slow
def test_certified_heads_on_imported_features(deployed, tmp_path):
    """The net stays as it was imported; heads are Newton steps on its features."""
    file, folder = features_of_another(deployed, tmp_path), tmp_path / "dep"
    made = config(model__weights=str(file), model__trained_on=OTHER)
    requests.deploy(made, folder, "certified", progress=quiet())
    (line,) = erase(folder, [3])
    assert line["weights"]["after"] != line["weights"]["before"]
    report = json.loads((folder / "requests/0001/report.json").read_text())
    assert f"said to be trained on {OTHER}" in report["guarantee"]
    assert f"trained on {OTHER}" in report["deployment"]["model"]
    assert not any(str(file) in text for text in report["depends"])
    out = tmp_path / "out.npz"
    requests.export(folder, out, progress=quiet())
    names, imported = np.load(out), load_file(file)
    heads = {name for name in names if "features" not in name}
    assert heads == {"params.head.kernel"}
    assert len(imported) == len(names) - 1
    for name, leaf in imported.items():
        (same,) = (n for n in names if n.endswith(name))
        np.testing.assert_array_equal(names[same], leaf)
    assert names["params.head.kernel"].shape[0] == 8  # of the hidden layer
    requests.verify(folder, progress=quiet())
    file.unlink()  # the deployment has its own copy
    erase(folder, [14])
    assert not any(str(file) in text for text in said(requests.purge, folder))


@pytest.mark.parametrize(
    "head", ["wider", pytest.param("missing", marks=pytest.mark.slow)]
)
def test_features_of_a_net_for_other_classes(head, deployed, tmp_path):
    """Such as those of a public set: its last layer is not used."""
    source = features_of_another(deployed, tmp_path)
    found = load_file(source)
    (last,) = (n.rpartition(".")[0] for n, leaf in found.items() if leaf.shape == (3,))
    for name in [name for name in found if name.startswith(last)]:
        shape = (*found[name].shape[:-1], 20)
        found[name] = np.ones(shape, np.float32)
        if head == "missing":
            del found[name]
    file, folder = tmp_path / "other.safetensors", tmp_path / "dep"
    save_file(found, file)
    made = config(model__weights=str(file), model__trained_on=OTHER)
    other = config(model__weights=str(file))
    with pytest.raises(InputError, match="not of this model"):
        requests.deploy(other, tmp_path / "no", "finetune", progress=quiet())
    requests.deploy(made, folder, "certified", progress=quiet())
    (line,) = erase(folder, [3])
    assert line["weights"]["after"] != line["weights"]["before"]
    out = tmp_path / "out.npz"
    requests.export(folder, out, progress=quiet())
    kept = np.load(out)
    for name, leaf in found.items():  # all but the last layer is as imported
        if not name.startswith(last):
            (same,) = (n for n in kept if n.endswith(name))
            np.testing.assert_array_equal(kept[same], leaf)
    requests.verify(folder, progress=quiet())


@pytest.mark.parametrize(
    "method, data, weights, trained_on, words",
    [
        ("certified", SYNTHETIC, True, "  ", "say with model.trained_on what"),
        ("certified", SYNTHETIC, True, SYNTHETIC.upper(), "these are the data"),
        ("certified", "npz:/x/Own.npz", True, "own", "these are the data"),
        ("certified", "folder:/x/MyData/", True, "my-data", "these are the data"),
        ("certified", "cifar10", True, "CIFAR-10", "these are the data"),
        ("certified", SYNTHETIC, False, OTHER, "give model.weights as well"),
        ("newton_head", SYNTHETIC, True, OTHER, "trained_on is of the features of"),
    ],
)
def test_features_that_may_remember_are_refused(
    deployed, tmp_path, method, data, weights, trained_on, words
):
    file = features_of_another(deployed, tmp_path) if weights else ""
    made = config(data, model__weights=str(file), model__trained_on=trained_on)
    with pytest.raises(InputError, match=words):
        requests.deploy(made, tmp_path / "dep", method, progress=quiet())
    assert not (tmp_path / "dep").exists()


OPAQUE = """
import jax
from unlearn import Model


def make(num_classes):
    def init(key, inputs):
        return {"params": {"w": jax.random.normal(key, (inputs[0].size, num_classes))}}

    def apply(variables, inputs, *, train=False, key=None):
        return inputs.reshape(len(inputs), -1) @ variables["params"]["w"], variables

    return Model(init, apply)
"""


def test_a_net_that_does_not_show_its_layers_has_no_features(tmp_path):
    file, net = tmp_path / "w.npz", tmp_path / "net.py"
    net.write_text(OPAQUE)
    made = config(model__name=f"{net}:make", model__trained_on=OTHER)
    save_weights(file, {"params": {"w": np.zeros((36, 3), np.float32)}})
    made.model.weights = str(file)
    with pytest.raises(InputError, match="activations"):
        requests.deploy(made, tmp_path / "dep", "certified", progress=quiet())
    assert not (tmp_path / "dep").exists()


def test_settings_are_those_of_before_where_nothing_is_said(deployed):
    settings = open_deployment(deployed("certified")).settings
    assert not settings["model"].keys() & {"trained_on", "test_flip", "dtype"}
    assert "alternate_flip" not in settings["data"]


def test_weights_of_another_model_are_refused(deployed, tmp_path):
    file = tmp_path / "w.safetensors"
    source = copy(deployed("finetune"), tmp_path / "source")
    requests.export(source, file, progress=quiet())
    made = config(model__weights=str(file), model__mlp__widths=(9,))
    with pytest.raises(InputError, match=r"w\.safetensors"):
        requests.deploy(made, tmp_path / "dep", "finetune", progress=quiet())
    assert not (tmp_path / "dep").exists()


def test_settings_may_be_mended_until_training_has_begun(tmp_path):
    made = config(methods__sisa__shards=100)
    with pytest.raises(InputError, match="take fewer shards"):
        requests.deploy(made, tmp_path / "dep", "sisa", progress=quiet())
    requests.deploy(config(), tmp_path / "dep", "sisa", progress=quiet())


@pytest.mark.slow
def test_a_users_model_that_was_changed_is_refused(tmp_path):
    file = tmp_path / "net.py"
    text = (
        "import flax.linen as nn\n"
        "class Net(nn.Module):\n"
        "    classes: int\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        return nn.Dense(self.classes)(x.reshape(len(x), -1))\n"
        "def net(num_classes):\n"
        "    return Net(num_classes)\n"
    )
    file.write_text(text)
    made = config(model__name=f"{file}:net")
    folder = tmp_path / "dep"
    requests.deploy(made, folder, "finetune", progress=quiet())
    erase(folder, [3])
    file.write_text(text.replace("nn.Dense", "nn.relu(x); nn.Dense"))
    with pytest.raises(InputError, match=r"net\.py is not as it was"):
        erase(folder, [14])
    file.write_text(text)
    erase(folder, [14])


def test_others_may_not_read_the_deployment(tmp_path):
    folder = tmp_path / "dep"
    with contextlib.suppress(InputError):
        requests.deploy(config(), folder, "certified", progress=quiet())
    assert os.stat(folder).st_mode & 0o077 == 0


def test_keys_are_for_the_owner_alone(tmp_path):
    folder = tmp_path / "dep"
    folder.mkdir(mode=0o755)
    deploy(folder, "finetune")
    assert (folder / "states").stat().st_mode & 0o077 == 0
    assert (folder / "secret.json").stat().st_mode & 0o077 == 0


def test_the_noise_of_a_certificate_has_a_key_of_128_bits(deployed):
    found = open_deployment(deployed("certified"))
    assert jax.random.key_data(found.key(0)).size == 4
    assert np.any(
        jax.random.key_data(found.key(0)) != jax.random.key_data(found.key(1))
    )


def test_a_linear_classifier_is_not_called_by_the_name_of_a_net(deployed, tmp_path):
    folder = copy(deployed("certified"), tmp_path / "dep")
    requests.export(folder, tmp_path / "w.npz", progress=quiet())
    assert "linear" in json.loads((tmp_path / "w.json").read_text())["model"]["name"]
    erase(folder, [3])
    page = (folder / "requests" / "0002" / "report.html").read_text()
    assert "model linear heads" in page and "mlp" not in page


@pytest.mark.slow
def test_a_method_without_its_validation_examples_says_what_to_do(tmp_path):
    folder = tmp_path / "dep"
    deploy(folder, "scrub", data__validation=0.1)
    found = open_deployment(folder).examples
    erase(folder, found.ids[found.of(1)].tolist())
    with pytest.raises(InputError, match="deploy again with the examples that stay"):
        erase(folder, found.ids[found.of(0)[:1]].tolist())


def test_a_deployment_inside_its_data_is_refused(tmp_path):
    for kind in ("folder", "table"):
        made = config(data=f"{kind}:{tmp_path}")
        with pytest.raises(InputError, match="choose one outside"):
            requests.deploy(made, tmp_path / "model", "sisa", progress=quiet())
    assert not (tmp_path / "model").exists()


def test_a_folder_may_be_named_from_another(deployed, tmp_path, monkeypatch):
    whole, made = deployed("sisa"), config()
    folder = start_of(whole, tmp_path, "new")
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    requests.deploy(made, "../new", "sisa", progress=quiet())
    assert hashes(folder) == hashes(whole)
    assert erase("../new", [3])


def test_paths_of_data_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given, kept in (
        ("table:a.csv, b/c.csv", f"table:{tmp_path}/a.csv,{tmp_path}/b/c.csv"),
        ("npz:a,b.npz", f"npz:{tmp_path}/a,b.npz"),
        ("folder:", "folder:"),
        ("digits", "digits"),
    ):
        assert matching.absolute(given) == kept


@pytest.mark.parametrize(
    ("dtype", "kept"), [("bfloat16", "bfloat16"), ("float32", None)]
)
def test_a_deployed_net_computes_in_the_asked_type(dtype, kept):
    asked = config(model__dtype=dtype)
    settings = deploying.make_settings(asked, "finetune", None)
    assert settings["model"].get("dtype") == kept
    settings["class_names"] = [str(number) for number in range(10)]
    inputs = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    net = matching.make_model(settings)
    variables = net.init(jax.random.key(1), inputs)
    products = str(jax.make_jaxpr(net.apply)(variables, inputs))
    assert ("bf16" in products) == (dtype == "bfloat16")


def test_a_type_for_a_net_of_the_users_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("def model(num_classes):\n    pass\n")
    asked = config(model__name=f"{tmp_path}/mine.py:model", model__dtype="bfloat16")
    with pytest.raises(InputError, match=r"model\.dtype is for the nets"):
        deploying.make_settings(asked, "finetune", None)
