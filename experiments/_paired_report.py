"""Compares two methods on the same seeds: is a claimed gain there?"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from unlearn.report import plotting
from unlearn.report.summary import interval


def compare(rows: Sequence[Mapping], ours: str, theirs: str, claims) -> list[dict]:
    """Returns a row a claim `(metric, gain)`: the difference of two methods by seed.

    A `gain` above 0 claims that `ours` has more of the metric, below 0 that it has less
    (forget accuracy, where retraining has none). `difference` is the mean of ours
    minus theirs over seeds, `interval` the half-width of its 95 % t interval. The
    `verdict` is `holds` or `does not hold` if the whole interval is on that side of the
    claim, else `inconclusive`; `one seed` without an interval.
    """
    by_model = {(row["model"], row["seed"]): row for row in rows}
    seeds = [
        seed
        for model, seed in by_model
        if model == ours
        and all(
            by_model.get((name, seed), {}).get("status") == "ok"
            for name in (ours, theirs)
        )
    ]
    compared = []
    for metric, gain in claims:
        pairs = np.array(
            [
                [by_model[name, seed][metric] for name in (ours, theirs)]
                for seed in seeds
            ]
        ).reshape(-1, 2)
        differences = pairs[:, 0] - pairs[:, 1]
        mean, half = float(np.mean(differences)), interval(differences)
        compared.append(
            {
                "metric": metric,
                ours: float(np.mean(pairs[:, 0])),
                theirs: float(np.mean(pairs[:, 1])),
                "difference": mean,
                "interval": half,
                "claim": gain,
                "verdict": _verdict(math.copysign(1, gain) * mean, half, abs(gain)),
                "seeds": len(seeds),
            }
        )
    return compared


def _verdict(gain, half, claimed) -> str:
    if math.isnan(half):
        return "one seed"
    if gain - half >= claimed:
        return "holds"
    return "does not hold" if gain + half < claimed else "inconclusive"


def markdown(compared: Sequence[Mapping], ours: str, theirs: str) -> str:
    """Returns what `compare` found as a Markdown table, in percent and points."""
    seeds = compared[0]["seeds"]
    lines = [
        f"{ours} minus {theirs}, paired over {seeds} seeds, 95 % t interval.",
        "",
        f"| Metric | {ours} | {theirs} | Difference | Claimed | Verdict |",
        "| :-- |" + " --: |" * 5,
    ]
    for row in compared:
        half = "" if math.isnan(row["interval"]) else f" ± {100 * row['interval']:.2f}"
        lines.append(
            f"| {row['metric'].replace('_', ' ')} | {100 * row[ours]:.2f} "
            f"| {100 * row[theirs]:.2f} | {100 * row['difference']:+.2f}{half} "
            f"| {100 * row['claim']:+.0f} | {row['verdict']} |"
        )
    return "\n".join([*lines, ""])


def figure(rows: Sequence[Mapping], models: Sequence[str], metrics, title: str = ""):
    """Draws a panel a metric, with a line a seed across the models."""
    page = plotting.new_figure(2.4 + 2.3 * len(metrics), 3.6)
    panels = np.atleast_1d(page.subplots(1, len(metrics)))
    seeds = sorted({row["seed"] for row in rows})
    values = {(row["model"], row["seed"]): row for row in rows}
    for panel, metric in zip(panels, metrics, strict=True):
        lines = [
            [100 * values[model, seed][metric] for model in models] for seed in seeds
        ]
        for line in lines:
            panel.plot(line, "o-", color="0.7", markersize=4, linewidth=1)
        panel.plot(
            np.mean(lines, 0), "D", color=plotting.PALETTE[0], markersize=6, zorder=3
        )
        panel.set_xticks(range(len(models)), models, rotation=35, ha="right")
        panel.set_xlim(-0.3, len(models) - 0.7)
        middle, span = np.mean(panel.get_ylim()), np.ptp(panel.get_ylim())
        panel.set_ylim(middle - max(span, 1) / 2, middle + max(span, 1) / 2)
        plotting.style(panel, metric.replace("_", " "), "", "%", grid="y")
    many = f"{len(seeds)} seeds, diamond: mean" if len(seeds) > 1 else "1 seed"
    plotting.add_title(page, f"The same seeds, method by method ({many})", title)
    return page
