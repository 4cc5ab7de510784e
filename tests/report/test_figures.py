"""Figures of a run, by what is in them."""

import numpy as np
import pytest
from nasty import NAMES
from result_rows import (
    diverged,
    make_context,
    make_evaluation,
    make_row,
    pixels,
    random_results,
)

from unlearn.report import figures, plotting
from unlearn.report.gap_figure import gap_against_time
from unlearn.report.summary import summarize

ALL = ["accuracy", "per_class", "loss_histograms", "confusion", "gap_against_time"]


CASES = {
    "five seeds, many classes": (random_results(), {"classes": 40}, ALL),
    "one seed, a class": (random_results(seeds=1), {"forgotten": (2,)}, ALL),
    "no method": (random_results((), seeds=2), {"forgotten": (2,)}, ALL[:-1]),
    "diverged": (
        random_results(seeds=2) + [diverged("gone", 0), diverged("gone", 1)],
        {},
        ALL,
    ),
    "only diverged": (
        random_results((), seeds=2) + [diverged("gone", 0), diverged("gone", 1)],
        {},
        ALL[:-1],
    ),
}


@pytest.mark.slow
# A damaged checkpoint's reader may be collected here: the fault of another test.
@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_written_and_not_blank(case, tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "DPI", 50)
    results, options, names = CASES[case]
    context, asked = make_context(**options), []
    summary = summarize(results)
    paths = figures.write_all(
        tmp_path, results, summary, context, make_evaluation(context, asked)
    )
    assert [path.stem for path in paths] == names
    for path in paths:
        image = pixels(path)
        assert min(image.shape[:2]) > 100
        inked = (image != 255).any(axis=2).mean()
        assert 0.005 < inked < 0.9
        assert len(np.unique(image @ (65536, 256, 1))) > 20
    assert len(asked) == len(set(asked)), "evaluated twice"
    assert not any(model == "gone" for model, _ in asked)


def test_figures_leave_the_settings_of_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    gap_against_time(summarize(random_results()))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_of_accuracies_are_on_the_axis(seeds):
    """Of two seeds that of retrain is; others would leave no room for the rest."""
    results = random_results(seeds=seeds)
    summary = summarize(results)
    shown = [row for row in summary if seeds == 3 or row["model"] == "retrain"]
    panels = figures.accuracy_before_after(results, summary).axes
    for panel, name in zip(panels, plotting.SETS, strict=True):
        low, high = panel.get_xlim()
        for row in shown:
            mean, half = row[f"{name}_accuracy"], row[f"{name}_accuracy_interval"]
            assert low < max(100 * (mean - half), 0)
            assert high > min(100 * (mean + half), 100)


def test_an_interval_far_wider_than_all_seeds_does_not_set_the_axis():
    values = {"original": (0.9, 0.9), "retrain": (0.8, 0.8), "x": (0.83, 0.87)}
    results = [
        make_row(model, seed, *[value] * 4)
        for model, pair in values.items()
        for seed, value in enumerate(pair)
    ]
    for panel in figures.accuracy_before_after(results, summarize(results)).axes:
        low, high = panel.get_xlim()
        assert 70 < low < 80 and 90 < high < 100


def test_per_class_draws_the_means():
    context = make_context(classes=3, forgotten=(1,))
    accuracies = {
        "original": np.array([[0.9, 0.8, 1.0], [0.7, 0.8, 1.0]]),
        "retrain": np.array([[0.9, 0.0, 1.0], [0.9, 0.0, 0.8]]),
    }
    panel = figures.per_class(accuracies, context).axes[0]
    heights = [bar.get_height() for bar in panel.patches]
    assert heights == pytest.approx([80, 80, 100, 90, 0, 90])
    names = [label.get_text() for label in panel.get_xticklabels()]
    assert names == ["class 0", "class 1\n(forgotten)", "class 2"]


def test_per_class_of_equal_seeds_whose_mean_rounds_up():
    equal = np.full((10, 3), 0.9)
    equal[0, 2] = 0.5
    assert 100 * equal.mean(axis=0)[0] > 100 * equal.max(axis=0)[0]
    figures.per_class({"original": equal, "retrain": equal}, make_context(3))


def test_loss_histograms_count_every_example_in_the_same_bins():
    rng = np.random.default_rng(0)
    sets = {"forget": 30, "retain": 200, "test": 50}
    losses = {
        model: {name: 10.0 ** rng.uniform(-20, 4, size) for name, size in sets.items()}
        for model in ("original", "retrain", "scrub")
    }
    figure = figures.loss_histograms(losses)
    stairs = [patch.get_data() for panel in figure.axes for patch in panel.patches[::2]]
    assert len(stairs) == 9
    for values, edges, _ in stairs:
        assert values.sum() == pytest.approx(100)
        np.testing.assert_array_equal(edges, stairs[0][1])


LONG = tuple(f"a rather long name {i}" for i in range(12))
WIDE = tuple(f"{i} a rather long name {'W' * 100}" for i in range(12))


@pytest.mark.parametrize("names", [LONG[:3], WIDE[:12], NAMES[:12]])
@pytest.mark.slow
def test_long_names_of_classes_are_not_cut_off(names):
    classes = len(names)
    context = make_context(classes, forgotten=(1,))._replace(class_names=names)
    counts = np.eye(classes, dtype=int) * 7
    accuracies = np.full((2, classes), 0.5)
    models = ("original", "retrain", "scrub")
    for figure in (
        figures.confusion(dict.fromkeys(models, counts), context),
        figures.per_class(dict.fromkeys(models, accuracies), context),
    ):
        figure.canvas.draw()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(box.x0, box.y0) >= -0.02
        assert box.x1 <= width + 0.02 and box.y1 <= height + 0.02


@pytest.mark.parametrize("count", [8, 20])
def test_names_of_methods_do_not_overlap(count):
    methods = [f"some_method_{i}" for i in range(count)]
    rows = random_results(methods, seeds=3)
    figure = gap_against_time(summarize(rows))
    panel = figure.axes[0]
    figure.canvas.draw()
    names = [text for text in panel.texts if text.get_text()]
    assert {text.get_text() for text in names} >= set(methods)
    boxes = [text.get_window_extent() for text in names]
    inside = panel.get_window_extent()
    for i, box in enumerate(boxes):
        assert box.x0 >= inside.x0 - 1 and box.x1 <= inside.x1 + 1
        assert box.y0 >= inside.y0 - 1 and box.y1 <= inside.y1 + 1
        for other in boxes[:i]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(width, height) <= 1


@pytest.mark.slow
# A damaged checkpoint's reader may be collected here: the fault of another test.
@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("whole", [True, False])
def test_every_figure_survives_any_name(whole, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(plotting, "DPI", 50)
    count = 12 if whole else len(NAMES)
    context = make_context(count, forgotten=(0, 2))
    names = NAMES[:count] if whole else NAMES[::-1]
    context = context._replace(class_names=names, title="\n".join(NAMES))
    methods = NAMES[:5] if whole else NAMES[5:10]
    results = random_results(methods, seeds=2) + [diverged("$gone$", 0)]
    summary = summarize(results)
    paths = figures.write_all(
        tmp_path, results, summary, context, make_evaluation(context)
    )
    assert [path.stem for path in paths] == ALL
    assert capfd.readouterr().err == ""


def test_the_forgotten_class_is_marked_whatever_its_name():
    context = make_context(3, forgotten=(1,))
    context = context._replace(class_names=("a", r"$\frac$", "c"))
    panel = figures.per_class({"retrain": np.full((2, 3), 0.5)}, context).axes[0]
    label = panel.get_xticklabels()[1]
    assert label.get_text() == r"\$\frac\$" + "\n(forgotten)"
    assert label.get_fontweight() == "bold"
