"""Table and figure of a sweep over classes: the worst class of each method."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn.metrics import columns
from unlearn.metrics.purpose import FORGET, TEST
from unlearn.report import plotting
from unlearn.report.text import markdown_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "o^sD"  # the next one where the colours begin again

LEGEND = f"""\
The worst class of each column, which class it is in parentheses. **Forget**, \
**Forget, test**: accuracy (%) on the forgotten class, on training and on test data. \
**Lost on the others, test**: accuracy of `retrain` minus that of the method on the \
test data of the other classes, in points; negative: the method is better. **Avg. \
Gap**: as in `summary.md`, in points. **Cost**: seconds as a share of those of \
retraining (%). **Reached**: classes of which at most {100 * FORGET:.0f} points of \
forget accuracy are left at a cost of at most {100 * TEST:.0f} points of test \
accuracy, both against retraining, of those that were judged; –: none was."""


def markdown(worst: Sequence[Mapping]) -> str:
    """Writes the rows of `worst_class.csv` as a Markdown table in percent."""
    heads = columns.labels(*columns.CLASS_SWEEP)
    classes = max(row["classes"] for row in worst)
    lines = [
        f"Each of {classes} classes forgotten, one at a time.",
        "",
        "| Model | " + " | ".join(heads.values()) + " | Reached |",
        "| :-- |" + " --: |" * (len(heads) + 1),
    ]
    for row in worst:
        cells = [
            f"{100 * row[name]:.2f} ({markdown_cell(str(row[f'{name}_class']))})"
            for name in heads
        ]
        judged = row["judged"]
        cells.append(f"{row['reached']} of {judged}" if judged else "–")
        lines.append(f"| {markdown_cell(row['model'])} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", LEGEND, ""])


def figure(rows: Sequence[Mapping], title: str = "") -> "Figure":
    """Draws forget accuracy, loss on other classes and cost, a dot a class."""
    models = dict.fromkeys(row["model"] for row in rows)
    models = [name for name in models if name not in plotting.MODELS]
    colours = plotting.colours(models)
    panels = {
        "test_forget_accuracy": "forget class, test accuracy, %",
        "test_accuracy_lost": "lost on the other classes, test, points",
        "cost": "seconds, % of retraining",
    }
    classes = list(dict.fromkeys(row["class"] for row in rows))
    page = plotting.new_figure(max(9.0, 0.3 * len(classes) * len(panels) + 3), 3.8)
    axes = page.subplots(1, len(panels))
    for panel, (name, label) in zip(axes, panels.items(), strict=True):
        for i, model in enumerate(models):
            own = {
                row["class"]: 100 * row[name] for row in rows if row["model"] == model
            }
            shift = 0.5 * (i - (len(models) - 1) / 2) / max(1, len(models))
            panel.scatter(
                [classes.index(c) + shift for c in own],
                list(own.values()),
                s=22,
                color=colours[model],
                marker=MARKERS[i // len(plotting.PALETTE) % len(MARKERS)],
                label=model,
            )
        panel.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        plotting.name_ticks(panel.xaxis, classes)
        plotting.style(panel, "", "forgotten class", label, grid="y")
    plotting.add_legend(page, min(5, len(models)), axes[0])
    plotting.add_title(page, "Every class forgotten, one at a time", title)
    return page
