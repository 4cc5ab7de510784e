"""An audit from config to page."""

import json

import pytest
from test_studies import audit_config

from unlearn import auditing
from unlearn.errors import InputError
from unlearn.report import page


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "small"
    return folder, auditing.run(audit_config(), folder)


@pytest.mark.slow
def test_the_page_and_the_facts(audited):
    folder, facts = audited
    saved = json.loads((folder / "report.json").read_text())
    page.check(saved)
    text = (folder / "report.html").read_text()
    for words in (saved["conclusion"], saved["request"]["sha256"], "U-LiRA AUC"):
        assert words in text
    assert [t["id"] for t in saved["tables"]] == [
        "usual",
        "per_example",
        "distributional",
        "outputs",
        "layers",
    ]
    assert {m["name"] for m in saved["methods"]} == {"finetune", "gradient_ascent"}
    assert len(saved["figures"]) == 4
    assert (folder / "summary.csv").read_text().startswith("model,status")
    for name in ("per_example", "distributional", "outputs", "layers"):
        assert (folder / f"{name}.csv").exists()


@pytest.mark.slow
def test_harder_forget_sets(tmp_path):
    config = audit_config()
    config.audit.harder.models = 12
    facts = auditing.run(config, tmp_path / "small")
    tables = {table["id"]: table for table in facts["tables"]}
    columns = {c["key"] for c in tables["harder"]["columns"]}
    assert {"memorised_forget", "mislabelled_forget", "confusion"} <= columns
    for row in (*tables["harder"]["rows"], *tables["requests"]["rows"]):
        assert all(0 <= cell["value"] <= 100 for cell in row["cells"].values())
    (original,) = [r for r in tables["requests"]["rows"] if r["model"] == "original"]
    assert original["cells"]["once_test"] == original["cells"]["turn_test"]


@pytest.mark.slow
def test_every_control_is_in_the_tables(audited):
    _, facts = audited
    tables = {t["id"]: {row["model"] for row in t["rows"]} for t in facts["tables"]}
    controls = {control["name"] for control in facts["controls"]}
    assert controls <= tables["per_example"] and controls <= tables["distributional"]
    assert {"original", "retrain", "head_distill", "untrained"} <= tables["layers"]


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
    if not facts["conclusive"]:
        assert {m["verdict"] for m in facts["methods"]} == {"inconclusive"}
        assert facts["conclusion"].startswith("Nothing can be concluded")


@pytest.mark.slow
def test_again_it_is_the_same_but_for_time(audited):
    folder, facts = audited
    again = auditing.run(audit_config(), folder)
    for one in (facts, again):
        one = one | {"created": "", "run": one["run"] | {"seconds": 0}}
        one = page.plain(one)
    keys = "tables", "methods", "controls", "checkpoints", "conclusion"
    assert page.plain({k: facts[k] for k in keys}) == page.plain(
        {k: again[k] for k in keys}
    )


@pytest.mark.parametrize("name", ["unsir", "sisa", "influence+finetune"])
def test_what_shadow_models_cannot_answer_is_refused(tmp_path, name):
    config = audit_config()
    config.run = (name,)
    with pytest.raises(InputError, match="cannot be audited"):
        auditing.run(config, tmp_path)


@pytest.mark.parametrize("models", [4, 13])
def test_how_many_models_harder_sets_may_ask_for(tmp_path, models):
    config = audit_config(models=12)
    config.audit.harder.models = models
    with pytest.raises(
        InputError, match=f"from 12 to audit.models, 12; it is {models}"
    ):
        auditing.run(config, tmp_path)
