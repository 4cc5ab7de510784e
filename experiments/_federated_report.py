"""Tables, figures and page of federations that a client left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unlearn import store
from unlearn.report import csv_files, federated_page, plotting


class Cell(NamedTuple):
    """A mean with half of its 95 % interval."""

    value: float
    half: float


class Found(NamedTuple):
    """A setting, and what came out."""

    name: str
    title: str
    leaving: int
    sizes: list[int]  # examples of each client
    rows: list[dict]
    by_round: dict[str, np.ndarray]  # float[S, R]: test accuracy
    losses: dict[str, np.ndarray]  # float[C], of each client, means over federations


COLUMNS = {
    "test": ("Test", "accuracy on test images, %"),
    "own": ("Own", "accuracy on the images of the client that left, %"),
    "backdoor": ("Backdoor", "stamped test images that are called a 0, %"),
    "wrong": ("Wrong labels", "of the client's wrong labels given back, %"),
    "whole": ("Leak", "AUC: unlearned, or never had the client? by all its images"),
    "single": ("Single", "the same, by the strongest attack on single images"),
    "others": (
        "Others",
        "loss of the other clients above models without it, nats",
    ),
    "worst": ("Worst", "the same, of the client that pays most"),
    "rounds": ("Rounds", "in which clients took part"),
    "passes": ("Passes", "examples trained on, share of retraining, %"),
    "sent": ("Sent", "MB of models, both ways"),
    "kept": ("Kept", "MB that the server kept while training"),
}
PERCENT = "test", "own", "backdoor", "wrong"


def setting_of(config, setting: Any, measured: Mapping[str, Mapping]) -> Found:
    """Puts together what was measured of a setting."""
    from . import _federated

    clean = measured["clean"]
    names = ("original", *config.run)
    return Found(
        setting.name,
        setting.title,
        setting.leaving,
        np.asarray(setting.clients.sizes).tolist(),
        _federated.summary(measured, setting, config.run),
        {name: clean[name]["by_round"] for name in ("original", "never")},
        {name: clean[name]["losses"].mean(axis=0) for name in names},
    )


def shown(row: Mapping, key: str) -> str:
    """Writes a cell of a table."""
    value = row[key]
    if value is None:
        return "–"
    if key in PERCENT:
        return f"{100 * value.value:.1f} ± {100 * value.half:.1f}"
    if key in ("whole", "single"):
        return f"{value.value:.2f} ({value.low:.2f}–{value.high:.2f})"
    if key in ("others", "worst"):
        return f"{value:+.2f}".replace("-", "−")
    if key == "passes":
        return f"{100 * value:.0f}"
    if key in ("sent", "kept"):
        return f"{value / 1e6:.1f}"
    return f"{value:.0f}"


def markdown(found: Found) -> str:
    """Writes a setting's table in Markdown."""
    heads = ["Model", *(title for title, _ in COLUMNS.values())]
    lines = [" | ".join(heads), " | ".join([":--"] + ["--:"] * len(COLUMNS))]
    for row in found.rows:
        name = f"**{row['model']}**" if row["model"] == "retrain" else marked(row)
        lines.append(" | ".join([name, *(shown(row, key) for key in COLUMNS)]))
    return "\n".join(f"| {line} |" for line in lines)


def marked(row: Mapping) -> str:
    """Returns a model's name, with a mark if it diverged anywhere."""
    return f"{row['model']} †" if row["diverged"] else row["model"]


def flat(row: Mapping) -> dict:
    """Returns a row of `results.csv`."""
    found = {}
    for key, value in row.items():
        if isinstance(value, Cell):
            found |= {key: value.value, f"{key}_interval": value.half}
        elif hasattr(value, "low"):
            found |= {key: value.value}
            found |= {f"{key}_{end}": getattr(value, end) for end in ("low", "high")}
        else:
            found[key] = value
    return found


def write(folder: Path, config, found: Sequence[Found]) -> None:
    """Writes `results.csv`, `summary.md`, the figures and `federated.html`."""
    rows = [flat(row) for one in found for row in one.rows]
    csv_files.write_csv(folder / "results.csv", rows)
    notes = [f"*{title}*: {what}." for title, what in COLUMNS.values()]
    notes.append("†: diverged in some federations.")
    parts = [f"## {one.title}\n\n{markdown(one)}\n" for one in found]
    text = "\n".join(["# One client leaves\n", *parts, " ".join(notes), ""])
    store.write_text(folder / "summary.md", text)
    figures = []
    for one in found:
        for kind, draw in (("rounds", rounds_figure), ("clients", clients_figure)):
            name = f"figures/{kind}_{one.name}.png"
            plotting.save(draw(one), folder / name)
            figures.append((one.name, name))
    plotting.save(backdoor_figure(found), folder / "figures" / "backdoor.png")
    figures.append(("", "figures/backdoor.png"))
    federated_page.write(
        folder,
        about=about(config),
        settings=[
            {
                "title": one.title,
                "about": (
                    f"Client {one.leaving} leaves with its "
                    f"{one.sizes[one.leaving]:,} images; the {len(one.sizes)} clients "
                    f"have {min(one.sizes):,} to {max(one.sizes):,}."
                ),
                "rows": [
                    [marked(row), *(shown(row, key) for key in COLUMNS)]
                    for row in one.rows
                ],
                "figures": [name for of, name in figures if of == one.name],
            }
            for one in found
        ],
        columns=[{"title": t, "what": w} for t, w in COLUMNS.values()],
        figures=[name for of, name in figures if not of],
    )


def about(config) -> list[str]:
    """Says in lines what was done."""
    most = max(config.clients)
    asked = min(config.train.participants or most, most)
    drawn = (
        f" Of more than {asked} clients {asked} are drawn in each round, and there are "
        "as many more rounds."
        if asked < most
        else ""
    )
    return [
        f"{config.seeds} federations of {config.train.rounds} rounds of all clients, "
        f"on images of {config.data.name}, each with random numbers of its own, and as "
        f"many that never had the client.{drawn} {config.planted_seeds} more with a "
        "backdoor in 80 % of the client's images, and with wrong labels on all of "
        "them.",
        "Good is close to retrain: no backdoor, no wrong label, a leak of 0.5, nothing "
        "lost by anybody. Intervals are 95 %, over federations. †: diverged in some.",
    ]


# Figures


def rounds_figure(found: Found):
    """Draws accuracy by round, and each method where it ends."""
    figure = plotting.new_figure(7.0, 4.0)
    panel = figure.add_subplot()
    names = {"original": "with the client", "never": "without it"}
    shades = plotting.MODELS | {"never": plotting.MODELS["retrain"]}
    for name, values in found.by_round.items():
        mean, rounds = 100 * values.mean(axis=0), np.arange(1, values.shape[1] + 1)
        spread = 100 * values.std(axis=0, ddof=1)
        panel.plot(rounds, mean, color=shades[name], label=names[name])
        panel.fill_between(
            rounds, mean - spread, mean + spread, color=shades[name], alpha=0.2, lw=0
        )
    methods = [r for r in found.rows if r["model"] not in ("original", "retrain")]
    colours = plotting.colours([row["model"] for row in methods])
    for row in methods:
        panel.errorbar(
            row["rounds"],
            100 * row["test"].value,
            100 * row["test"].half,
            fmt="o",
            markerfacecolor="none",  # some lie upon another
            markersize=8,
            color=colours[row["model"]],
            label=row["model"],
            capsize=2,
        )
    finite = [m for m in (100 * r["test"].value for r in methods) if np.isfinite(m)]
    if finite:
        panel.set_ylim(bottom=max(0, min(finite) - 15))
    plotting.style(
        panel, "Test accuracy by round", "rounds of clients", "per cent", grid="y"
    )
    plotting.add_title(figure, "One client leaves", found.title)
    plotting.add_legend(figure, 4)
    return figure


def clients_figure(found: Found):
    """Draws the loss of each client, the smallest first."""
    figure = plotting.new_figure(7.0, 4.0)
    panel = figure.add_subplot()
    order = np.argsort(found.sizes, kind="stable")
    place = int(np.flatnonzero(order == found.leaving)[0])
    colours = plotting.colours(found.losses)
    panel.axvspan(place - 0.5, place + 0.5, color="0.9", label="the client that left")
    for name, losses in found.losses.items():
        size = 5 if len(order) <= 20 else 2.5
        if not np.isfinite(losses).all():
            continue  # it diverged
        panel.plot(
            losses[order],
            color=colours[name],
            label=name,
            marker="o",
            markersize=size,
            linewidth=0.8,
        )
    panel.set_yscale("log")
    plotting.plain_log_axis(panel.yaxis)
    plotting.style(
        panel,
        "Loss on the images of each client",
        "clients, by their number of images",
        "nats",
        grid="y",
    )
    if len(order) <= 20:
        notes = [f"{found.sizes[c]}" for c in order]
        plotting.name_ticks(panel.xaxis, order.tolist(), notes)
    plotting.add_title(figure, "Who pays", found.title)
    plotting.add_legend(figure, 4)
    return figure


def backdoor_figure(found: Sequence[Found]):
    """Draws how often the stamp still works, by setting and model."""
    figure = plotting.new_figure(7.0, 1.2 + 0.32 * sum(len(f.rows) for f in found))
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for panel, one in zip(panels, found, strict=True):
        names = [row["model"] for row in one.rows]
        colours = plotting.colours(names)
        values = [100 * row["backdoor"].value for row in one.rows]
        halves = [100 * row["backdoor"].half for row in one.rows]
        panel.barh(
            range(len(names)),
            values,
            xerr=halves,
            color=[colours[name] for name in names],
            error_kw={"linewidth": 0.8},
        )
        plotting.name_ticks(panel.yaxis, names)
        panel.invert_yaxis()
        panel.set_xlim(0, 100)
        last = panel is panels[-1]
        plotting.style(panel, one.title, "per cent" if last else "", grid="x")
    plotting.add_title(figure, "Stamped images that are called a 0")
    return figure
