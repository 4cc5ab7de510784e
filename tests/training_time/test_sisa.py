"""What SISA promises: the very model that was never shown the examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_data
from training_time_cases import KEY, SETTINGS
from trees import assert_close, assert_equal, distance

from unlearn import InputError
from unlearn.training_time import costs, sisa


@pytest.mark.parametrize("kind", ["problem", "norm_problem"])
@pytest.mark.parametrize("requests", [[[5]], [[5, 11, 30]], [[30], [5, 6], [11]]])
def test_sisa_is_a_model_that_never_saw_the_examples(kind, requests, request):
    """Bit by bit: other images in their place, and training without them."""
    problem = request.getfixturevalue(kind)
    state = sisa.fit(KEY, problem, **SETTINGS["sisa"])
    gone = np.concatenate(requests)
    for indices in requests:
        state, _ = sisa.forget(jax.random.key(9), state, indices)
    images, labels = np.array(problem.images), np.array(problem.labels)
    images[gone], labels[gone] = 255 - images[gone], (labels[gone] + 1) % 3
    other = problem.replace(images=jnp.asarray(images), labels=jnp.asarray(labels))
    kept = np.setdiff1d(np.arange(40), gone)
    never = sisa.fit(KEY, other, indices=kept, **SETTINGS["sisa"])
    assert_equal(state.checkpoints, never.checkpoints)
    unseen, _ = tiny_data(25, seed=4)
    assert_equal(sisa.predict(state, unseen), sisa.predict(never, unseen))
    shown = sisa.fit(KEY, other, **SETTINGS["sisa"])
    assert distance(shown.checkpoints, never.checkpoints) > 1e-3


def test_sisa_retrains_the_later_slices_of_one_shard_only(problem, monkeypatch):
    settings = SETTINGS["sisa"] | dict(slices=4, epochs=5)
    state, trained, real = None, [], sisa.train_slice

    def counting(key_bits, variables, problem, members, part, epochs, *args):
        trained.append((*map(int, part), len(members) * int(epochs), set(members)))
        return real(key_bits, variables, problem, members, part, epochs, *args)

    monkeypatch.setattr(sisa, "train_slice", counting)
    state = sisa.fit(KEY, problem, **settings)
    assert [t[:2] for t in trained] == [(s, r) for s in range(3) for r in range(4)]
    assert trained[3][3] == set(np.flatnonzero(state.shard == 0))
    victim = int(np.flatnonzero((state.shard == 1) & (state.slice == 2))[0])
    trained.clear()
    after, info = sisa.forget(KEY, state, [victim])
    assert [t[:2] for t in trained] == [(1, 2), (1, 3)]
    assert not any(victim in t[3] for t in trained)
    assert info["shards"] == 1 and info["slices"] == 2
    assert info["retrained_examples"] == sum(t[2] for t in trained)
    assert info["full_examples"] == 5 * 39
    for s in range(3):
        for r in range(4):
            same = after.checkpoints[s][r] is state.checkpoints[s][r]
            assert same == ((s, r) not in [(1, 2), (1, 3)])


def test_sisa_balances_the_classes_of_who_is_left(problem):
    """Class weights do not remember who is gone, and add up to the same a class."""
    settings = SETTINGS["sisa"] | dict(balance=True)
    state, _ = sisa.forget(KEY, sisa.fit(KEY, problem, **settings), [5, 11, 30])
    kept = np.setdiff1d(np.arange(40), [5, 11, 30])
    never = sisa.fit(KEY, problem, indices=kept, **settings)
    assert_equal(state.checkpoints, never.checkpoints)
    plain = sisa.fit(KEY, problem, indices=kept, **SETTINGS["sisa"])
    assert distance(plain.checkpoints, never.checkpoints) > 1e-3
    weights, labels = sisa.class_weights(problem, kept), np.asarray(problem.labels)
    totals = np.bincount(labels[kept], weights[kept])
    np.testing.assert_allclose(totals, len(kept) / 3, rtol=1e-6)


def test_sisa_compiles_one_program(problem):
    settings = SETTINGS["sisa"] | dict(batch_size=5)
    state = sisa.fit(KEY, problem, **settings)
    before = sisa._run._cache_size()
    for i in range(6):
        state, _ = sisa.forget(KEY, state, [3 * i, 3 * i + 1])
    assert sisa._run._cache_size() == before


def test_sisa_assignment_is_balanced_and_ignores_the_data():
    shard, part = sisa.assign(costs.common.key_bits(KEY), 103, 4, 5)
    counts = np.zeros((4, 5), int)
    np.add.at(counts, (shard, part), 1)
    assert counts.min() == 5 and counts.max() == 6
    assert np.abs(np.corrcoef(shard, np.arange(103))[0, 1]) < 0.3


@pytest.mark.parametrize("slices", [1, 2, 3, 5, 8])
def test_slice_epochs_add_up_to_the_average_rule(slices):
    for epochs in range(-(-(slices + 1) // 2), 30):
        each = sisa.slice_epochs(epochs, slices)
        exact = 2 * epochs / (slices + 1)
        assert each.min() >= 1 and np.abs(each - exact).max() < 1
        assert 0 <= exact * slices - each.sum() < 1
    with pytest.raises(InputError, match="fewer slices"):
        sisa.slice_epochs((slices + 1) // 2 - 1, slices)


def test_votes():
    """Two weak votes beat a sure one by majority, not by probability."""
    logits = jnp.log(
        jnp.array([[[0.6, 0.4]], [[0.6, 0.4]], [[0.01, 0.99]], [[0.5, 0.5]]])
    )[:3]
    winners = {v: int(sisa.aggregate(logits, v).argmax()) for v in sisa.VOTES}
    assert winners == {"majority": 0, "probability": 1, "logit": 1}
    shares = np.exp(sisa.aggregate(logits, "majority"))[0]
    np.testing.assert_allclose(
        shares, (np.array([2, 1]) + [0.40333, 0.59667]) / 4, 1e-4
    )
    tie = int(sisa.aggregate(logits[1:], "majority").argmax())
    assert tie == 1


def test_an_emptied_shard_has_no_say(problem):
    state = sisa.fit(KEY, problem, **SETTINGS["sisa"])
    gone = np.flatnonzero(state.shard == 0)
    after, _ = sisa.forget(KEY, state, gone)
    logits = sisa.predict(after, problem.images)
    pair = [
        after.problem.model.apply(m[-1], problem.inputs(jnp.arange(40)))[0]
        for m in after.checkpoints[1:]
    ]
    assert_close(logits, sisa.aggregate(jnp.stack(pair), "majority"), 1e-4, 1e-4)
