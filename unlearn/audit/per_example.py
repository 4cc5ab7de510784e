"""Attacks on single examples, over the models of the shadow study."""

from collections.abc import Collection, Mapping

import numpy as np

from unlearn import metrics
from unlearn.audit import hard_sets
from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.audit.tables import BY_CHANCE, cell, mean_cell, percent, table
from unlearn.metrics import bavaria, lira, rmia, roc, ruli
from unlearn.metrics.lira import FORGET, OUT, RETAIN

PER_EXAMPLE = (
    ("u_lira", "U-LiRA AUC", "", 3, "forgotten or never seen? 0.5: a guess"),
    (
        "u_lira_canary",
        "U-LiRA, mislabelled",
        "",
        3,
        "the same, of mislabelled examples only",
    ),
    (
        "u_lira_requested",
        "U-LiRA, requested",
        "",
        3,
        "the same, of those that the run is requested to forget",
    ),
    (
        "u_lira_memorised",
        "U-LiRA, memorised",
        "",
        3,
        "the third memorised most of the others",
    ),
    (
        "u_lira_not_memorised",
        "U-LiRA, not memorised",
        "",
        3,
        "the third memorised least: a control",
    ),
    ("bavaria", "BaVarIA AUC", "", 3, "as U-LiRA, for few shadow models"),
    ("rmia", "RMIA AUC", "", 3, "as U-LiRA, by ratios to other examples"),
    ("ruli", "RULI privacy AUC", "", 3, "as U-LiRA, by kernel densities"),
    (
        "efficacy",
        "RULI efficacy AUC",
        "",
        3,
        "unlearned or retrained? by kernel densities",
    ),
    ("population", "population MIA AUC", "", 3, "the attack of the standard metrics"),
    (
        "forget",
        "Forget acc.",
        "%",
        1,
        "of forgotten targets, mislabelled ones left out",
    ),
    ("test", "Test acc.", "%", 1, "of test examples"),
)
NOTE = (
    "Every model of the study has a forget set of its own; each target is out of a "
    "third of the training sets, kept in a third and forgotten in a third. Intervals: "
    "95 %, bootstrap over models and examples. `by chance`: retrained models attacked "
    "with forgotten and never-seen examples exchanged at random, and the 95 % interval "
    "of what is then found; of the other attacks the row of `retrain` is the floor."
)
RATES = (
    ("u_lira", "U-LiRA"),
    ("u_lira_canary", "U-LiRA, mislabelled"),
    ("bavaria", "BaVarIA"),
    ("rmia", "RMIA"),
    ("ruli", "RULI privacy"),
    ("efficacy", "RULI efficacy"),
)
KEPT = (
    ("lira", "LiRA", lira.lira_online),
    ("lira_offline", "LiRA, offline", lira.lira_offline),
    ("rmia", "RMIA", rmia.rmia),
    ("bavaria", "BaVarIA", bavaria.bavaria),
)
FEW = 20  # of fewer requested examples an AUC says nothing


def reference(name: str) -> str:
    """Names the retrained models that a model is compared with: others than itself."""
    return "oracle" if name == "retrain" else "retrain"


def per_example(
    study: Study, models: dict[str, Measured], *, rounds: int = 300
) -> tuple[dict, dict, dict, dict]:
    """Attacks every model: `(AUCs, rates, kept examples, {model: ROC})`, three tables.

    Args:
      study: one with states.
      models: with `original`, `retrain` and `oracle` among them.
      rounds: of the bootstrap.

    The memorised third is found by the models of one half and audited on the other.
    """
    targets, test = study.sets["targets"], study.sets["test"]
    states, canary, requested = study.roles()
    labels = np.asarray(study.labels)
    positive, negative = states == FORGET, states == OUT
    before = models["original"].margins[:, targets]
    masks = memorized(before, states, canary)
    everything = np.ones(states.shape, bool)
    parts = {"u_lira": everything, **masks}
    for key, chosen in (("canary", canary), ("requested", requested)):
        if chosen.sum() >= (FEW if key == "requested" else 1):
            parts[f"u_lira_{key}"] = everything & chosen
    rows, rates, kept, curves = {}, {}, {}, {}

    def audit(scores, mask, one=positive):
        return roc.evaluate(scores, one & mask, negative & mask, rounds=rounds)

    for name, measured in models.items():
        if name == "oracle":
            continue
        margins = measured.margins[:, targets].astype(np.float64)
        hits = measured.predictions == labels
        scores = lira.u_lira(margins, states)
        curves[name] = {
            part: roc.roc_curve(scores, positive & mask, negative & mask)
            for part, mask in (("all", everything), ("mislabelled", canary[None]))
            if mask.any()
        }
        found = {key: audit(scores, mask) for key, mask in parts.items()}
        for key, scores in (
            ("bavaria", bavaria.bavaria(margins, states, positive=FORGET)),
            ("rmia", rmia.rmia(margins, states, positive=FORGET)),
            ("ruli", ruli.ruli_privacy(margins, states)),
        ):
            found[key] = audit(scores, everything)
        other = models[reference(name)].margins[:, targets]
        two = ruli.ruli_efficacy(margins, other, states)
        none, twice = np.zeros_like(positive), np.tile(np.arange(study.models), 2)
        found["efficacy"] = roc.evaluate(
            np.concatenate(two),
            np.concatenate([positive, none]),
            np.concatenate([none, positive]),
            models=twice,
            rounds=rounds,
        )
        retained = {
            key: audit(
                attack(margins, states, positive=RETAIN),
                everything,
                one=states == RETAIN,
            )
            for key, _, attack in KEPT
        }
        kept[name] = auc_cells(retained) | rate_cells(retained)
        cells = auc_cells(found)
        rates[name] = rate_cells(found)
        clean = ~canary[None]
        cells["population"] = mean_cell(
            [
                population_auc(
                    margins[s], measured.margins[s, test], positive[s] & clean[0]
                )
                for s in range(study.models)
            ]
        )
        accuracies = np.where(positive & clean, hits[:, targets], np.nan)
        cells["forget"] = mean_cell(100 * np.nanmean(accuracies, axis=1))
        cells["test"] = mean_cell(100 * hits[:, test].mean(axis=1))
        rows[name] = cells
    present = rows["retrain"].keys()
    rows[BY_CHANCE] = null_cells(models["retrain"].margins[:, targets], states, parts)
    columns = [column for column in PER_EXAMPLE if column[0] in present]
    title = "Per-example attacks on forgotten and kept examples"
    return (
        table("per_example", title, NOTE, columns, rows),
        rates_table(rates, present),
        kept_table(kept),
        curves,
    )


def null_cells(
    margins: np.ndarray,
    states: np.ndarray,
    parts: Mapping[str, np.ndarray],
    *,
    times: int = 100,
) -> dict:
    """Measures what U-LiRA finds by chance: its floor.

    On retrained models, OUT and FORGET exchanged for a half of each target's groups of
    three models: neither was seen, so there is nothing to find.
    """
    draw, margins = np.random.default_rng(0), margins.astype(np.float64)
    found = {key: [] for key in parts}
    swapped = np.where(states == OUT, FORGET, np.where(states == FORGET, OUT, states))
    for _ in range(times):
        groups = draw.random((-(-len(states) // 3), states.shape[1])) < 0.5
        others = np.where(groups.repeat(3, 0)[: len(states)], swapped, states)
        scores = lira.u_lira(margins, others)
        for key, mask in parts.items():
            groups = ((others == state) & mask for state in (FORGET, OUT))
            found[key].append(roc.evaluate(scores, *groups, rounds=0).auc)
    cells = {}
    for key, values in found.items():
        mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1))
        cells[key] = cell(mean, mean - half, mean + half)
    return cells


def auc_cells(found: Mapping[str, roc.Audit]) -> dict:
    """Returns a cell an attack: its AUC with the interval."""
    return {key: cell(one.auc, *one.auc_interval) for key, one in found.items()}


def rate_cells(found: Mapping[str, roc.Audit]) -> dict:
    """Returns two cells an attack: true positive rates at 1 % and 0.1 % FPR."""
    cells = {}
    for key, one in found.items():
        cells[f"{key}_1"] = percent(one.tpr_at_1fpr, *one.tpr_at_1fpr_interval)
        cells[f"{key}_01"] = percent(one.tpr_at_01fpr, *one.tpr_at_01fpr_interval)
    return cells


def rates_table(rates: Mapping[str, dict], present: Collection[str]) -> dict:
    """Builds the table of true positive rates for the attacks that are `present`."""
    columns = [
        (f"{key}_{end}", f"{label}, {at}", "%", 1, "")
        for key, label in RATES
        if key in present
        for end, at in (("1", "at 1 % FPR"), ("01", "at 0.1 %"))
    ]
    kept = [key for key, *_ in columns]
    rows = {name: {key: of[key] for key in kept} for name, of in rates.items()}
    note = (
        "Of the forgotten examples, how many an attack finds when 1 % or "
        "0.1 % of the never-seen ones are taken for such; guessing finds as many."
    )
    return table(
        "rates", "True positive rates at few false alarms", note, columns, rows
    )


def kept_table(rows: Mapping[str, dict]) -> dict:
    """Builds the table of attacks on kept examples from a row of cells a model."""
    columns = []
    for key, label, _ in KEPT:
        columns += [
            (key, f"{label} AUC", "", 3, ""),
            (f"{key}_1", f"{label}, at 1 % FPR", "%", 1, ""),
            (f"{key}_01", f"{label}, at 0.1 %", "%", 1, ""),
        ]
    note = (
        "Kept, or never seen? AUCs, and how many of the kept examples an attack finds "
        "when 1 % or 0.1 % of the never-seen ones are taken for such. Retraining does "
        "not hide the kept ones: its row is what to compare with, and the floor."
    )
    return table("kept", "Per-example attacks on kept examples", note, columns, rows)


def memorized(
    before: np.ndarray, states: np.ndarray, canary: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns bool[S, T] of the least and the most memorised third of clean targets."""
    half = np.arange(len(states)) % 2
    masks = {
        key: np.zeros(states.shape, bool)
        for key in ("u_lira_not_memorised", "u_lira_memorised")
    }
    clean = np.flatnonzero(~canary)
    for side in (0, 1):
        rows = half != side
        scores = hard_sets.memorization(before[rows], states[rows])[clean]
        groups = hard_sets.strata(np.nan_to_num(scores))
        for key, group in (("u_lira_not_memorised", 0), ("u_lira_memorised", 2)):
            chosen = np.isin(np.arange(len(canary)), clean[groups == group])
            masks[key] |= (half == side)[:, None] & chosen
    return masks


def population_auc(
    margins: np.ndarray, unseen: np.ndarray, forgotten: np.ndarray
) -> float:
    """Attacks one model by a threshold; margins have the order of losses."""
    return metrics.threshold_attack(-margins[forgotten], -unseen).auc
