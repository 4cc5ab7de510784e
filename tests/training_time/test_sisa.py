"""What SISA promises: the very model that was never shown the examples."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plain_model, tiny_data
from training_time_cases import KEY, SETTINGS
from trees import assert_close, assert_equal, distance

from unlearn import InputError
from unlearn.inputs import Standardize
from unlearn.training_time import costs, sisa, slice_training


@pytest.mark.parametrize("kind", ["problem", "norm_problem"])
@pytest.mark.parametrize("requests", [[[5]], [[5, 11, 30]], [[30], [5, 6], [11]]])
def test_sisa_is_a_model_that_never_saw_the_examples(kind, requests, request):
    """Bit by bit: other images in their place, and training without them."""
    problem = request.getfixturevalue(kind)
    state = sisa.fit(KEY, problem, **SETTINGS["sisa"])
    gone = np.concatenate(requests)
    for indices in requests:
        state, _ = sisa.forget(jax.random.key(9), state, indices)
    images, labels = np.array(problem.examples), np.array(problem.labels)
    images[gone], labels[gone] = 255 - images[gone], (labels[gone] + 1) % 3
    other = problem.replace(examples=jnp.asarray(images), labels=jnp.asarray(labels))
    kept = np.setdiff1d(np.arange(40), gone)
    never = sisa.fit(KEY, other, indices=kept, **SETTINGS["sisa"])
    assert_equal(state.checkpoints, never.checkpoints)
    unseen, _ = tiny_data(25, seed=4)
    assert_equal(sisa.predict(state, unseen), sisa.predict(never, unseen))
    shown = sisa.fit(KEY, other, **SETTINGS["sisa"])
    assert distance(shown.checkpoints, never.checkpoints) > 1e-3


def test_sisa_retrains_the_later_slices_of_one_shard_only(problem, monkeypatch):
    settings = SETTINGS["sisa"] | dict(slices=4, epochs=5)
    state, trained, real = None, [], slice_training.train_slice

    def counting(key_bits, variables, problem, members, part, settings):
        epochs = int(slice_training.slice_epochs(5, 4)[part[1]])
        trained.append((*map(int, part), len(members) * epochs, set(members)))
        return real(key_bits, variables, problem, members, part, settings)

    monkeypatch.setattr(slice_training, "train_slice", counting)
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
    settings = SETTINGS["sisa"] | dict(balance=1.0)
    state, _ = sisa.forget(KEY, sisa.fit(KEY, problem, **settings), [5, 11, 30])
    kept = np.setdiff1d(np.arange(40), [5, 11, 30])
    never = sisa.fit(KEY, problem, indices=kept, **settings)
    assert_equal(state.checkpoints, never.checkpoints)
    plain = sisa.fit(KEY, problem, indices=kept, **SETTINGS["sisa"])
    assert distance(plain.checkpoints, never.checkpoints) > 1e-3
    weights, labels = (
        slice_training.class_weights(problem, kept),
        np.asarray(problem.labels),
    )
    totals = np.bincount(labels[kept], weights[kept])
    np.testing.assert_allclose(totals, len(kept) / 3, rtol=1e-6)


def test_sisa_compiles_one_program(problem):
    settings = SETTINGS["sisa"] | dict(batch_size=5)
    state = sisa.fit(KEY, problem, **settings)
    before = slice_training._run._cache_size()
    for i in range(6):
        state, _ = sisa.forget(KEY, state, [3 * i, 3 * i + 1])
    assert slice_training._run._cache_size() == before


def test_sisa_assignment_is_balanced_and_ignores_the_data():
    shard, part = sisa.assign(costs.common.key_bits(KEY), 103, 4, 5)
    counts = np.zeros((4, 5), int)
    np.add.at(counts, (shard, part), 1)
    assert counts.min() == 5 and counts.max() == 6
    assert np.abs(np.corrcoef(shard, np.arange(103))[0, 1]) < 0.3


@pytest.mark.parametrize("slices", [1, 2, 3, 5, 8])
def test_slice_epochs_add_up_to_the_average_rule(slices):
    for epochs in range(-(-(slices + 1) // 2), 30):
        each = slice_training.slice_epochs(epochs, slices)
        exact = 2 * epochs / (slices + 1)
        assert each.min() >= 1 and np.abs(each - exact).max() < 1
        assert 0 <= exact * slices - each.sum() < 1
    with pytest.raises(InputError, match="fewer slices"):
        slice_training.slice_epochs((slices + 1) // 2 - 1, slices)


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
    logits = sisa.predict(after, problem.examples)
    pair = [
        after.problem.model.apply(m[-1], problem.inputs(jnp.arange(40)))[0]
        for m in after.checkpoints[1:]
    ]
    assert_close(logits, sisa.aggregate(jnp.stack(pair), "majority"), 1e-4, 1e-4)


class Shelf(dict):
    """Slices in memory, and who was put."""

    def __init__(self, *, killed_after=10**9):
        super().__init__()
        self.left = killed_after

    def put(self, name, arrays):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        assert name not in self
        self[name] = arrays


def counted(monkeypatch):
    """Counts the slices trained from now on."""
    trained, real = [], slice_training.train_slice

    def train_slice(*args):
        trained.append(args[4])
        return real(*args)

    monkeypatch.setattr(slice_training, "train_slice", train_slice)
    return trained


@pytest.mark.parametrize("kind", ["problem", "norm_problem"])
@pytest.mark.parametrize("moment", [0, 1, 3])
def test_a_killed_request_goes_on_and_ends_at_the_same_bits(
    kind, moment, request, monkeypatch
):
    """After several requests, killed in between, as `fit` on what is left."""
    problem, settings = request.getfixturevalue(kind), SETTINGS["sisa"]
    shelf = Shelf()
    state = sisa.fit(KEY, problem, kept=shelf, **settings)
    assert len(shelf) == 6
    state, _ = sisa.forget(KEY, state, [5], kept=shelf)
    gone, before = [5, 11, 30, 2], len(shelf)
    shelf.left, trained = moment, counted(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sisa.forget(KEY, state, gone[1:], kept=shelf)
    assert len(shelf) == before + moment
    shelf.left = 100
    trained.clear()
    after, info = sisa.forget(KEY, state, gone[1:], kept=shelf)
    assert len(trained) == info["slices"] - moment
    kept = np.setdiff1d(np.arange(40), gone)
    assert_equal(after, sisa.fit(KEY, after.problem, indices=kept, **settings))
    trained.clear()
    assert_equal(
        after, sisa.fit(KEY, after.problem, indices=kept, kept=shelf, **settings)
    )
    assert not trained


def test_shards_trained_apart_are_put_together(problem, monkeypatch):
    settings, shelf = SETTINGS["sisa"], Shelf()
    whole = sisa.fit(KEY, problem, **settings)
    part = sisa.fit(KEY, problem, kept=shelf, only=(1,), **settings)
    assert sisa.untrained(part) == [0, 2]
    assert_equal(part.checkpoints[1], whole.checkpoints[1])
    for use in (
        lambda: sisa.predict(part, problem.examples),
        lambda: sisa.forget(KEY, part, [5]),
        lambda: sisa.for_serving(part),
    ):
        with pytest.raises(InputError, match="shards 0, 2 are not trained"):
            use()
    part = sisa.fit(KEY, problem, kept=shelf, only=(0, 2), **settings)
    assert not sisa.untrained(part)
    trained = counted(monkeypatch)
    assert_equal(sisa.fit(KEY, problem, kept=shelf, **settings), whole)
    assert not trained
    with pytest.raises(InputError, match=r"no shard 3: they are 0\.\.2"):
        sisa.fit(KEY, problem, kept=shelf, only=(3,), **settings)


def test_requests_may_be_answered_by_shard_too(problem):
    settings, shelf = SETTINGS["sisa"], Shelf()
    state = sisa.fit(KEY, problem, **settings)
    after, _ = sisa.forget(KEY, state, GONE_FROM_ALL)
    assert (np.unique(state.shard[GONE_FROM_ALL]) == [0, 1, 2]).all()
    for s in range(3):
        part, _ = sisa.forget(KEY, state, GONE_FROM_ALL, kept=shelf, only=[s])
        assert sisa.untrained(part) == [*range(s + 1, 3)]
    assert_equal(part, after)


GONE_FROM_ALL = [0, 1, 2, 3, 4, 5]


def changed(problem, kind, settings):
    """The problem, key and constants with one thing changed."""
    examples, labels = np.array(problem.examples), np.array(problem.labels)
    if kind == "image":
        examples[20, 0, 0, 0] ^= 1
        problem = problem.replace(examples=jnp.asarray(examples))
    if kind == "label":
        labels[20] = (labels[20] + 1) % 3
        problem = problem.replace(labels=jnp.asarray(labels))
    if kind == "preparation":
        problem = problem.replace(preprocess=Standardize((0.4,), (0.5,)))
    if kind == "augmentation":
        problem = problem.replace(augment=lambda key, x: x[:, :, ::-1])
    if kind == "activation":
        problem = problem.replace(model=problem.model._replace(apply=louder))
    if kind == "initialisation":
        problem = problem.replace(model=problem.model._replace(init=wider))
    constants = dict(learning_rate=0.06, momentum=0.8, weight_decay=1e-4, epochs=4)
    constants |= dict(batch_size=4, schedule="constant", balance=0.5)
    if kind in constants:
        settings = settings | {kind: constants[kind]}
    return (jax.random.key(4) if kind == "key" else KEY), problem, settings


def louder(variables, images, **options):
    """Another function of the same weights."""
    logits, new = plain_model().apply(variables, images, **options)
    return 1.1 * logits, new


def wider(key, images):
    """Other initial weights of the same shapes."""
    return jax.tree.map(lambda w: w * 1.5, plain_model().init(key, images))


@pytest.mark.parametrize(
    "kind",
    [
        *("image", "label", "preparation", "augmentation", "activation"),
        *("initialisation", "key", "learning_rate", "momentum", "weight_decay"),
        *("epochs", "batch_size", "schedule", "balance"),
    ],
)
def test_a_stale_slice_is_never_taken_for_another(problem, kind):
    shelf, settings = Shelf(), SETTINGS["sisa"]
    state = sisa.fit(KEY, problem, kept=shelf, **settings)
    key, other, constants = changed(problem, kind, settings)
    names = set(shelf)
    made = sisa.fit(key, other, kept=shelf, **constants)
    if kind in ("image", "label"):  # of example 20, in one shard
        s, r = state.shard[20], state.slice[20]
        expected = sum(q < r for q in range(2)) + 4
        assert len(names & {sisa.name_of(d) for d in made.digests.reshape(6, 32)}) == (
            expected
        )
        assert (made.digests[s, r:] != state.digests[s, r:]).any(-1).all()
    else:
        assert not names & set(map(sisa.name_of, made.digests.reshape(6, 32)))
    assert_equal(made, sisa.fit(key, other, **constants))


@pytest.mark.slow
def test_names_are_those_of_another_process(problem, tmp_path):
    """Nothing in them depends on where objects lie in memory."""
    state = sisa.fit(KEY, problem, only=(), **SETTINGS["sisa"])
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert child.stdout.split() == [
        sisa.name_of(d) for d in state.digests.reshape(6, 32)
    ], child.stderr[-2000:]


ROOT = Path(__file__).parent.parent.parent
CHILD = """
from conftest import tiny_problem
from training_time_cases import KEY, SETTINGS
from unlearn.training_time import sisa
state = sisa.fit(KEY, tiny_problem(), only=(), **SETTINGS["sisa"])
print(*map(sisa.name_of, state.digests.reshape(6, 32)))
"""


def test_the_vote_does_not_count(problem, monkeypatch):
    shelf, settings = Shelf(), SETTINGS["sisa"]
    sisa.fit(KEY, problem, kept=shelf, **settings)
    trained = counted(monkeypatch)
    state = sisa.fit(KEY, problem, kept=shelf, vote="logit", **settings)
    assert not trained and state.settings.vote == "logit"


def test_a_serving_copy_has_the_last_slices(problem):
    state = sisa.fit(KEY, problem, **SETTINGS["sisa"])
    small = sisa.for_serving(state)
    assert [[m is None for m in models] for models in small.checkpoints] == [
        [True, False]
    ] * 3
    assert_equal(
        sisa.predict(small, problem.examples), sisa.predict(state, problem.examples)
    )
    with pytest.raises(InputError, match="for serving"):
        sisa.forget(KEY, small, [0])
