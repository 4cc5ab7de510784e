"""An audit from config to page."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from small_audits import PRIVATE, audit_config, full_config

from unlearn import audit, pipeline
from unlearn.audit import controls, shadow_models
from unlearn.audit.config import flat
from unlearn.audit.controls import CONTROLS, MATCHING
from unlearn.audit.run import fewer, finite, print_findings
from unlearn.audit.shadow_models import Measured
from unlearn.errors import InputError
from unlearn.report import csv_files, schema

OF_MODELS = (
    "standard",
    "per_example",
    "rates",
    "kept",
    "stress",
    "stress_rates",
    "distributional",
    "outputs",
)
HARDER = "harder", "requests"
ADDED = "relearning_on_retain", "residual", "connectivity", "before_after", "epsilon"


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "small"
    return folder, audit.run(full_config(), folder).facts


@pytest.mark.slow
def test_the_facts_and_the_tables(audited):
    folder, facts = audited
    saved = json.loads((folder / "report.json").read_text())
    schema.check(saved)
    assert saved["models"] == schema.plain(facts["models"])
    assert [t["id"] for t in saved["tables"]] == [*OF_MODELS, "layers", *HARDER, *ADDED]
    text = (folder / "report.html").read_text()
    for words in (saved["conclusion"], saved["request"]["salted_sha256"]):
        assert words in text
    names = [model["name"] for model in saved["models"]]
    known = ["original", "retrain", *CONTROLS]
    assert names == [*known, "finetune"]
    assert len(saved["figures"]) == 5
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
def test_the_verdict_is_about_the_request(audited):
    folder, facts = audited
    asked = np.load(folder / "split.npz")["forget_ids"]
    judged = facts["judged"]
    assert judged["where"] == "shadow" and judged["enough"]
    assert judged["examples"] == judged["requested"] == len(asked)
    assert {one["id"] for one in facts["exposed"]} <= {str(one) for one in asked}
    by_name = {model["name"]: model for model in facts["models"]}
    assert by_name["no_op"]["leak"] == by_name["original"]["leak"]
    assert by_name["collapsed"]["leak"]["value"] == pytest.approx(0.5)
    assert by_name["collapsed"]["accuracy"]["value"] < 0.6
    assert all(model["stress"] for model in facts["models"])


@pytest.mark.slow
def test_a_request_of_a_class_has_class_methods_and_training_time_ones(tmp_path):
    """A method that diverges in the run is left out, and the others are judged."""
    config = audit_config()
    config.run, config.seeds = ("unsir", "certified", "finetune"), 1
    config.methods.finetune.learning_rate = 1e30
    config.forget.update(kind="class", classes=(1,), count=0)
    done = audit.run(config, tmp_path / "audit")
    facts = done.facts
    assert facts["judged"]["where"] == "request"
    by_name = {model["name"]: model for model in facts["models"]}
    assert done.diverged == ("finetune",) and "finetune" in facts["conclusion"]
    methods = [name for name, one in by_name.items() if one["kind"] == "method"]
    assert methods == ["unsir", "certified"]
    assert by_name["unsir"]["stress"] is None and by_name["certified"]["stress"]
    assert by_name["unsir"]["attack"] in ("Gaussian ratio", "kernel ratio")
    assert "certified" in facts["judged"]["note"]
    assert by_name["original"]["leak"]["value"] > 0.9  # it knows the class
    worst = by_name["original"]["worst_class"]
    assert worst["name"] != "1"
    assert not (tmp_path / "audit" / "studies" / "shadow").exists()


def test_a_figure_of_many_methods_has_those_that_leak_least_and_most():
    names = [f"m{number}" for number in range(13)]
    leaks = {
        name: SimpleNamespace(leak=SimpleNamespace(value=(5 * number) % 13))
        for number, name in enumerate(names)
    }
    shown = fewer(names, leaks)
    values = sorted(leaks[name].leak.value for name in shown)
    assert values == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert shown == [name for name in names if name in shown]
    assert fewer(names[:10], leaks) == names[:10]
    leaks["m0"].leak.value = float("nan")
    del leaks["m1"]
    assert not {"m0", "m1"} & {*fewer(names, leaks)}


@pytest.mark.slow
def test_harder_forget_sets(audited):
    _, facts = audited
    tables = {table["id"]: table for table in facts["tables"]}
    columns = {c["key"] for c in tables["harder"]["columns"]}
    assert {"memorised_forget", "mislabelled_forget", "confusion"} <= columns
    for name in HARDER:
        rows = {row["model"] for row in tables[name]["rows"]}
        assert {"original", "retrain", *CONTROLS, "finetune"} <= rows
    cells = {row["model"]: row["cells"] for row in tables["requests"]["rows"]}
    for row in (*tables["harder"]["rows"], *tables["requests"]["rows"]):
        for key, one in row["cells"].items():
            known = "member" not in key or row["model"] not in CONTROLS
            assert 0 <= one["value"] <= 100 if known else np.isnan(one["value"])
    assert cells["original"]["once_test"] == cells["original"]["sequential_test"]
    once, later = "once_member", "sequential_member"
    for name in ("original", "retrain"):  # which no request changes
        assert cells[name][once] == cells[name][later]
    assert cells["finetune"][once] != cells["finetune"][later]
    columns = {c["key"] for c in tables["requests"]["columns"]}
    assert columns == cells["finetune"].keys()


@pytest.mark.slow
def test_every_control_is_in_the_tables(audited):
    _, facts = audited
    tables = {t["id"]: {row["model"] for row in t["rows"]} for t in facts["tables"]}
    controls = set(CONTROLS)
    for name in OF_MODELS:
        assert controls <= tables[name]
    layers = {"original", "retrain", "no_op", "head_distill", "untrained"}
    assert layers <= tables["layers"]


@pytest.mark.slow
def test_what_says_nothing_of_retraining_is_left_out(audited):
    """Four steps bring no retrained model back."""
    _, facts = audited
    (layers,) = [t for t in facts["tables"] if t["id"] == "layers"]
    keys = {column["key"] for column in layers["columns"]}
    assert "probe" in keys and not keys & {"relearn", "ain"}
    assert "Relearning is left out" in layers["note"]


@pytest.mark.slow
def test_a_study_that_decides_nothing_calls_no_method_forgotten(audited):
    _, facts = audited
    assert not facts["conclusive"]  # 12 models of 20 examples cannot
    methods = [model for model in facts["models"] if model["kind"] == "method"]
    assert {model["verdict"] for model in methods} == {"not concluded"}


@pytest.mark.slow
def test_again_it_is_the_same_but_for_time(audited, tmp_path, monkeypatch):
    """And but for cells of a method of which a model diverged for a harder set."""
    make = shadow_models.measured

    def one_diverges(study, name):
        found = make(study, name)
        if name == "finetune" and study.name == "harder/random":
            found.margins[3] = np.nan
        return found

    monkeypatch.setattr(shadow_models, "measured", one_diverges)
    shutil.copytree(audited[0], tmp_path / audited[0].name)
    again = audit.run(full_config(), tmp_path / audited[0].name).facts
    keys = "tables", "models", "doses", "judged", "exposed", "rates", "why"
    before, after = (schema.plain({k: f[k] for k in keys}) for f in (audited[1], again))
    rows = []
    for facts in before, after:
        (harder,) = [t for t in facts["tables"] if t["id"] == "harder"]
        rows.append({row["model"]: row for row in harder["rows"]})
        harder["rows"] = [r for r in harder["rows"] if r["model"] != "finetune"]
    assert before == after
    known, blank = (found["finetune"]["cells"] for found in rows)
    assert known["random_forget"]["value"] >= 0
    assert blank["random_forget"]["value"] is None
    assert blank["memorised_forget"] == known["memorised_forget"]


@pytest.mark.slow
def test_two_rows_are_added_to_a_finished_audit(audited, tmp_path, accounted):
    """Matching, and a private training beside what attacks show of its epsilon."""
    folder, before = audited
    shutil.copytree(folder, tmp_path / "x")
    more = dict(private=PRIVATE, matching={"epochs": 5})
    facts = audit.run(full_config(**more), tmp_path / "x").facts
    schema.check(json.loads((tmp_path / "x" / "report.json").read_text()))
    names = [model["name"] for model in facts["models"]]
    known = ["original", "retrain", *CONTROLS, "oracle_matching", "dp_sgd"]
    assert names == [*known, "finetune"]
    rows = {model["name"]: model for model in facts["models"]}
    for name in ("oracle_matching", "dp_sgd"):
        assert rows[name]["kind"] == "control" and rows[name]["stress"]
    for model in before["models"]:
        assert rows[model["name"]]["leak"] == model["leak"]
    (epsilon,) = [table for table in facts["tables"] if table["id"] == "epsilon"]
    cells = {row["model"]: row["cells"] for row in epsilon["rows"]}
    assert cells["dp_sgd"]["certified"]["value"] == 8.0
    assert "certified" not in cells["finetune"]
    with pytest.raises(InputError, match=r"audit.private.epsilon: 8.0 there, 3.0 now"):
        more["private"] = PRIVATE | {"epsilon": 3.0}
        audit.run(full_config(**more), tmp_path / "x")


@pytest.mark.parametrize(
    "name, message",
    [
        ("influence+finetune", "cannot be audited"),
        ("scrubb", "unknown method 'scrubb': did you mean scrub?"),
    ],
)
def test_what_no_study_can_answer_is_refused(name, message, tmp_path):
    config = audit_config()
    config.run = ("finetune", name)
    with pytest.raises(InputError, match=message):
        audit.run(config, tmp_path)


def test_a_method_for_classes_is_refused_where_examples_are_requested(tmp_path):
    config = audit_config()
    config.run = ("unsir",)
    with pytest.raises(InputError, match="forgets whole classes only"):
        audit.run(config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(models=5), "audit.models must be at least 12; it is 5"),
        (dict(chunk=-1), "audit.chunk must be at least 1"),
        (dict(targets=19), "audit.targets must be at least 20; it is 19"),
        (dict(examples=19), "audit.examples must be at least 20"),
        (dict(kept=5), "audit.kept must be an even number"),
        (dict(canaries=16), "audit.canaries must be 0, .* or a multiple of 3; it is"),
        (dict(stress_models=9), "audit.stress_models must be at least 12; it is 9"),
        (
            dict(trained_models=6),
            "trained_models must be a multiple of 6, from 12",
        ),
        (dict(tolerance=0.0), "audit.tolerance must be above 0 and below 1"),
        (dict(background=-0.5), "audit.background must be above 0"),
        (dict(seed=-1), "audit.seed"),
        (dict(layers={"relearning": {"batch_size": 0}}), "relearning.batch_size must"),
        (
            dict(harder={"models": 0, "membership": True}),
            "harder.membership must be False where harder.models is 0; it is True",
        ),
        (
            dict(harder={"models": 4}),
            "harder.models must be 0, .* to request_models, 12; it is 4",
        ),
        (dict(harder={"models": 13}), "harder.models must be 0, .*; it is 13"),
        (dict(matching={"epochs": -1}), "audit.matching.epochs must be at least 0"),
        (dict(matching={"batch_size": 0}), "matching.batch_size must be at least 1"),
        (dict(matching={"learning_rate": -1.0}), "audit.matching.learning_rate must"),
        (dict(matching={"decay_rate": 0.0}), "matching.decay_rate must be above 0"),
        (dict(matching={"decay_rate": 1.5}), "decay_rate must be above 0, to 1; it is"),
        (dict(harder={"count": 1}), "harder.count must be 0 or at least 2"),
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


def test_models_of_a_study_that_diverged():
    kept = {name: Measured(np.zeros((2, 2)), None, 0.0) for name in ("a", "b")}
    broken = Measured(np.full((2, 2), np.nan), None, 0.0)
    assert finite(kept | {"ssd": broken}) == (kept, ["ssd"])
    with pytest.raises(InputError, match="no_op diverged"):
        finite(kept | {"no_op": broken})


def test_what_to_lower_where_a_row_that_was_asked_for_diverged():
    broken = Measured(np.full((2, 2), np.nan), None, 0.0)
    left, names = finite({MATCHING: broken, controls.PRIVATE: broken})
    line = pipeline.diverged_message([*names, "finetune"])
    settings = flat(audit_config().to_dict())
    for setting in ("audit.matching.learning_rate", "audit.private.learning_rate"):
        assert setting in line and setting in settings
    assert not left and "methods.finetune.learning_rate" in line
    assert "methods.oracle" not in line and "methods.dp_sgd" not in line


def test_the_sentence_that_decided_is_printed(capsys):
    because = [
        "AUC of RMIA: 0.510 (0.500 to 0.520): within.",
        "Found: 4.0 %: inconclusive, about 300 models with as many times the examples "
        "would settle it.",
    ]
    models = [
        {"name": "ssd", "verdict": "inconclusive", "because": because},
        {"name": "retrain", "verdict": "within", "because": because},
    ]
    print_findings({"models": models, "conclusive": True, "why": "so"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(because[1]) and lines[1].endswith(because[0])


@pytest.mark.slow
def test_what_another_audit_kept_is_refused(audited, tmp_path):
    """Chunks of another model, and studies of a run with other settings."""
    folder = tmp_path / "small"
    shutil.copytree(audited[0], folder)
    shadow = folder / "studies" / "shadow"
    for path in (shadow / "retrain").iterdir():
        shutil.copy(path, shadow / "finetune" / path.name)
    with pytest.raises(InputError, match="finetune.* is of another run or model"):
        audit.run(full_config(), folder)
    config = full_config()
    config.train.learning_rate, config.seeds = 0.01, 1
    other = tmp_path / "other"
    shutil.copytree(audited[0] / "studies", other / "studies")
    with pytest.raises(InputError, match="without a config.json"):
        audit.run(config, other)
    shutil.rmtree(other)
    pipeline.prepare(config, other, config.run).lock.release()
    shutil.copytree(audited[0] / "studies", other / "studies")
    with pytest.raises(InputError, match="of other sets or of another version"):
        audit.run(config, other)
