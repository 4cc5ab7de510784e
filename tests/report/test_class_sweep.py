"""Table and figure of the worst class of each method."""

import pytest
from nasty import NAMES

from unlearn.metrics import columns
from unlearn.report import class_sweep


def test_no_two_methods_look_alike():
    models = [f"method {i}" for i in range(11)]
    quantities = "test_forget_accuracy", "test_accuracy_lost", "cost"
    rows = [{"class": 0, "model": m} | dict.fromkeys(quantities, 0.1) for m in models]
    panel = class_sweep.figure(rows).axes[0]
    looks = set()
    for dots in panel.collections:
        (path,) = dots.get_paths()
        looks.add((tuple(dots.get_facecolor()[0]), len(path.vertices)))
    assert len(looks) == len(models)


def sweep_rows(models):
    return [
        {"model": name, "class": c, "classes": 2, "judged": 2, "reached": 1}
        | dict.fromkeys(columns.CLASS_SWEEP, 0.125)
        | {f"{key}_class": c for key in columns.CLASS_SWEEP}
        for name in models
        for c in (0, 7)
    ]


def test_table_has_a_row_a_model_and_names_the_worst_class():
    text = class_sweep.markdown(sweep_rows(["ssd", "retrain"])[1::2])
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    labels = ["Forget", "Forget, test", "Lost on the others, test", "Avg. Gap", "Cost"]
    labels.append("Reached")
    assert [cell.strip() for cell in head.split("|")[2:-1]] == labels
    assert rows[0] == "| ssd |" + " 12.50 (7) |" * 5 + " 1 of 2 |"


@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_name_is_in_table_and_figure():
    rows = sweep_rows([name for name in NAMES if name])
    class_sweep.markdown(rows).encode()
    class_sweep.figure(rows, "\n".join(NAMES)).canvas.draw()
