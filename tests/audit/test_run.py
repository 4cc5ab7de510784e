"""An audit from config to page."""

import json
import shutil

import numpy as np
import pytest
from small_audits import audit_config

from unlearn import audit, pipeline, store
from unlearn.audit import facts as page_facts
from unlearn.audit import shadow_models
from unlearn.audit.controls import CONTROLS
from unlearn.audit.run import finite
from unlearn.audit.shadow_models import Measured
from unlearn.errors import InputError
from unlearn.report import csv_files, page, schema

OF_MODELS = ("standard", "per_example", "rates", "kept", "distributional", "outputs")


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "small"
    return folder, audit.run(audit_config(), folder).facts


@pytest.mark.slow
def test_the_page_and_the_facts(audited):
    folder, facts = audited
    saved = json.loads((folder / "report.json").read_text())
    schema.check(saved)
    text = (folder / "report.html").read_text()
    for words in (saved["conclusion"], saved["request"]["sha256"], "U-LiRA AUC"):
        assert words in text
    assert [t["id"] for t in saved["tables"]] == [*OF_MODELS, "layers"]
    assert {m["name"] for m in saved["methods"]} == {"finetune", "gradient_ascent"}
    assert len(saved["figures"]) == 4
    assert (folder / "summary.csv").read_text().startswith("model,status")
    for table in facts["tables"]:
        assert (folder / f"{table['id']}.csv").exists()
    cells = {row["model"]: row["cells"] for row in facts["tables"][0]["rows"]}
    (retrain,) = [
        row
        for row in csv_files.read_csv(folder / "summary.csv")
        if row["model"] == "retrain"
    ]
    floor = 100 * retrain["avg_gap_floor"]
    assert cells["retrain"]["avg_gap"]["value"] == pytest.approx(floor)
    assert cells["no_op"]["avg_gap"] == cells["original"]["avg_gap"]


@pytest.mark.slow
def test_harder_forget_sets(tmp_path):
    config = audit_config()
    config.audit.harder.models = 12
    facts = audit.run(config, tmp_path / "small").facts
    tables = {table["id"]: table for table in facts["tables"]}
    columns = {c["key"] for c in tables["harder"]["columns"]}
    assert {"memorised_forget", "mislabelled_forget", "confusion"} <= columns
    for name in ("harder", "requests"):
        rows = {row["model"] for row in tables[name]["rows"]}
        assert {"original", "retrain", *CONTROLS, "finetune"} <= rows
    for row in (*tables["harder"]["rows"], *tables["requests"]["rows"]):
        assert all(0 <= cell["value"] <= 100 for cell in row["cells"].values())
    (original,) = [r for r in tables["requests"]["rows"] if r["model"] == "original"]
    assert original["cells"]["once_test"] == original["cells"]["sequential_test"]


@pytest.mark.slow
def test_every_control_is_in_the_tables(audited):
    _, facts = audited
    tables = {t["id"]: {row["model"] for row in t["rows"]} for t in facts["tables"]}
    controls = {control["name"] for control in facts["controls"]}
    for name in OF_MODELS:
        assert controls <= tables[name]
    layers = {"original", "retrain", "no_op", "head_distill", "untrained"}
    assert layers <= tables["layers"]


@pytest.mark.slow
def test_the_anchors_of_relearning(audited):
    _, facts = audited
    (layers,) = [t for t in facts["tables"] if t["id"] == "layers"]
    cells = {row["model"]: row["cells"] for row in layers["rows"]}
    assert cells["original"]["relearn"]["value"] == 0
    assert cells["untrained"]["relearn"]["value"] > 0


@pytest.mark.slow
def test_a_study_that_decides_nothing_calls_no_method_forgotten(audited):
    _, facts = audited
    assert not facts["conclusive"]  # 12 models of 30 targets cannot
    assert {m["verdict"] for m in facts["methods"]} == {"inconclusive"}
    assert facts["conclusion"].startswith("Nothing can be concluded")


@pytest.mark.slow
def test_again_it_is_the_same_but_for_time(audited):
    folder, facts = audited
    config = audit_config()
    config.audit.reason = "another one"
    again = audit.run(config, folder).facts
    assert again["request"]["reason"] == "another one"
    keys = "tables", "methods", "controls", "checkpoints", "conclusion"
    assert schema.plain({k: facts[k] for k in keys}) == schema.plain(
        {k: again[k] for k in keys}
    )


@pytest.mark.parametrize("name", ["unsir", "sisa", "influence+finetune"])
def test_what_shadow_models_cannot_answer_is_refused(tmp_path, name):
    config = audit_config()
    config.run = (name,)
    with pytest.raises(InputError, match="cannot be audited"):
        audit.run(config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(models=5), "audit.models must be at least 12; it is 5"),
        (dict(chunk=-1), "audit.chunk must be at least 1"),
        (dict(targets=31), "audit.targets must be a positive multiple of 3"),
        (dict(canaries=16), "audit.canaries must be 0 to targets / 2; it is 16"),
        (dict(background=-0.5), "audit.background must be above 0"),
        (dict(seed=-1), "audit.seed"),
        (dict(layers={"relearning": {"batch_size": 0}}), "relearning.batch_size must"),
        (
            dict(harder={"models": 4}),
            "harder.models must be 0, .* to models, 12; it is 4",
        ),
        (dict(harder={"models": 13}), "harder.models must be 0, .*; it is 13"),
        (dict(harder={"count": 1}), "harder.count must be at least 2"),
        (dict(harder={"requests": 0}), "harder.requests must be at least 1"),
        (
            dict(harder={"fraction": 0.6}),
            "harder.fraction must be above 0, and below 1",
        ),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(tmp_path, changes, words):
    config = audit_config()
    config.audit.update(changes)
    with pytest.raises(InputError, match=words):
        audit.run(config, tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["run", "shadow", "request", "harder/random"])
def test_a_method_that_diverges_is_left_out_and_the_others_are_judged(
    where, tmp_path, monkeypatch
):
    make, config = shadow_models.measured, audit_config()

    def one_diverges(study, name):
        found = make(study, name)
        if name == "gradient_ascent" and study.name == where:
            found.margins[3] = np.nan
        return found

    monkeypatch.setattr(shadow_models, "measured", one_diverges)
    if where == "run":
        config.methods.gradient_ascent.learning_rate = 1e30
    if where == "harder/random":
        config.audit.harder.models = 12
        facts = audit.run(config, tmp_path / "audit").facts
        (harder,) = [t for t in facts["tables"] if t["id"] == "harder"]
        cells = {row["model"]: row["cells"] for row in harder["rows"]}
        blank = {
            name
            for name, row in cells.items()
            if np.isnan(row["random_forget"]["value"])
        }
        assert blank == {"gradient_ascent"}
        return
    done = audit.run(config, tmp_path / "audit")
    assert done.diverged == ("gradient_ascent",)
    facts = store.read_json(tmp_path / "audit" / "report.json")
    assert [method["name"] for method in facts["methods"]] == ["finetune"]
    assert "gradient_ascent: diverged, not judged" in facts["conclusion"]
    schema.check(facts)


def test_models_of_a_study_that_diverged():
    kept = {name: Measured(np.zeros((2, 2)), None, 0.0) for name in ("a", "b")}
    broken = Measured(np.full((2, 2), np.nan), None, 0.0)
    assert finite(kept | {"ssd": broken}) == (kept, ["ssd"])
    with pytest.raises(InputError, match="no_op diverged"):
        finite(kept | {"no_op": broken})


def test_the_conclusion_says_who_was_not_judged_and_what_went_wrong():
    control = {"name": "head_distill", "expected": "fail", "outcome": "pass"}
    facts = {"conclusive": True, "controls": [control], "methods": []}
    said = page_facts.conclude(facts, "fine", "30 examples", ["ssd"])
    assert said.startswith("ssd: diverged, not judged. Judged on 30 examples")
    assert "not every control came out as it must: head_distill" in said
    assert page_facts.conclude(facts, "fine", "3", []).startswith(
        "no method was requested"
    )


@pytest.mark.slow
def test_the_facts_are_those_of_the_run(audited):
    folder, facts = audited
    saved = store.read_json(folder / "config.json")
    settings = facts["run"]["settings"]
    assert settings["train.epochs"] == saved["train"]["epochs"]
    assert settings["audit.targets"] == saved["audit"]["targets"]
    assert {"python", "scipy", "scikit-learn", "jax"} <= facts["run"]["versions"].keys()
    forget = np.load(folder / "split.npz")["forget"]
    assert facts["request"]["sha256"] == store.array_hash(forget.astype(np.int64))
    text = (folder / "report.html").read_text()
    for method in facts["methods"]:
        for key, value in method["constants"].items():
            assert f"{key}={page.constant(value)}" in text.replace("&#39;", "'")
    hashes = {one["sha256"] for one in facts["checkpoints"]}
    assert len(hashes) == len(facts["checkpoints"]) and all(h in text for h in hashes)


@pytest.mark.slow
def test_what_another_audit_kept_is_refused(audited, tmp_path):
    """Chunks of another model, and studies of a run with other settings."""
    folder = tmp_path / "small"
    shutil.copytree(audited[0], folder)
    shadow = folder / "studies" / "shadow"
    for path in (shadow / "retrain").iterdir():
        shutil.copy(path, shadow / "finetune" / path.name)
    with pytest.raises(InputError, match="finetune.* is of another run or model"):
        audit.run(audit_config(), folder)
    config = audit_config()
    config.train.learning_rate = 0.01
    other = tmp_path / "other"
    shutil.copytree(audited[0] / "studies", other / "studies")
    with pytest.raises(InputError, match="without a config.json"):
        audit.run(config, other)
    shutil.rmtree(other)
    pipeline.run(config, other)
    shutil.copytree(audited[0] / "studies", other / "studies")
    with pytest.raises(InputError, match="of other sets or of another version"):
        audit.run(config, other)
