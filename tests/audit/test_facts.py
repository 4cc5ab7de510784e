"""What the page says beside the numbers of the attacks."""

import hashlib
import hmac
import json
import stat
from types import SimpleNamespace

import numpy as np
import pytest
from page_facts import make_facts, one_class, one_example, released
from small_runs import small_config

from unlearn import audit, pipeline, store
from unlearn.audit import facts
from unlearn.audit.config import named_release
from unlearn.errors import InputError
from unlearn.report import schema


def test_the_conclusion_is_about_the_request():
    said = make_facts(4)["conclusion"]
    assert said.startswith("finetune forgets the 129 requested examples. With it ")
    assert said.endswith("scrub is undecided; salun and ssd fail.")
    page = make_facts(4)
    for one in page["models"]:  # of those that fail nothing more need be said
        one["stress"] = {"verdict": "outside"}
    said = facts.conclude(page)
    assert "tolerances. Planted examples are still known after finetune. scr" in said
    said = make_facts(32)["conclusion"]
    assert said.startswith("3 of 32 methods forget the 129 requested examples: duck, ")
    assert said.endswith("bad_teacher are undecided; 26 methods fail.")
    assert len(said) < 300
    assert make_facts(1)["conclusion"] == (
        "ssd is not shown to forget the 129 requested examples and to be as accurate "
        "as retraining. ssd fails."
    )
    said = make_facts(2)["conclusion"]
    assert said.startswith("None of 2 methods is shown to forget the 129 requested")
    alone = [one for one in make_facts()["models"] if one["kind"] != "method"]
    said = facts.conclude(make_facts() | {"models": alone})
    assert said == "No method was asked to forget the 129 requested examples."


def test_the_conclusion_names_release_divergence_and_wrong_controls():
    page = released(make_facts())
    assert page["conclusion"].startswith("Released: finetune/0, within. finetune forg")
    said = facts.conclude(released(page, "salun"), ["delete", "lfssd"])
    assert said.startswith("Released: salun/0, outside.")
    assert said.endswith("Not judged, because they diverged: delete and lfssd.")
    page["models"][2]["verdict"] = "within"
    assert "came out as it must: no_op." in facts.conclude(page)


def test_the_conclusion_says_how_many_of_the_requested_were_attacked():
    page = make_facts()
    page["judged"] |= {"requested": 1000, "examples": 300}
    assert facts.conclude(page).startswith(
        "finetune forgets the 1000 requested examples (judged on 300 of them). With it "
    )
    assert "judged on" not in make_facts()["conclusion"]


def test_a_release_that_diverged_is_withdrawn_in_words():
    said = facts.conclude(make_facts(), ["delete"], "delete/1")
    assert said.endswith(
        "they diverged: delete. delete/1, which was to be released, is one of them: "
        "none is."
    )
    assert "was to be" not in facts.conclude(make_facts(), ["delete"], "finetune/0")


@pytest.mark.parametrize(
    ("classes", "canaries", "counts"),
    [
        ([], 75, {"shadow": 144, "request": 66, "stress": 60, "harder": 12}),
        ([], 0, {"shadow": 144, "request": 66, "harder": 12}),
        ([3], 75, {"request": 66, "stress": 60}),
    ],
)
def test_models_are_counted_of_the_studies_that_were_made(classes, canaries, counts):
    section = audit.default_audit("test")
    section.canaries, section.stress_models = canaries, 60
    run = SimpleNamespace(
        config=SimpleNamespace(audit=section),
        problem=SimpleNamespace(forget_classes=np.array(classes)),
    )
    assert facts.study_models(run) == counts


def test_nothing_is_concluded_where_nothing_can_be():
    page = make_facts() | {"conclusive": False, "why": "retraining fails the audit"}
    assert facts.conclude(page) == (
        "Nothing can be concluded about the 129 requested examples: retraining fails "
        "the audit."
    )
    assert one_example(page)["conclusion"] == (
        "Not concluded. One example was requested: nothing is concluded about it."
    )


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "split.npz", forget=np.array([7, 3, 300]))
    return tmp_path


def test_the_hash_of_the_indices_is_salted(folder):
    found = facts.salted_hash(folder)
    path = folder / "salt.json"
    salt = bytes.fromhex(json.loads(path.read_text())["salt"])
    assert len(salt) == 32 and stat.S_IMODE(path.stat().st_mode) == 0o600
    text = b"".join(one.to_bytes(8, "little") for one in (3, 7, 300))
    assert found == hmac.new(salt, text, hashlib.sha256).hexdigest()
    assert facts.salted_hash(folder) == found
    np.savez(folder / "split.npz", forget=np.array([300, 7, 3]))
    assert facts.salted_hash(folder) == found
    path.unlink()
    assert facts.salted_hash(folder) != found


@pytest.mark.parametrize("text", ["{}", '{"salt": 5}', '{"salt": "no hex"}', "["])
def test_a_damaged_salt_is_refused(folder, text):
    (folder / "salt.json").write_text(text)
    with pytest.raises(InputError, match=r"salt\.json"):
        facts.salted_hash(folder)


def test_ids_are_on_no_page_that_hides_them(tmp_path):
    saved = {"forget": {"ids": ["a.png", "b.png"], "seed": 3}, "methods": {}, "x": 1}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert facts.settings(tmp_path) == {
        "forget.ids": "2 not shown",
        "forget.seed": 3,
        "x": 1,
    }
    command = "python launch.py --config.forget.ids='a.png,b c.png' --workdir=runs"
    assert facts.without_ids(command) == (
        "python launch.py --config.forget.ids=IDS --workdir=runs"
    )
    plain = "unlearn --config.audit.reason='request 17'"
    assert facts.without_ids(plain).replace("'", "") == plain.replace("'", "")


def test_the_released_checkpoint_is_one_of_the_run():
    names = "ssd", "influence+finetune"
    assert named_release("", names, 2) is None
    with pytest.raises(InputError, match="keeps no checkpoint of sisa; answer"):
        named_release("sisa/0", (*names, "sisa"), 2)
    assert named_release("ssd/1", names, 2) == ("ssd", 1)
    assert named_release("influence+finetune/0", names, 2)[0] == "influence+finetune"
    assert named_release("retrain/0", names, 2) == ("retrain", 0)
    for text in ("ssd", "ssd/2", "ssd/", "/0", "original/0", "ssd/-1", "ssd/01", "x/0"):
        with pytest.raises(InputError, match="names no model of this run.* ssd/0") as e:
            named_release(text, names, 2)
        assert "\n" not in str(e.value)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    config = small_config(run=("finetune",), export="npz")
    with config.unlocked():
        config.audit = audit.default_audit("test")
    return pipeline.run(config, tmp_path_factory.mktemp("facts") / "small")


STUDIED = "models", "doses", "judged", "exposed", "rates", "conclusive", "why"


def assembled(result, page):
    studied = {key: page[key] for key in STUDIED}
    found = facts.assemble(result, ["finetune"], studied, page["tables"], ["salun"])
    found["run"]["seconds"] = 1.0
    schema.check(found)
    return found


@pytest.mark.slow
def test_the_facts_fit_the_schema(result):
    config = result.run.config
    found = assembled(result, make_facts())
    assert found["conclusion"].endswith("because they diverged: salun.")
    assert "forgotten it or never saw it" in " ".join(found["threat"])
    by_class = assembled(result, one_class(make_facts()))["threat"]
    assert "its class was unlearned" in " ".join(by_class)
    assert found["released"] is None and set(found["document"].values()) == {""}
    assert found["request"]["salted_sha256"] == facts.salted_hash(result.run.folder)
    manifest = store.read_json(result.run.folder / "manifest.json")
    text = json.dumps(found)
    assert manifest["forget"]["sha256"] not in text
    config.audit.release = "finetune/0"
    config.audit.document.reviewed_by = "B. Reader"
    config.audit.release = "salun/0"  # it diverged
    found = assembled(result, make_facts())
    assert found["released"] is None
    assert found["conclusion"].endswith(
        "salun/0, which was to be released, is one of them: none is."
    )
    config.audit.release = "delete/0"
    with pytest.raises(InputError, match="names no model of this run"):
        assembled(result, make_facts())
    config.audit.release = "finetune/0"
    found = assembled(result, make_facts())
    assert found["conclusion"].startswith("Released: finetune/0, within.")
    release = found["released"]
    assert release["file"] == "export/finetune/0.npz"
    data = (result.run.folder / release["file"]).read_bytes()
    assert release["file_sha256"] == hashlib.sha256(data).hexdigest()
    (checkpoint,) = [
        one
        for one in found["checkpoints"]
        if (one["model"], one["seed"]) == ("finetune", 0)
    ]
    assert checkpoint["sha256"] == release["sha256"]
    assert (result.run.folder / release["path"]).is_dir()
    assert found["document"]["reviewed_by"] == "B. Reader"


@pytest.mark.slow
def test_release_and_document_can_be_named_later(result):
    """They are no part of what the results depend on."""
    config = result.run.config.copy_and_resolve_references()
    before = pipeline.setup.saved_config(config, ("finetune",))
    config.audit.release, config.audit.document.due = "finetune/0", "tomorrow"
    assert pipeline.setup.saved_config(config, ("finetune",)) == before
