"""What all per-example attacks have in common: floors, known values, relations."""

import numpy as np
import pytest
from attack_studies import (
    ATTACKS,
    audit,
    every_attack,
    study,
)
from scipy import stats

from unlearn.errors import InputError
from unlearn.metrics.lira import (
    FORGET,
    OUT,
    RETAIN,
    lira_online,
)
from unlearn.metrics.rmia import rmia
from unlearn.metrics.roc import evaluate
from unlearn.metrics.ruli import ruli_privacy


@every_attack
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.slow
def test_nothing_is_found_where_nothing_is(attack, balanced):
    rng = np.random.default_rng(16)
    size = 12 if balanced else 18
    results = [
        audit(attack, *study(rng, size, 40, balanced=balanced)) for _ in range(80)
    ]
    aucs, floor = np.array([r.auc for r in results]), results[0].null_sd
    assert abs(aucs.mean() - 0.5) < 4 * 1.5 * floor / np.sqrt(len(aucs))
    assert 0.5 < aucs.std() / floor < 1.8


@pytest.mark.parametrize("shift", [0.5, 1.5])
@pytest.mark.parametrize(
    "name", ["lira_online", "lira_global", "lira_offline", "bavaria"]
)
def test_shifted_gaussians_have_the_known_auc(name, shift):
    rng = np.random.default_rng(19)
    x, states = study(rng, 300, 60, shift, spread=(1, 1))
    result = audit(ATTACKS[name], x, states)
    exact = stats.norm.cdf(shift / np.sqrt(2))
    assert result.auc == pytest.approx(exact, abs=0.025)
    if name != "bavaria":
        power = stats.norm.sf(stats.norm.isf(0.01) - shift)
        assert result.tpr_at_1fpr == pytest.approx(power, rel=0.35)


@every_attack
def test_a_larger_shift_is_found_more_often(attack):
    rng = np.random.default_rng(21)
    aucs = []
    for shift in (0, 1, 2, 4):
        x, states = study(rng, 30, 100, shift)
        aucs.append(audit(attack, x, states).auc)
    assert aucs == sorted(aucs)
    assert aucs[0] < 0.55
    assert aucs[-1] > 0.8


@pytest.mark.parametrize("name", [n for n in ATTACKS if "rmia" not in n])
def test_only_differences_of_margins_matter(name):
    x, states = study(np.random.default_rng(22), 15, 20, 1.0)
    ours = ATTACKS[name](x, states)
    shift = 5.0 if name == "bavaria" else np.arange(20.0) * 10
    np.testing.assert_allclose(ATTACKS[name](x + shift, states), ours, atol=1e-6)


@pytest.mark.parametrize("name", ["lira_online", "lira_global", "bavaria", "ruli"])
def test_swapping_the_groups_turns_the_sign(name):
    x, states = study(np.random.default_rng(23), 15, 20, 1.0)
    swapped = np.array([FORGET, RETAIN, OUT])[states]
    expected = -ATTACKS[name](x, states)
    np.testing.assert_allclose(ATTACKS[name](x, swapped), expected, atol=1e-9)


@every_attack
def test_the_order_of_examples_does_not_matter(attack):
    x, states = study(np.random.default_rng(24), 12, 20, 1.0)
    order = np.random.default_rng(0).permutation(20)
    expected = attack(x, states)[:, order]
    np.testing.assert_allclose(
        attack(x[:, order], states[:, order]), expected, atol=1e-9
    )


@every_attack
def test_scores_are_nan_exactly_where_there_is_nothing_to_compare(attack):
    x, states = study(np.random.default_rng(25), 12, 40)
    states[:, 0] = [FORGET] * 2 + [OUT] * 10  # two unlearned
    states[:, 1] = [FORGET] * 10 + [OUT] * 2  # two never seen
    states[:, 2] = RETAIN
    scores = attack(x, states)
    offline = attack in (ATTACKS["lira_offline"], ATTACKS["rmia_offline"])
    assert np.isnan(scores[:, 0]).all() != offline
    assert np.isnan(scores[:, 1:3]).all()
    np.testing.assert_array_equal(np.isnan(scores[:, 3:]), (states[:, 3:] == RETAIN))


@every_attack
def test_deterministic_models_have_finite_scores(attack):
    """Constant margins; Gaussians on 0/1 correctness divide by their deviation of 0."""
    _, states = study(np.random.default_rng(26), 12, 30)
    pairs = states != RETAIN
    alike = np.broadcast_to(np.linspace(-3, 40, 30), states.shape)
    scores = attack(alike, states)
    assert np.isfinite(scores[pairs]).all()
    result = evaluate(scores, states == FORGET, states == OUT)
    ranks = attack is ATTACKS["rmia_offline"]  # those of examples, a little uneven
    assert result.auc == pytest.approx(0.5, abs=0.02 if ranks else 1e-6)
    apart = alike + 3 * (states == FORGET)
    scores = attack(apart, states)
    assert np.isfinite(scores[pairs]).all()
    result = evaluate(scores, states == FORGET, states == OUT)
    ranks = attack in (ATTACKS["rmia"], ATTACKS["rmia_offline"])
    assert result.auc > (0.6 if ranks else 0.95)


@every_attack
def test_attacks_refuse_what_they_cannot_use(attack):
    x, states = study(np.random.default_rng(28), 9, 5)
    broken = x.copy()
    broken[4, 3] = np.nan
    cases = [
        ((x[0], states[0]), "alike"),
        ((x, states[:, :3]), "alike"),
        ((broken, states), r"model and example \[4 3\] is not finite"),
        ((x, np.where(states == OUT, RETAIN, states)), "state 0"),
        ((x, np.where(states == FORGET, RETAIN, states)), "state 2"),
        ((x, states + 1), "none of OUT"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            attack(*arguments)


def test_options_are_checked():
    x, states = study(np.random.default_rng(29), 9, 5)
    cases = [
        (lambda: lira_online(x, states, positive=OUT), "positive is"),
        (lambda: lira_online(x, states, variance="all"), "variance is"),
        (lambda: rmia(x, states, gamma=0), "gamma"),
        (lambda: rmia(x, states, offline=True, a=1.5), "gamma"),
        (lambda: rmia(x, states, population=x[:3]), "population must be"),
        (lambda: rmia(x, states, population=np.full((9, 2), np.inf)), "not finite"),
        (lambda: ruli_privacy(x, states, bandwidth=0), "bandwidth"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
