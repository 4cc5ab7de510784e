"""Every class forgotten in turn: the run with all methods, then the best ones again.

Published constants collapse on some classes, so the worst class is what is reported.
"""

from pathlib import Path

from unlearn import methods, pipeline, store
from unlearn.report import classes as report
from unlearn.report import figures, tables
from unlearn.report.progress import Progress


def run(config, folder, *, data_dir=None) -> list[dict]:
    """Runs `config` as it is, then its best methods on each class of `rotate.classes`.

    Each class is a run folder `forget_<class>` of its own. The original model does not
    depend on the class and is trained once. Writes `classes.csv` (a row a class and
    model), `worst_class.csv` and `.md`, and `figures/worst_class.png`.
    """
    folder, progress = Path(folder), Progress()
    (first,) = config.forget.classes
    home = folder / f"forget_{first}"
    summaries = {first: pipeline.run(config, home, data_dir=data_dir)}
    chosen = best(summaries[first], config.rotate.best, config.rotate.speedup)
    progress.say(f"Each class in turn with the best: {', '.join(chosen)}")
    for number in config.rotate.classes:
        if number == first:
            continue
        turn = config.copy_and_resolve_references()
        turn.forget.classes, turn.run = (number,), chosen
        turn.seeds = min(config.seeds, config.rotate.seeds)
        place = folder / f"forget_{number}"
        summaries[number] = pipeline.run(turn, place, data_dir=data_dir, originals=home)
    rows = class_rows(summaries, (*chosen, "retrain"))
    worst = worst_class(rows)
    tables.write_csv(folder / "classes.csv", rows)
    tables.write_csv(folder / "worst_class.csv", worst)
    text = report.markdown(worst)
    store.write_text(folder / "worst_class.md", text)
    figures.save(report.figure(rows, folder.name), folder / FIGURE)
    print(text)
    progress.say(f"Everything is in {folder}")
    return worst


FIGURE = "figures/worst_class.png"


def best(summary, count: int, speedup: float) -> tuple[str, ...]:
    """The methods of best Tug-of-War, those fast enough before others; no exact one.

    `speedup`: how many times as fast as retraining that is.
    """
    candidates = [
        row
        for row in summary
        if row["model"] in methods.METHODS
        and methods.METHODS[row["model"]].kind != "exact"
        and row["status"] == "ok"
    ]
    candidates.sort(key=lambda row: (row["speedup"] < speedup, -row["tug_of_war"]))
    return tuple(row["model"] for row in candidates[:count])


def class_rows(summaries, models) -> list[dict]:
    """A row a (class, model): its accuracies, and its distance and cost to retrain."""
    rows = []
    for number, summary in sorted(summaries.items()):
        by_model = {row["model"]: row for row in summary}
        retrain = by_model["retrain"]
        for model in models:
            row = by_model[model]
            lost = retrain["test_accuracy"] - row["test_accuracy"]
            rows.append(
                {
                    "class": number,
                    "model": model,
                    "seeds": row["seeds"],
                    "forget_accuracy": row["forget_accuracy"],
                    "test_forget_accuracy": row["test_forget_accuracy"],
                    "test_accuracy": row["test_accuracy"],
                    "test_accuracy_lost": lost,
                    "avg_gap": row["avg_gap"],
                    "seconds": row["seconds"],
                    "cost": row["seconds"] / retrain["seconds"],
                }
            )
    return rows


def worst_class(rows) -> list[dict]:
    """A row a model: the worst value over classes of each quantity, and its class."""
    worst = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        row = {"model": model, "classes": len(own)}
        for name in WORST:
            top = max(own, key=lambda r: r[name])
            row |= {name: top[name], f"{name}_class": top["class"]}
        worst.append(row)
    return worst


WORST = (
    "forget_accuracy",
    "test_forget_accuracy",
    "test_accuracy_lost",
    "avg_gap",
    "cost",
)
