"""Tables and figure of a class swap: what is taken for what, which weights moved."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.metrics import confusion_matrix, per_class_accuracy
from unlearn.report import plotting
from unlearn.report.text import markdown_cell

COLUMNS = {
    "forget_as_itself": "{forget} taken for {forget}",
    "forget_as_target": "{forget} taken for {target}",
    "target_accuracy": "{target} right",
    "others_accuracy": "others right",
    "most_lost": "most lost by another class",
}


def swap_row(logits, original_logits, labels, forget: int, target: int) -> dict:
    """Returns shares of the test data, in [0, 1].

    `most_lost` is the largest loss of accuracy to the original among the classes that
    are neither forgotten nor the target; negative: all have gained. `others_lost` is
    the loss over all of them. Without other classes what is of them is NaN.
    """
    shares, before = (
        confusion_matrix(values, labels) for values in (logits, original_logits)
    )
    others = np.setdiff1d(np.arange(len(shares)), [forget, target])
    lost = per_class_accuracy(before)[others] - per_class_accuracy(shares)[others]

    def right(counts):
        total = counts[others].sum()
        return float(np.diag(counts)[others].sum() / total) if total else math.nan

    of_forget = shares[forget] / max(shares[forget].sum(), 1)
    return {
        "forget_as_itself": float(of_forget[forget]),
        "forget_as_target": float(of_forget[target]),
        "target_accuracy": float(per_class_accuracy(shares)[target]),
        "others_accuracy": right(shares),
        "others_lost": right(before) - right(shares),
        "most_lost": max(lost[~np.isnan(lost)].tolist(), default=math.nan),
    }


def markdown(rows: Sequence[Mapping], forget: str, target: str) -> str:
    """Returns a line a model: means over seeds in %, the worst seed in parentheses."""
    given = {"forget": forget, "target": target}
    names = [markdown_cell(title.format(**given)) for title in COLUMNS.values()]
    worst = dict.fromkeys(COLUMNS, max)
    worst |= {"target_accuracy": min, "others_accuracy": min, "forget_as_target": min}
    lines = [
        "| Model | " + " | ".join(names) + " |",
        "| :-- |" + " --: |" * len(names),
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        cells = []
        for name in COLUMNS:
            values = [100 * row[name] for row in of_model]
            text = f"{np.mean(values):.2f} ({worst[name](values):.2f})"
            cells.append("–" if np.isnan(values).any() else text)
        lines.append(f"| {markdown_cell(model)} | {' | '.join(cells)} |")
    seeds = len({row["seed"] for row in rows})
    note = f"Test data, %: mean of {seeds} seeds, the worst of them in parentheses."
    return "\n".join([note, "", *lines, ""])


def touched(before: Mapping, after: Mapping, paths) -> dict[str, dict]:
    """Compares the layers at `paths`: how many weights each has, how many differ.

    Returns a dict a layer: `weights`, `touched` (of other bits) and the change of its
    `kernel`.
    """
    found = {}
    for path in paths:
        old, new = before, after
        for name in path:
            old, new = old[name], new[name]
        pairs = [(np.asarray(old[name]), np.asarray(new[name])) for name in old]
        found["/".join(path)] = {
            "weights": sum(a.size for a, _ in pairs),
            "touched": sum(int(np.sum(a != b)) for a, b in pairs),
            "kernel": max((b - a for a, b in pairs), key=np.ndim),
        }
    return found


def figure(layers: Mapping[str, Mapping], title: str = ""):
    """Draws which weights a swap touched: the share of each layer, and every kernel.

    A kernel is drawn with a column an output and a row an input (of a convolution: an
    offset and a channel); what kept its bits is white.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    page = plotting.new_figure(3.0 + 2.1 * len(layers), 4.4)
    first, *others = page.subplots(
        1, len(layers) + 1, width_ratios=[1.3] + [1] * len(layers)
    )
    names = list(layers)
    shares = [100 * layer["touched"] / layer["weights"] for layer in layers.values()]
    bars = first.barh(names, shares, color=plotting.PALETTE[0])
    texts = [
        f"{share:.1f} % of {layer['weights']:,}"
        for share, layer in zip(shares, layers.values(), strict=True)
    ]
    first.bar_label(bars, texts, fontsize=8, padding=2)
    first.invert_yaxis()
    first.set_xlim(0, 1.9 * max(shares))
    plotting.style(first, "touched", "% of the layer's weights", grid="x")
    changes = {
        name: np.abs(layer["kernel"]).reshape(-1, layer["kernel"].shape[-1])
        for name, layer in layers.items()
    }
    largest = max(change.max() for change in changes.values())
    norm = LogNorm(1e-3 * largest, largest, clip=True)
    for panel, (name, change) in zip(others, changes.items(), strict=True):
        shown = np.ma.masked_equal(change, 0)
        image = panel.imshow(
            shown, aspect="auto", norm=norm, cmap="viridis_r", interpolation="none"
        )
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        plotting.style(panel, name, "output", "input" if panel is others[0] else "")
    bar = page.colorbar(image, ax=others, fraction=0.03, pad=0.02)
    bar.set_label("change of the weight", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    what = "Weights that the swap touched (white: kept, bit by bit)"
    plotting.add_title(page, what, title)
    return page
