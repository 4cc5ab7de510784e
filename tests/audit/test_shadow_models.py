"""Models of a study: the same as one model alone, resumable."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_audits import alone, prepared, trained

from unlearn import methods, parallel, pipeline, store, training, training_time
from unlearn.audit import kept, shadow_models, studies
from unlearn.errors import InputError
from unlearn.metrics import lira
from unlearn.problem import withhold


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="module")
def shadow(run):
    return studies.shadow_study(run)


def test_variables_are_read_where_they_are_indexed(tmp_path):
    draw = np.random.default_rng(0).normal(size=(5, 2, 3))
    files = {tmp_path / "a.npz": range(3), tmp_path / "b.npz": range(3, 5)}
    for path, inside in files.items():
        np.savez(path, margins=np.zeros(9), **{"variables/w": draw[list(inside)]})
    like = jax.ShapeDtypeStruct(draw.shape, draw.dtype)
    leaf = kept.LazyLeaf(files, "variables/w", like)
    assert leaf.shape == (5, 2, 3) and leaf.dtype == draw.dtype
    for numbers in ([0], [2, 3], [4, 4, 0], np.arange(5)):
        np.testing.assert_array_equal(leaf[numbers], draw[numbers])
    (tmp_path / "b.npz").unlink()
    np.testing.assert_array_equal(leaf[[1, 2]], draw[1:3])
    with pytest.raises(InputError, match="b.npz is damaged"):
        leaf[[3]]


def test_chunks_of_another_size_are_found_beside_what_is_left_of_before(tmp_path):
    """Such as of another number of devices, or where memory was short."""
    study = SimpleNamespace(
        name="shadow",
        folder=tmp_path,
        models=48,
        run=SimpleNamespace(fingerprint="0"),
    )
    for first, count in ((0, 16), (0, 32), (32, 16)):
        path, of = kept.place(study, "retrain", first, count)
        rows = {"margins": first + np.arange(count), "seconds": np.ones(count)}
        store.save_kept(path, rows, of)
    files = kept.files_of(study, "retrain")
    assert list(files.values()) == [range(32), range(32, 48)]
    whole = kept.load(study, "retrain", files, ("margins", "seconds"))
    np.testing.assert_array_equal(whole["margins"], np.arange(48))
    path.unlink()
    assert kept.files_of(study, "retrain") == {}


@pytest.mark.slow
def test_a_model_of_the_study_is_that_model_alone(shadow):
    """Original, retrained and unlearned models, trained by hand from the same keys."""
    recipe, number = training.Recipe(**shadow.run.config.train), 7
    forget, retain = shadow.forget[number], shadow.retain[number]
    problem = shadow.problem.replace(forget=forget, retain=retain)
    both = np.concatenate([forget, retain])
    made = {}
    for name, indices in (("original", both), ("retrain", retain)):
        key = shadow_models._keys(shadow, name)[number]
        made[name], _ = training.train(key, problem, indices, recipe)
    name = "gradient_ascent"
    key = jax.random.split(shadow_models._keys(shadow, name)[number], 1)[0]
    made[name], _ = methods.METHODS[name].fn(
        key,
        made["original"],
        withhold(problem, ("forget",)),
        **shadow.run.config.methods[name],
    )
    for name, variables in made.items():
        np.testing.assert_allclose(
            shadow_models.measured(shadow, name).margins[number],
            alone(shadow, variables, problem),
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.slow
def test_it_goes_on_with_the_chunk_that_is_missing(shadow, monkeypatch):
    before = shadow_models.measured(shadow, "oracle")
    files = sorted((shadow.folder / "oracle").glob("*.npz"))
    assert [path.name for path in files] == ["00000_6.npz", "00006_6.npz"]
    stamp = files[0].stat().st_mtime_ns
    files[1].unlink()
    again = shadow_models.measured(shadow, "oracle")
    np.testing.assert_array_equal(before.margins, again.margins)
    assert files[0].stat().st_mtime_ns == stamp and files[1].exists()
    monkeypatch.setattr(parallel.devices, "compiled", None)
    shadow_models.measured(shadow, "oracle")  # all is there: nothing is compiled


@pytest.mark.slow
def test_who_joins_leaves_kinds_to_those_who_are_at_them(shadow):
    def made():
        return {name for name in wanted if kept.files_of(shadow, name)}

    wanted = "original", "no_op", "constant_margin"
    held = store.try_lock(shadow.folder / "no_op" / ".all")
    shadow_models.make_free((shadow, name) for name in wanted)
    assert made() == {"original"}
    store.leave(held)
    shadow_models.make_free((shadow, name) for name in wanted)
    assert made() == {"original", "no_op"}
    assert not list(shadow.folder.rglob(".all"))
    whole = shadow_models.measured(shadow, "original")
    own = shadow_models.measured(shadow, "no_op")
    np.testing.assert_allclose(own.margins, whole.margins, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["certified", "sisa", "amnesiac"])
def test_a_method_that_trains_its_own_is_that_model_alone(run, shadow, name):
    """The first models of the study, each asked to forget its own set, and kept."""
    with run.config.unlocked():
        run.config.methods.sisa.update(shards=2, slices=2, epochs=3)
    found = shadow_models.measured(shadow, name)
    assert found.margins.shape == (12, len(shadow.labels))
    method, number = training_time.METHODS[name], 4
    key = shadow_models._keys(shadow, name)[number]
    key_fit, key_forget = jax.random.split(key)
    forget, retain = np.sort(shadow.forget[number]), shadow.retain[number]
    constants = dict(run.config.methods[name])
    constants |= {"sensitive": forget} if name == "amnesiac" else {}
    both = np.sort(np.concatenate([forget, retain]))
    state = method.fit(key_fit, shadow.problem, indices=both, **constants)
    state, _ = method.forget(key_forget, state, forget)
    logits = np.asarray(method.predict(state, shadow.examples))
    expected = lira.margins(logits, np.asarray(shadow.labels))
    np.testing.assert_allclose(found.margins[number], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.predictions[number], logits.argmax(-1))
    path, _ = sorted((shadow.folder / name).glob("*.npz"))
    stamp = path.stat().st_mtime_ns
    again = shadow_models.measured(shadow, name)
    np.testing.assert_array_equal(again.margins, found.margins)
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient_ascent", "finetune", "rewind"])
def test_sequential_requests_are_the_method_twice(run, name):
    """What is requested later is retained until then; early weights stay the same."""
    forget = np.arange(10)
    study = studies.fixed_study("sequential", run, forget, 12, requests=2)
    found = shadow_models.measured(study, name).margins[3]
    variables = trained(study, "original", 3)
    keys = jax.random.split(shadow_models._keys(study, name)[3], 2)
    retain, info = study.retain[3], methods.METHODS[name]
    constants = run.config.methods[name]
    early = {
        epoch: trained(study, f"original@{epoch}", 3)
        for epoch in info.early_epochs(dict(constants))
    }
    for key, part, more in zip(
        keys, (forget[:5], forget[5:]), (forget[5:], retain[:5]), strict=True
    ):
        stays = np.concatenate([retain, more])
        problem = run.problem.replace(forget=part, retain=stays)
        seen = withhold(problem, info.needs)
        if early:
            seen = seen.replace(early=early)
        variables, _ = pipeline.run_method(info.fn, key, variables, seen, **constants)
    expected = alone(study, variables, run.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_shadow_study_answers_requests_one_after_another(run, shadow):
    """From its own originals, and all that a model forgets in the end."""
    assert shadow.forget.shape[1] == 12
    study = studies.one_by_one(shadow, "requests/members", 4)
    assert study.folder.is_dir()
    found = shadow_models.measured(study, "finetune").margins[3]
    variables, info = trained(shadow, "original", 3), methods.METHODS["finetune"]
    keys = jax.random.split(shadow_models._keys(study, "finetune")[3], 4)
    retain, parts = study.retain[3], study.forget[3].reshape(4, 3)
    for number, key in enumerate(keys):
        stays = [retain, np.resize(retain, 9)[: 3 * number], parts[number + 1 :]]
        problem = run.problem.replace(
            forget=parts[number], retain=np.concatenate([x.ravel() for x in stays])
        )
        variables, _ = pipeline.run_method(
            info.fn,
            key,
            variables,
            withhold(problem, info.needs),
            **run.config.methods.finetune,
        )
    expected = alone(study, variables, run.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_rewinding_starts_from_each_models_own_early_weights(run):
    study = studies.fixed_study("rewound", run, np.arange(10), 12)
    run.config.methods.rewind.update(epoch=1, epochs=1, batch_size=16)
    found = shadow_models.measured(study, "rewind").margins[3]
    everything = np.concatenate([study.forget[3], study.retain[3]])
    recipe = training.Recipe(**run.config.train)
    key = shadow_models._keys(study, "original")[3]
    early, _ = training.train(key, run.problem, everything, recipe, 1)
    problem = run.problem.replace(
        forget=study.forget[3], retain=study.retain[3], early={1: early}
    )
    variables, _ = pipeline.run_method(
        methods.METHODS["rewind"].fn,
        jax.random.split(shadow_models._keys(study, "rewind")[3], 1)[0],
        {},
        problem,
        **run.config.methods.rewind,
    )
    expected = alone(study, variables, run.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_another_study_may_use_the_same_originals(run):
    request = studies.request_study(run)
    forget = np.arange(5, 10)
    study = studies.fixed_study("others", run, forget, 12, source=request)
    own = studies.fixed_study("alone", run, forget, 12)
    for name in ("original", "gradient_ascent"):
        shared, fresh = (shadow_models.measured(one, name) for one in (study, own))
        assert shared.margins.shape == fresh.margins.shape
        assert not np.allclose(shared.margins, fresh.margins, atol=1e-3)
    found = shadow_models.measured(study, "original").margins[3]
    variables = trained(request, "original", 3)
    expected = alone(study, variables, run.problem)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not (study.folder / "original").exists()
