"""What is measured of models rather than of single examples.

Distributions of margins over the request study; outputs and layers of the run's own
models. KLoM compares unlearned with retrained models and is shown, not judged: a method
may train on and so be told from them without a trace of what it forgot. The same is
true of the attacks that judge requests of whole classes (`games.efficacy`).
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from unlearn import pipeline
from unlearn import problem as problems
from unlearn.audit import controls, probes
from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.audit.tables import (
    UNTRAINED,
    cell,
    clipped,
    few_cell,
    mean_cell,
    table,
)
from unlearn.metrics import columns
from unlearn.metrics.composite import adaptive_unlearning_score, nomus
from unlearn.metrics.forgetting_score import final_score, relative_forgetting_score
from unlearn.metrics.idi import difference_of
from unlearn.metrics.klom import klom_summary
from unlearn.metrics.relearning import Curves, anamnesis_index, relearn_time

SETS = {"forget": "targets", "retain": "rest", "test": "test"}
DISTRIBUTION = (
    *(
        column
        for name in SETS
        for column in (
            (f"klom_{name}", f"KLoM {name}", "nats", 2, f"mean over {name} examples"),
            (f"klom_{name}_ratio", f"KLoM {name} / floor", "", 1, "1: as retraining"),
            (f"p95_{name}", f"KLoM {name}, 95 %", "nats", 2, "95th percentile"),
            (f"p95_{name}_ratio", f"95 % {name} / floor", "", 1, "1: as retraining"),
        )
    ),
    ("epsilon", "Forgetting score", "", 3, "of the NeurIPS 2023 challenge"),
    (
        "epsilon_ratio",
        "Score / retrain's",
        "",
        2,
        "1: as two groups of retrained models",
    ),
    ("final", "Final score", "", 3, "the score times the ratios of accuracy"),
)


def distributional(study: Study, models: dict[str, Measured]) -> dict:
    """Compares margins with those of retrained models; `models` as `per_example`."""
    labels, sets = np.asarray(study.labels), study.sets
    accuracy = {
        name: {k: np.mean((m.predictions == labels)[:, s]) for k, s in sets.items()}
        for name, m in models.items()
    }
    rows = {}
    for name in models:
        if name == "oracle":
            continue
        twin = "oracle" if name == "retrain" else name
        pair = "retrain", "oracle"
        reference, other = reversed(pair) if name in controls.TAUGHT else pair
        compared = [models[one] for one in (twin, reference, other)]
        cells = {}
        for key, part in SETS.items():
            found = klom_summary(*(m.margins[:, sets[part]] for m in compared))
            cells[f"klom_{key}"] = cell(found.mean)
            cells[f"klom_{key}_ratio"] = cell(ratio(found.mean, found.floor_mean))
            cells[f"p95_{key}"] = cell(found.p95)
            cells[f"p95_{key}_ratio"] = cell(ratio(found.p95, found.floor_p95))
        groups = (m.margins[:, sets["targets"]] for m in compared)
        score = relative_forgetting_score(*groups)
        cells["epsilon"] = cell(score.score)
        cells["epsilon_ratio"] = cell(score.relative)
        ratios = (accuracy[twin][k] / accuracy[reference][k] for k in ("rest", "test"))
        cells["final"] = cell(final_score(score.score, *ratios))
        rows[name] = cells
    note = (
        f"{study.models} models of each kind answered the same request. `retrain` is a "
        "second group of retrained models, so its row is the floor, what a perfect "
        "method would get from so many models, and its ratios are 1 by definition. "
        "Test examples stand for unseen ones."
    )
    title = "Distributions of margins against those of retrained models"
    return table("distributional", title, note, DISTRIBUTION, rows)


def ratio(value: float, floor: float) -> float:
    """Divides a distance by its floor; of a floor of 0, 1 at the floor and inf above.

    A floor is 0 where retraining has no randomness, or margins are saturated.
    """
    if floor:
        return value / floor
    return 1.0 if value == 0 else math.inf * value


# The run's own models


def standard_metrics(summary: Sequence[dict], names: Sequence[str]) -> dict:
    """Shows the pipeline's table with the controls: what the literature reports."""
    shown = columns.select(*columns.STANDARD, "avg_gap", "seconds")
    rows: dict[str, dict] = {}
    for row in sorted(summary, key=lambda row: names.index(row["model"])):
        if row["model"] == "retrain":
            floor = {"avg_gap": row["avg_gap_floor"], "avg_gap_interval": math.nan}
            row = row | floor
        cells = {"seconds": cell(row["seconds"])}
        for key in (*columns.STANDARD, "avg_gap"):
            value = 100 * row.get(key, math.nan)
            half = 100 * row.get(f"{key}_interval", math.nan)
            cells[key] = clipped(cell(value, value - half, value + half), 0, 100)
        rows[row["model"]] = cells
    title = "Standard metrics: accuracy, a population attack, time"
    note = (
        f"Mean over {summary[0]['seeds']} training seeds with 95 % t intervals; "
        "the Avg. Gap of `retrain` is that of two retrained models, the floor. The "
        "attack has one threshold for all examples: it is weaker than the attacks of "
        "the next table."
    )
    return table("standard", title, note, shown, rows)


BOUNDS = {
    "js": (0, math.log(2)),
    "activation": (0, math.sqrt(2)),
    "agreement": (0, 100),
    "completeness": (0, 100),
    "zrf": (1 - math.log(2), 1),
    "aus": (0, math.inf),
    "nomus": (0, 1),
}
"""What is possible: intervals of few seeds reach beyond it and are cut."""
OUTPUTS = (
    ("js", "Jensen-Shannon", "nats", 4, "of the outputs to retrain's, 0 to 0.69"),
    ("activation", "Activation dist.", "", 4, "L2 distance of the outputs to retrain"),
    ("agreement", "Agreement", "%", 1, "same predictions as retrain"),
    ("completeness", "Completeness", "%", 1, "Jaccard index of the predictions"),
    ("zrf", "ZRF", "", 3, "1: as random as an untrained model; compare with retrain"),
    ("aus", "AUS", "", 3, "utility kept over distance of forget to test accuracy"),
    ("nomus", "NoMUS", "", 3, "half accuracy, half how little an attack gains"),
)


def control_rows(run: pipeline.Run) -> list[dict]:
    """Measures the controls for each seed, as rows of `results.csv`."""
    rows = []
    for name in controls.CONTROLS:
        for seed in range(run.config.seeds):
            run.progress.tick(f"{pipeline.seed_label(run, seed)}  {name}  measuring")
            logits = probes.logits_of(run, name, seed)
            row = {"model": name, "seed": seed, "seconds": math.nan, "status": "ok"}
            rows.append(row | pipeline.measure(run, logits))
    return rows


def outputs(run: pipeline.Run, names: Sequence[str], measured: Sequence[dict]) -> dict:
    """Measures distances of the outputs on the forget set, over the run's seeds.

    `measured`: the rows of `results.csv` and `control_rows`.
    """
    seeds, forget = range(run.config.seeds), run.sets.forget
    rows = {}
    untrained = [
        pipeline.predict_examples(
            run.problem,
            probes.variables_of(run, UNTRAINED, seed),
            problems.rows(run.problem.examples, forget),
        )
        for seed in seeds
    ]
    results = {(row["model"], row["seed"]): row for row in measured}
    for name in ("original", "retrain", *controls.CONTROLS, *names):
        found = []
        for seed in seeds[:-1:2] if name == "retrain" else seeds:
            own = probes.logits_of(run, name, seed)["train_logits"][forget]
            other = seed + (name == "retrain")
            retrained = run.evaluation("retrain", other)["train_logits"][forget]
            row = probes.output_distances(own, retrained, untrained[seed])
            one = results[name, seed]
            row["aus"] = adaptive_unlearning_score(
                one["test_accuracy"],
                one["forget_accuracy"],
                results["original", seed]["test_accuracy"],
                class_removal=bool(len(run.sets.forget_classes)),
            )
            attack = one["mia_regression"]
            known = not math.isnan(attack)
            row["nomus"] = nomus(one["test_accuracy"], attack) if known else math.nan
            found.append(row)
        shares = {key for key, _, unit, *_ in OUTPUTS if unit == "%"}
        if found:
            rows[name] = {
                key: mean_cell(
                    [row[key] * (100 if key in shares else 1) for row in found],
                    *BOUNDS[key],
                )
                for key, *_ in OUTPUTS
            }
    note = (
        "On the forget set, against the retrained model of the same seed; `retrain` "
        "against that of another seed, in pairs, which is the floor."
    )
    return table("outputs", "Distances of outputs", note, OUTPUTS, rows)


LAYERS = (
    ("relearn", "Relearn", "steps", 0, "until it is back, see below"),
    ("ain", "Anamnesis Index", "", 2, "steps over those of retrain: 1 is ideal"),
    (
        "probe",
        "Linear probe",
        "%",
        1,
        "forget accuracy of a new head on frozen features",
    ),
    ("idi", "IDI", "", 2, "what the layers know more than retrain; original: 1"),
)


USELESS = 0.5
"""IDI of a second retrained model: of more, the index is noise."""


def layers(
    run: pipeline.Run,
    names: Sequence[str],
    *,
    seeds: int,
    examples: int,
    relearning: Mapping,
) -> dict:
    """Looks below the outputs of some seeds: relearning, a probe and IDI.

    The anchors are `original` (0 steps) and a model from scratch, `untrained`. What
    says nothing on this data is measured of no other model: relearning where a
    retrained one does not return, IDI where that of another retrained one is not near
    0.
    """
    looked = probes.Layers(run, examples)
    numbers = range(min(seeds, run.config.seeds))
    curves, features, known = {}, {}, {}

    def look(names, *measures):
        for seed, name in itertools.product(numbers, names):
            if "relearn" in measures:
                curves[name, seed] = probes.relearn(run, name, seed, **relearning)
            found = looked.of(probes.variables_of(run, name, seed))
            features[name, seed] = found[-1:]  # for the probe
            if "idi" in measures:
                known[name, seed] = looked.information(found)

    def rows_of(name, *measures):
        found = []
        for seed in numbers:
            other = (seed + 1) % len(numbers) if name == "retrain" else seed
            row = {"probe": 100 * looked.probe(features[name, seed])}
            if "idi" in measures:
                anchors = known["original", seed], known["retrain", other]
                row["idi"] = difference_of(known[name, seed], *anchors).index
            if "relearn" in measures:
                models = name, "original", "retrain"
                own = [
                    curves[one, at]
                    for one, at in zip(models, (seed, seed, other), strict=True)
                ]
                row |= relearned(*own, bool(len(run.problem.forget_classes)))
            if name == "retrain" and len(numbers) == 1:
                row |= dict.fromkeys(row.keys() & {"idi", "ain"}, math.nan)
            found.append(row)
        return {key: few_cell([row[key] for row in found]) for key in found[0]}

    every = "relearn", "idi"
    look(("original", "retrain"), *every)
    floor = rows_of("retrain", *every)
    before = rows_of("original", *every)["idi"]["value"]
    told = [
        name
        for name, useful in (
            ("relearn", math.isfinite(floor["relearn"]["value"])),
            ("idi", len(numbers) == 1 or abs(floor["idi"]["value"]) < USELESS),
        )
        if useful and (name != "idi" or math.isfinite(before))
    ]
    models = "original", "retrain", probes.HEAD, UNTRAINED, *names
    look(models[2:], *told)
    rows = {name: rows_of(name, *told) for name in models}
    rows = dict.fromkeys(("original", "no_op"), rows["original"]) | rows
    columns = [column for column in LAYERS if column[0] in rows["original"]]
    note = " ".join(
        (
            f"Mean of {len(numbers)} seeds; retrain is compared with that of the next "
            "seed. `head_distill` answers like retrain and keeps the layers of the "
            "original; `untrained` is a model from scratch; the other controls have "
            "the original's layers. The probe is tested on half of the forget set and "
            "trained on the other half and on retained examples.",
            RELEARN_NOTE if "relearn" in told else NO_RELEARN_NOTE,
            IDI_NOTE if "idi" in told else NO_IDI_NOTE,
        )
    )
    return table("layers", "Below the outputs", note, columns, rows)


RELEARN_NOTE = (
    "Relearning: gradient steps on the forget set until 95 % of the original's "
    "accuracy are back (of whole classes) or 95 % of the way from retrain's loss to "
    "the original's; infinite if that takes more than were tried."
)
NO_RELEARN_NOTE = (
    "Relearning is left out: not even retrained models come to the original's loss "
    "within the steps tried."
)
IDI_NOTE = (
    "IDI is by linear classifiers, a lower bound of the paper's, so values are not "
    "those published."
)
NO_IDI_NOTE = (
    "IDI is left out: the original's layers know no more of the forget set than those "
    "of retrained models differ."
)


def relearned(
    own: Curves, before: Curves, retrained: Curves, classes: bool
) -> dict[str, float]:
    """Measures steps until the forget set is back, and them over a retrained model's.

    Args:
      own, before, retrained: curves of the model, of the original and of the retrained
        model.
      classes: whether whole classes are forgotten, told by accuracy; else by loss.
    """
    if classes:
        target = float(before.accuracy[0])
        steps = relearn_time(own.accuracy, 0.95 * target)
        index = anamnesis_index(own.accuracy, retrained.accuracy, target)
        return {"relearn": steps, "ain": index}
    gap = max(0.0, float(retrained.loss[0] - before.loss[0]))
    target = float(before.loss[0]) + 0.05 * gap + 1e-5
    steps, reference = (
        relearn_time(one.loss, target, rising=False) for one in (own, retrained)
    )
    return {"relearn": steps, "ain": steps / reference if reference else math.nan}
