"""Games against their attacks by hand; doses that are known."""

import numpy as np
import pytest
from simulated_study import ASKED, MODELS, Config, measurements

from unlearn.audit import games, verdict
from unlearn.metrics import lira, rmia, roc, ruli
from unlearn.metrics.lira import FORGET, OUT
from unlearn.shadows import balanced_states


def test_a_shadow_game_is_of_what_is_forgotten_or_never_seen(shadow):
    game = games.membership(shadow.study, shadow.models["leaky"])
    assert game.margins.shape == game.states.shape == (MODELS, ASKED)
    assert set(np.unique(game.states)) == {OUT, FORGET}
    test = shadow.models["leaky"].margins[:, shadow.study.sets["test"]]
    np.testing.assert_array_equal(game.population, test)
    leak = games.play(game)
    by_hand = {
        "U-LiRA": lira.u_lira(game.margins, game.states),
        "LiRA offline": lira.lira_offline(game.margins, game.states, positive=FORGET),
        "RMIA": rmia.rmia(game.margins, game.states, positive=FORGET, population=test),
    }
    groups = game.states == FORGET, game.states == OUT
    areas = [roc.evaluate(s, *groups, comparisons=3) for s in by_hand.values()]
    assert [one.auc for one in leak.audits.values()] == [one.auc for one in areas]
    ends = np.array([one.auc_interval for one in areas])
    assert leak.leak == (max(one.auc for one in areas), *ends.max(axis=0))
    assert leak.found.value == max(one.tpr_at_1fpr for one in leak.audits.values())


def test_an_attack_with_a_wide_interval_keeps_it_open(shadow, monkeypatch):
    """The interval of the largest value is not that of the attack that has it."""
    game = games.membership(shadow.study, shadow.models["clean"])
    sure = games.play(game)
    one = sure.audits["U-LiRA"]._replace(
        auc=0.5,
        auc_interval=(0.3, 0.7),
        tpr_at_1fpr=0.0,
        tpr_at_1fpr_interval=(0.0, 0.4),
    )
    audits = sure.audits | {"wide": one}
    monkeypatch.setattr(games, "attack_all", lambda *_: audits)
    leak = games.play(game)
    assert leak.attack == sure.attack
    assert leak.leak == (*sure.leak[:2], 0.7)
    assert leak.found == (*sure.found[:2], 0.4)


def test_of_fewer_models_the_first_states_are_used(shadow):
    few = shadow.models["leaky"]._replace(
        margins=shadow.models["leaky"].margins[:24], predictions=None
    )
    game = games.membership(shadow.study, few)
    assert game.states.shape == (24, ASKED)
    np.testing.assert_array_equal(game.states, shadow.study.states[:24, :ASKED])


def test_what_is_too_unsure_is_found_as_well():
    """LiRA offline scores it low: read backwards, it is the strongest attack."""
    made = measurements("shadow", leaks={"modest": -1.0})
    leak = games.play(games.membership(made.study, made.models["modest"]))
    assert min(one.auc for one in leak.audits.values()) > 0.6
    assert leak.audits["LiRA offline"].auc == leak.leak.value


def test_a_class_game_is_unlearned_against_retrained_models():
    study, models = measurements("request", of_class=(1,))
    game = games.efficacy(study, models["leaky"], models["retrain"])
    assert game.margins.shape == (2 * MODELS, ASKED) and game.of_classes
    leak = games.play(game)
    assert set(leak.audits) == {"Gaussian ratio", "kernel ratio"}
    groups = game.states == FORGET, game.states == OUT
    scores = ruli.ruli_privacy(game.margins, game.states)
    assert leak.audits["kernel ratio"].auc == roc.auc(scores, *groups)
    assert leak.leak.low > 0.6 and leak.whole.low > 0.9
    same = games.play(games.efficacy(study, models["oracle"], models["retrain"]))
    assert same.leak.low < 0.5 < same.leak.high


def test_doses_leave_a_known_part_as_it_was(judgement):
    retrained, original = (judgement.played[n] for n in ("retrain", "original"))
    left = np.array([3, 8])
    mixed = games.composite(retrained, original, left)
    forgotten = retrained.states == FORGET
    for column in range(ASKED):
        source = original if column in left else retrained
        rows = forgotten[:, column]
        np.testing.assert_array_equal(
            mixed.margins[rows, column], source.margins[rows, column]
        )
        np.testing.assert_array_equal(
            mixed.margins[~rows, column], retrained.margins[~rows, column]
        )


def test_the_audit_sees_the_doses_that_it_must(judgement):
    names = [*games.DOSES, "the 12 most memorised left"]
    assert list(judgement.doses) == names
    verdicts = {name: judged.verdict for name, (_, judged) in judgement.doses.items()}
    assert verdicts["0 % left"] == "within"
    for name in names[2:]:
        assert verdicts[name] == "outside", name
    rising = [judgement.doses[name][0].leak.value for name in games.DOSES]
    assert rising == sorted(rising)


def test_the_most_memorised_are_those_that_training_raises_most():
    made = measurements("shadow")
    game = games.membership(made.study, made.models["retrain"])
    forgotten = game.states == FORGET
    game.margins[:, [5, 40, 17]] += np.array([9, 6, 3]) * forgotten[:, [5, 40, 17]]
    assert games.most_memorised(game, 3).tolist() == [5, 40, 17]
    scaled = game._replace(margins=game.margins * np.linspace(1, 5, ASKED))
    assert games.most_memorised(scaled, 3).tolist() == [5, 40, 17]


def test_the_most_memorised_are_in_deviations_of_never_seen_models():
    """However much the models differ that have seen them."""
    rng = np.random.default_rng(0)
    states = np.repeat([[FORGET], [OUT]], 40, axis=0) * np.ones((1, 3), int)
    margins = rng.normal(size=states.shape)
    seen = states == FORGET
    margins = np.where(seen, margins * [5, 1, 1] + [4, 3, 2], margins * [1, 1, 0.1])
    game = games.Game(margins, states, np.zeros((80, 1)))
    assert games.most_memorised(game, 3).tolist() == [2, 0, 1]


def test_models_with_one_answer_to_everything_are_within():
    states = balanced_states(np.random.default_rng(0), 60, 60, (OUT, FORGET))
    game = games.Game(np.ones(states.shape), states, np.ones((60, 30)))
    leak = games.play(game)
    allowed = verdict.Tolerances(0.025, 0.01, 0.01, 0, 0)
    assert verdict.judge_leak(leak, allowed, 60)[0].verdict == "within"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("models", "examples", "roles", "least"),
    [
        (144, 130, (OUT, FORGET), 0.9),  # against the least tolerances there are
        (66, 75, (OUT, lira.RETAIN, FORGET), 0.8),  # a stress study with a plain leak
    ],
)
def test_retraining_is_within(models, examples, roles, least):
    """Nothing is left: with these numbers of models that is also shown."""
    auc, found = (0.5, 0.01) if len(roles) == 2 else (1.0, 1.0)
    one = [games.Estimate(v, v, v) for v in (auc, found, 0.99)]
    original = games.Leak(one[0], "", one[1], one[2], {})
    allowed = verdict.tolerances(original, Config)
    rng, within = np.random.default_rng(0), []
    for _ in range(20):
        states = balanced_states(rng, models, examples, roles)
        margins = rng.normal(size=states.shape) + rng.normal(0, 0.3, (models, 1))
        margins = margins * rng.uniform(0.5, 2, examples) + rng.normal(-3, 2, examples)
        population = rng.normal(3, 2, 200) + rng.normal(size=(models, 200))
        game = games.Game(margins, states, population)
        leak = games.play(game, whole=len(roles) == 2)
        judged, _ = verdict.judge_leak(leak, allowed, models)
        within.append(judged.verdict == "within")
    assert np.mean(within) >= least
