"""Figures of the audits, by what is in them."""

import numpy as np
import pytest
from nasty import NAMES
from page_facts import make_facts, unknown
from page_models import cell, make_model

from unlearn.report import audit_figures

pytestmark = pytest.mark.filterwarnings(
    "error", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def curves(models):
    rates = np.linspace(0, 1, 50)
    return {name: {"all": (rates, rates**0.5)} for name in models}


def margins(models, seed=0):
    draw = np.random.default_rng(seed)
    parts = {"targets": (9, 20), "rest": (9, 40), "test": (9, 30)}
    return {
        name: {part: draw.normal(size=shape) for part, shape in parts.items()}
        for name in models
    }


def test_roc_has_a_line_a_model_and_the_diagonal():
    panel = audit_figures.roc(curves(["original", "retrain", "ssd"])).axes[0]
    assert [line.get_label() for line in panel.lines] == [
        "original",
        "retrain",
        "ssd",
        "guessing",
    ]
    x, y = panel.lines[0].get_data()
    assert x.min() > 0 and y[-1] == 1
    assert panel.get_xlim() == (audit_figures.LOWEST_RATE, 1)


def test_margins_count_every_example_of_each_part():
    figure = audit_figures.margins(margins(["original", "retrain", "ssd", "scrub"]))
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == [
        "original",
        "retrain",
        "ssd",
        "scrub",
    ]
    for panel in panels:
        shares = [patch.get_data().values for patch in panel.patches[::2]]
        assert [round(share.sum()) for share in shares] == [100, 100, 100]


def test_titles_are_plain_english():
    figure = audit_figures.roc(curves(["retrain"]), "run")
    assert figure.get_suptitle() == "ROC of a likelihood-ratio attack\nrun"
    assert figure.axes[0].get_title() == "all"


def test_any_name_is_drawn():
    models = [name for name in NAMES if name][:9]
    audit_figures.roc(curves(models), "\n".join(NAMES)).canvas.draw()
    audit_figures.margins(margins(models), "\n".join(NAMES)).canvas.draw()


def overview(models, **tolerances):
    limits = {"leak": 0.01, "utility": 0.01} | tolerances
    return audit_figures.leak_against_accuracy(models, limits)


@pytest.fixture(scope="module")
def many():
    return overview(make_facts(32)["models"])


def points(panel):
    """The markers that are drawn, as {(points lost, leak)}."""
    lines = [line for line in panel.lines if line.get_marker() in "osDX^"]
    return {tuple(p) for line in lines for p in np.round(line.get_xydata(), 9)}


def test_every_model_is_a_point_with_its_interval(many):
    models = make_facts(32)["models"]
    panel = many.axes[0]
    expected = {
        tuple(np.round([100 * m["lost"]["value"], m["leak"]["value"]], 9))
        for m in models
    }
    assert points(panel) == expected
    bars = [bar for one in panel.containers for bar in one[2]]
    segments = np.concatenate([bar.get_segments() for bar in bars])
    one = models[-1]
    vertical = [
        (100 * one["lost"]["value"], one["leak"][end]) for end in ("low", "high")
    ]
    assert any(np.allclose(segment, vertical) for segment in segments)


def test_methods_have_the_numbers_of_the_table_and_no_text_covers_another(many):
    panel = many.axes[0]
    texts = [text for text in panel.texts if text.get_text()]
    assert {t.get_text() for t in texts} == {
        *("original", "retrain", "c1", "c2", "c3", "c4"),
        *map(str, range(1, 33)),
    }
    boxes = np.array([t.get_window_extent().extents for t in texts])
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), -1) - np.diag(
        np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    )
    assert np.abs(shared).max() < 1e-6


def test_a_few_methods_are_named():
    panel = overview(make_facts(4)["models"]).axes[0]
    names = {text.get_text() for text in panel.texts}
    assert {"1 finetune", "2 scrub", "3 salun", "4 ssd", "c2 head_distill"} <= names


def test_the_zone_of_retraining_is_shaded():
    panel = overview(make_facts()["models"], leak=0.03, utility=0.02).axes[0]
    (zone,) = [one for one in panel.collections if one.get_label() == "as retraining"]
    low, high = zone.get_paths()[0].vertices.min(0), zone.get_paths()[0].vertices.max(0)
    np.testing.assert_allclose([low[0], high[1]], [-2, 0.53])
    assert (high[0], low[1]) == (panel.get_xlim()[1], panel.get_ylim()[0])
    blank = overview(make_facts()["models"], leak=None).axes[0]
    assert not [one for one in blank.collections if one.get_label() == "as retraining"]


def test_what_has_no_leak_is_left_out():
    assert not points(overview(unknown(make_facts())["models"]).axes[0])
    models = [
        make_model("retrain", "reference", 0.5, 0.0, "within"),
        make_model("ssd", "method", 0.6, -0.01, "outside") | {"leak": cell(0.6)},
    ]
    assert points(overview(models).axes[0]) == {(0.0, 0.5), (-1.0, 0.6)}


def test_any_name_of_a_method_is_drawn():
    models = [
        make_model(name, "method", 0.5 + i / 100, 0.0, "outside")
        for i, name in enumerate(NAMES[:6])
    ]
    overview(models).canvas.draw()
