"""Figures of the audits, by what is in them."""

import numpy as np
import pytest
from nasty import NAMES

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
    assert figure.get_suptitle() == "U-LiRA: forgotten against never-seen examples\nrun"


def test_any_name_is_drawn():
    models = [name for name in NAMES if name][:9]
    audit_figures.roc(curves(models), "\n".join(NAMES)).canvas.draw()
    audit_figures.margins(margins(models), "\n".join(NAMES)).canvas.draw()
