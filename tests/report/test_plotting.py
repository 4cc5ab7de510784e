"""Parts of figures: any text is drawn, whole and inside of the page."""

import numpy as np
import pytest
from nasty import NAMES
from result_rows import pixels

from unlearn.report import plotting

pytestmark = pytest.mark.filterwarnings(
    "error", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def shown(text):
    """What matplotlib shows of a text, if it takes it for no mathematics."""
    from matplotlib.cbook import is_math_text

    assert not is_math_text(text)
    return text.replace(r"\$", "$")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn(name):
    text = plotting.drawable(name)
    assert len(shown(text)) <= plotting.LONGEST_NAME
    assert plotting.drawn_length(name) == len(shown(text))
    figure = plotting.new_figure(3, 2)
    figure.subplots().set_title(text)
    figure.canvas.draw()


def test_what_is_drawn_of_a_name():
    assert plotting.drawable("cat") == "cat"
    assert shown(plotting.drawable(r"$\frac$")) == r"$\frac$"
    assert shown(plotting.drawable(r"\$")) == r"\$"
    assert plotting.drawable("two\nlines") == "two lines"
    assert plotting.drawable("\U0001f408 \u732b") == r"\U0001f408 \u732b"
    assert plotting.drawable("caf\udce9") == r"caf\xe9"
    long = plotting.drawable("0123456789" * 10)
    assert long == "012345678901234567890\u20260123456789"
    assert len({plotting.drawable(name) for name in NAMES}) == len(NAMES)


def test_every_helper_draws_any_text(tmp_path):
    figure = plotting.new_figure(12, 8)
    panel = figure.subplots()
    for i, name in enumerate(NAMES):
        panel.plot(i, i, "o", label=name)
    plotting.name_ticks(panel.xaxis, NAMES, [""] * len(NAMES))
    plotting.name_ticks(panel.yaxis, NAMES)
    plotting.slant(panel.get_xticklabels(), 35)
    plotting.style(panel, NAMES[0], NAMES[0], NAMES[0], grid="both")
    plotting.add_legend(figure, 4)
    plotting.add_title(figure, NAMES[0], "\n".join(NAMES))
    figure.draw_without_rendering()
    at = np.arange(len(NAMES), dtype=float)
    nowhere = (float("nan"), float("nan"))
    plotting.label_points(figure, panel, at, at, NAMES, [], nowhere)
    plotting.save(figure, tmp_path / "x.png")
    assert (pixels(tmp_path / "x.png") != 255).any()


def test_title_of_the_run_is_a_line_below():
    figure = plotting.new_figure(3, 2)
    plotting.add_title(figure, "What", "run $1")
    assert figure.get_suptitle() == "What\nrun \\$1"
    plotting.add_title(figure, "What")
    assert figure.get_suptitle() == "What"


def test_ticks_have_names_and_notes():
    panel = plotting.new_figure(3, 2).subplots()
    plotting.name_ticks(panel.xaxis, ["a", 7], ["", "note"])
    labels = [label.get_text() for label in panel.get_xticklabels()]
    assert labels == ["a", "7\nnote"]


def test_colours_of_references_are_fixed_and_those_of_methods_differ():
    names = ["original", "retrain", *map(str, range(6))]
    found = plotting.colours(names)
    assert found["original"] == plotting.MODELS["original"]
    assert len({found[name] for name in names}) == len(names)
