"""Table and figure of a rotation over classes: the worst class of each method."""

from collections.abc import Mapping, Sequence

from unlearn.report.figures import (
    METHODS,
    MODELS,
    _colours,
    _figure,
    _legend,
    _style,
    _title,
)

COLUMNS = {
    "forget_accuracy": "Forget",
    "test_forget_accuracy": "Forget, test",
    "test_accuracy_lost": "Lost on the others, test",
    "avg_gap": "Avg. Gap",
    "cost": "Cost",
}

MARKERS = "o^sD"  # the next one where the colours begin again

LEGEND = """\
The worst class of each column, which class it is in parentheses. **Forget**, \
**Forget, test**: accuracy (%) on the forgotten class, on training and on test data. \
**Lost on the others, test**: accuracy of `retrain` minus that of the method on the \
test data of the other classes, in points; negative: the method is better. **Avg. \
Gap**: as in `summary.md`, in points. **Cost**: seconds as a share of those of \
retraining (%)."""


def markdown(worst: Sequence[Mapping]) -> str:
    """The rows of `rotation.worst_class` as a Markdown table in percent."""
    classes = max(row["classes"] for row in worst)
    lines = [
        f"Each of {classes} classes forgotten in turn.",
        "",
        "| Model | " + " | ".join(COLUMNS.values()) + " |",
        "| :-- |" + " --: |" * len(COLUMNS),
    ]
    for row in worst:
        cells = [f"{100 * row[name]:.2f} ({row[f'{name}_class']})" for name in COLUMNS]
        lines.append(f"| {row['model']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", LEGEND, ""])


def figure(rows: Sequence[Mapping], title: str = ""):
    """Forget accuracy, loss on the other classes and cost, a dot a class and model."""
    models = dict.fromkeys(row["model"] for row in rows)
    models = [name for name in models if name not in MODELS]
    colours = _colours(models)
    panels = {
        "test_forget_accuracy": "forget class, test accuracy, %",
        "test_accuracy_lost": "lost on the other classes, test, points",
        "cost": "seconds, % of retraining",
    }
    classes = sorted({row["class"] for row in rows})
    page = _figure(max(9.0, 0.3 * len(classes) * len(panels) + 3), 3.8)
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
                marker=MARKERS[i // len(METHODS) % len(MARKERS)],
                label=model,
            )
        panel.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        panel.set_xticks(range(len(classes)), classes)
        _style(panel, "", "forgotten class", label, grid="y")
    _legend(page, min(5, len(models)), axes[0])
    _title(page, "Every class forgotten in turn", title)
    return page
