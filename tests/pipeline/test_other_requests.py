"""Tuning sees neither the forget sets nor the seeds of a table, nor test data."""

import numpy as np
import pytest
from small_runs import Silent, small_config

from unlearn import pipeline
from unlearn.errors import InputError
from unlearn.pipeline import setup, tune
from unlearn.pipeline.other_requests import other_requests
from unlearn.report import csv_files


def config_of(**changes):
    return small_config(**dict(run=("ssd",), tune__trials=3) | changes)


def whole(forgotten, **changes):
    one = dict(forget__kind="class", forget__classes=(forgotten,))
    return config_of(**one | changes)


def requests_of(config):
    return other_requests(config, setup.load(config))


def forget_set(config):
    """The forgotten examples, as indices into the data set."""
    parts = setup.split_of(setup.load(config), config)
    return set(parts.train[parts.forget].tolist()), set(parts.validation.tolist())


def test_random_requests_are_tuned_on_other_draws():
    config = config_of(tune__draws=3)
    ours, _ = forget_set(config)
    others = requests_of(config)
    draws = [forget_set(other.config)[0] for other in others]
    names = [other.name for other in others]
    assert names == ["draw_10000", "draw_10001", "draw_10002"]
    for draw in draws:
        assert len(draw) == len(ours)
        assert len(draw & ours) < 0.5 * len(ours)  # by chance a tenth
    assert draws[0] != draws[1]


def test_given_examples_are_tuned_on_as_many_random_ones():
    """A third of the set is given: a draw from all of it would hold some of them."""
    given = tuple(range(len(setup.load(config_of()).dataset.train_labels) // 3))
    config = config_of(forget__kind="ids", forget__ids=given, tune__draws=2)
    draws = [forget_set(other.config)[0] for other in requests_of(config)]
    for draw in draws:
        assert len(draw) == len(given) and draw.isdisjoint(given)
    assert draws[0] != draws[1]


def test_a_class_is_tuned_on_other_classes():
    config = whole(1, tune__draws=2)
    labels = setup.load(config).dataset.train_labels
    for other, wanted in zip(requests_of(config), (0, 2), strict=True):
        assert set(labels[list(forget_set(other.config)[0])]) == {wanted}
    (one,) = requests_of(whole(1, tune__classes=(2,)))
    assert one.name == "forget_2"
    validations = [forget_set(o.config)[1] for o in requests_of(config)]
    assert validations[0] == validations[1] != forget_set(config)[1]


def test_nothing_of_a_table_is_tuned_on():
    """Controls that must fail: the table's own class, another of its sweep, a seed."""
    with pytest.raises(InputError, match="tune.classes has 1, which the tables forget"):
        requests_of(whole(1, tune__classes=(0, 1)))
    with pytest.raises(InputError, match="tune.classes has 2, which the tables forget"):
        requests_of(whole(1, tune__classes=(2,), class_sweep__classes=(1, 2)))
    with pytest.raises(InputError, match="none is left to tune on"):
        requests_of(whole(1, class_sweep__classes=(0, 1, 2)))
    with pytest.raises(InputError, match="first_seed must be at least 2, as the table"):
        requests_of(config_of(tune__first_seed=1))
    with pytest.raises(InputError, match="forget.seed must be below 10000"):
        requests_of(config_of(forget__seed=10_000))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    config = config_of(tune__seeds=2, tune__draws=2)
    tune.run(config, folder)
    return folder, config, csv_files.read_csv(folder / "tuning" / "tuning.csv")


@pytest.mark.slow
def test_what_is_written_down_is_disjoint_from_the_table(tuned):
    folder, config, rows = tuned
    assert {row["forget_sets"] for row in rows} == {"draw_10000 draw_10001"}
    assert {row["seeds"] for row in rows} == {"100 101"}
    pipeline.run(config, folder / "table", progress=Silent())
    final = np.load(folder / "table" / "split.npz")["forget"]
    for name in ("draw_10000", "draw_10001"):
        own = folder / "tuning" / name
        draw = np.load(own / "split.npz")["forget"]
        assert len(np.intersect1d(draw, final)) < 0.5 * len(final)
        trained = {path.name for path in (own / "checkpoints" / "retrain").iterdir()}
        assert trained == {"100", "101"}
    table = folder / "table" / "checkpoints" / "retrain"
    assert {path.name for path in table.iterdir()} == {"0", "1"}


@pytest.mark.slow
def test_test_data_changes_nothing_that_is_selected(tmp_path):
    """Other test images and labels, the same training data: the same trials."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 3
    images = (
        rng.normal(90, 40, (200, 6, 6, 1)) + 60 * np.eye(6)[labels][:, None, :, None]
    )
    tables = []
    for number in range(3):
        noise = rng.integers(0, 256, (90, 6, 6, 1))
        held_out = {"test_images": noise, "test_labels": (np.arange(90) + number) % 3}
        path = tmp_path / f"{number}.npz"
        arrays = {"train_images": np.clip(images, 0, 255), **held_out}
        arrays = {
            name: value.astype(np.uint8) if "images" in name else value
            for name, value in arrays.items()
        }
        given = labels if number < 2 else np.roll(labels, 40)
        np.savez(path, train_labels=given, **arrays)
        config = config_of(data__name=f"npz:{path}", run=("ssd", "gradient_ascent"))
        tune.run(config, tmp_path / str(number))
        tables.append((tmp_path / str(number) / "tuning" / "tuning.csv").read_text())
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]  # the control: other labels of the training data
