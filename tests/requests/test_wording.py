"""The sentences that are signed."""

import pytest

from unlearn.requests import wording

ENTRY = {
    "version_before": 3,
    "weights": {"before": "a", "after": "b"},
    "retrained": {
        "shards": 1,
        "slices": 2,
        "retrained_examples": 1200,
        "full_examples": 9000,
    },
}
SETTINGS = {
    "methods": {"sisa": {"shards": 5, "slices": 4}, "retrain_short": {"epochs": 2}},
    "train": {"epochs": 7},
}


def measured(count):
    return {"accuracy": {"forget": {"examples": count}}}


def work(method, entry=ENTRY, trained=True):
    return wording.work(method, trained, entry, 500, SETTINGS)


def test_what_was_done_is_said_by_method():
    assert "1 of 5 shards" in work("sisa") and "2 of 20 slices" in work("sisa")
    assert "1,200" in work("sisa") and "9,000" in work("sisa")
    assert "500 training examples" in work("retrain") and "7 epochs" in work("retrain")
    assert "for 2 epochs" in work("retrain_short")
    assert "a+b was run on the weights of version 3" in work("a+b")
    assert "nothing was trained again" in work("sisa", trained=False)
    assert "Newton" in work("certified")
    anew = ENTRY | {"retrained": {"retrained": True}}
    assert "budget was used up" in work("certified", anew)


def test_a_method_that_changed_nothing_is_told_on():
    same = ENTRY | {"weights": {"before": "a", "after": "a"}}
    assert "changed nothing" in work("finetune", same)
    assert "changed nothing" not in work("finetune")


def test_guarantees_are_told_apart():
    pair = 0.5, 1e-4
    certified = wording.guarantee("certified", "certified", {"spent": 0.25}, pair)
    assert "ε = 0.5" in certified and "25.0%" in certified
    assert "Whoever saw the version before is not covered" in certified
    anew = wording.guarantee("certified", "certified", {"retrained": True}, pair)
    assert "solved anew" in anew
    noisy = wording.guarantee("noisy_finetune", "certified", {"noise": 0.1}, pair)
    assert "ε = 0.5" in noisy and "noisy steps" in noisy and "budget" not in noisy
    assert wording.guarantee("sisa", "exact", {}).startswith("Exact: the weights")
    assert wording.guarantee("retrain", "exact", {}).startswith("Exact: the model")
    assert "no guarantee" in wording.guarantee("amnesiac", "none", {})


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "not measured"), (1, "With one example"), (5, "With 5 examples")],
)
def test_what_few_examples_cannot_show_is_said(count, words):
    assert any(words in s for s in wording.not_shown(measured(count), "none"))
    enough = wording.not_shown(measured(50), "none")
    assert not any(words in s for s in enough)


def test_what_still_depends_is_listed_by_kind():
    for kind, words in (("none", "has not forgotten"), ("certified", "within ε")):
        listed = wording.still_depends(kind, True, "folder:/d")
        assert any(words in one for one in listed)
        assert any("folder:/d" in one for one in listed)
    assert not any("new weights" in x for x in wording.still_depends("exact", True, ""))


def test_exact_is_said_of_other_versions_without_bits():
    said = wording.guarantee("sisa", "exact", {}, None, "jax: 1 then, 2 now")
    assert said.startswith("Exact: no weights in use were ever trained on")
    assert "jax: 1 then, 2 now" in said and "bit for bit" not in said


@pytest.mark.parametrize("kind", ["exact", "certified", "none"])
def test_weights_do_not_depend_on_what_was_not_trained_on(kind):
    listed = " ".join(wording.still_depends(kind, False, "folder:/d"))
    assert "eights" not in listed and "purge" in listed and "folder:/d" in listed


def test_weights_that_were_imported_are_named():
    listed = wording.still_depends("exact", True, "folder:/d", "/mine.safetensors")
    assert any("/mine.safetensors" in one for one in listed)


def test_a_certificate_says_for_which_requests_it_is():
    for kind in ("exact", "none", "certified"):
        found = any("nobody chose" in s for s in wording.not_shown(measured(3), kind))
        assert found == (kind == "certified")
