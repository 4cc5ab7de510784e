"""Tables of the attacks on single examples, for the annex of the page."""

from collections.abc import Mapping

import numpy as np

from unlearn import metrics
from unlearn.audit import games, hard_sets
from unlearn.audit.games import Game, Leak
from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.audit.tables import BY_CHANCE, cell, mean_cell, percent, table
from unlearn.metrics import bavaria, lira, rmia, roc, ruli
from unlearn.metrics.clustered import share
from unlearn.metrics.lira import FORGET, OUT, RETAIN
from unlearn.metrics.strongest import MEMBERSHIP, ONE_SIDED

KEYS = {
    "U-LiRA": "u_lira",
    "LiRA offline": "lira_offline",
    "RMIA": "rmia",
    "Gaussian ratio": "gaussian",
    "kernel ratio": "kernel",
}
HELP = {
    "U-LiRA": "forgotten or never seen? 0.5: a guess",
    "LiRA offline": "by never-seen models alone: stronger where the trace is weak",
    "RMIA": "by ratios to test examples",
    "Gaussian ratio": "unlearned or retrained? 0.5: a guess",
    "kernel ratio": "the same, by kernel densities",
}
MORE = (
    ("bavaria", "BaVarIA AUC", "", 3, "as U-LiRA, for few shadow models"),
    ("ruli", "RULI privacy AUC", "", 3, "as U-LiRA, by kernel densities"),
    ("memorised", "U-LiRA, memorised", "", 3, "the third memorised most"),
    ("not_memorised", "U-LiRA, not memorised", "", 3, "the third memorised least"),
)
POPULATION = (
    "population",
    "population MIA AUC",
    "",
    3,
    "the attack of the standard metrics, on the same examples as U-LiRA",
)
FORGET_ACCURACY = ("forget", "Forget acc.", "%", 1, "of forgotten examples")
IN_PLACE = "other forgotten examples, in place of those requested"
NOTES = {
    "shadow": "On {}: each is forgotten by a half of the models "
    "and never seen by the other half. ",
    "stress": "On mislabelled examples, which only a model that saw them answers with; "
    "each is never seen by a third of the models, kept in a third and forgotten in a "
    "third. ",
    "request": "On the examples of the requested classes: models that unlearned them "
    "against retrained ones; `retrain` against other retrained models. ",
}
INTERVALS = (
    "Intervals: 95 %, for other models and other examples; of the population attack "
    "over models alone. `by chance`: retrained "
    "models attacked with forgotten and never-seen examples exchanged at random, and "
    "where 95 % of what is then found lies."
)
TITLES = {
    "shadow": "Attacks on {}, one by one",
    "stress": "Stress test: attacks on mislabelled examples",
    "request": "Attacks on the requested classes, example by example",
}
KEPT = {
    "lira": ("LiRA", lira.lira_online),
    "lira_offline": ("LiRA, offline", lira.lira_offline),
    "bavaria": ("BaVarIA", bavaria.bavaria),
}


def attack_tables(
    study: Study,
    played: Mapping[str, Game],
    leaks: Mapping[str, Leak],
    models: Mapping[str, Measured],
    thirds: Mapping[str, np.ndarray] | None = None,
    *,
    refused: str = "",
) -> tuple[dict, dict]:
    """Builds the table of AUCs and that of rates of a study's attacks.

    Args:
      played, leaks: a game and what was found in it, a model.
      models: what was measured of them.
      thirds: `memorised_thirds`, to attack these apart.
      refused: as in `judged.Judgement`: others are attacked than those requested.
    """
    rows, rates = {}, {}
    for name, leak in leaks.items():
        cells = {}
        rates[name] = {}
        for attack, one in leak.audits.items():
            key = KEYS[attack]
            cells[key] = cell(one.auc, *one.auc_interval)
            rates[name] |= rate_cells(key, one)
        if leak.whole.value == leak.whole.value:
            cells["whole"] = cell(*leak.whole)
        game = played[name]
        if not game.of_classes:
            cells |= membership_cells(game, thirds)
            cells["population"] = mean_cell(population_aucs(game))
            cells["forget"] = forget_accuracy(study, models[name])
        rows[name] = cells
    attacks = list(leaks["retrain"].audits)
    columns = [(KEYS[a], f"{a} AUC", "", 3, HELP[a]) for a in attacks]
    columns.append(("whole", "whole set AUC", "", 3, "all forgotten examples together"))
    columns += [*MORE, POPULATION, FORGET_ACCURACY]
    columns = [c for c in columns if any(c[0] in row for row in rows.values())]
    if not played["retrain"].of_classes:
        rows[BY_CHANCE] = by_chance(played["retrain"])
    kind = study.name
    which = IN_PLACE if refused else "the requested examples"
    note, title = (text[kind].format(which) for text in (NOTES, TITLES))
    names = {"shadow": "per_example", "stress": "stress", "request": "per_example"}
    return (
        table(names[kind], title, note + INTERVALS, columns, rows),
        rates_table(names[kind], rates, attacks),
    )


def membership_cells(game: Game, thirds: Mapping[str, np.ndarray] | None) -> dict:
    """Attacks in more ways, and the examples that are memorised most and least."""
    positive, negative = game.states == FORGET, game.states == OUT
    found = {
        "bavaria": bavaria.bavaria(game.margins, game.states, positive=FORGET),
        "ruli": ruli.ruli_privacy(game.margins, game.states),
    }
    cells = {}
    for key, scores in found.items():
        one = roc.evaluate(scores, positive, negative)
        cells[key] = cell(one.auc, *one.auc_interval)
    scores = lira.u_lira(game.margins, game.states)
    for key, mask in (thirds or {}).items():
        mask = mask[: len(scores)]
        if (positive & mask).any() and (negative & mask).any():
            one = roc.evaluate(scores, positive & mask, negative & mask)
            cells[key] = cell(one.auc, *one.auc_interval)
    return cells


def forget_accuracy(study: Study, measured: Measured) -> dict:
    """Returns the accuracy on what each model was requested to forget, in percent."""
    targets, states = study.sets["targets"], study.roles()[0]
    hits = measured.predictions == np.asarray(study.labels)
    hits = hits[:, targets].astype(np.float64)
    return percent(*share(hits, states[: len(hits)] == FORGET))


def population_aucs(game: Game) -> list[float]:
    """Attacks each model by one threshold for all examples.

    Forgotten against never-seen examples of the same model, the same as U-LiRA's:
    margins have the order of losses.
    """
    return [
        metrics.threshold_attack(-row[of == FORGET], -row[of == OUT]).auc
        for row, of in zip(game.margins, game.states, strict=True)
    ]


def by_chance(game: Game, *, times: int = 100) -> dict:
    """Measures what the attacks find by chance: their floor.

    On retrained models, OUT and FORGET exchanged for a half of each target's blocks of
    as many models as there are roles: neither was seen, so there is nothing to find.
    As in `attack_all`, attacks that may be read backwards are, where that finds more.
    """
    draw, states = np.random.default_rng(0), game.states
    block = 3 if (states == RETAIN).any() else 2
    found = {name: [] for name in MEMBERSHIP}
    swapped = np.where(states == OUT, FORGET, np.where(states == FORGET, OUT, states))
    for _ in range(times):
        chosen = draw.random((-(-len(states) // block), states.shape[1])) < 0.5
        others = np.where(chosen.repeat(block, 0)[: len(states)], swapped, states)
        groups = others == FORGET, others == OUT
        for name, attack in MEMBERSHIP.items():
            scores = attack(game.margins, others, game.population)
            found[name].append(roc.auc(scores, *groups))
    cells = {}
    for name, areas in found.items():
        values = np.array(areas)
        if MEMBERSHIP[name] in ONE_SIDED:
            values = np.maximum(values, 1 - values)
        ends = np.percentile(values, [2.5, 97.5])
        cells[KEYS[name]] = cell(float(values.mean()), *map(float, ends))
    return cells


def rate_cells(key: str, one: roc.Audit) -> dict:
    """Returns the cells of the true positive rates at 1 % and 0.1 % FPR."""
    return {
        f"{key}_1": percent(one.tpr_at_1fpr, *one.tpr_at_1fpr_interval),
        f"{key}_01": percent(one.tpr_at_01fpr, *one.tpr_at_01fpr_interval),
    }


def rates_table(name: str, rates: Mapping[str, dict], attacks: list[str]) -> dict:
    """Builds the table of true positive rates."""
    columns = [
        (f"{KEYS[attack]}_{end}", f"{attack}, {at}", "%", 1, "")
        for attack in attacks
        for end, at in (("1", "at 1 % FPR"), ("01", "at 0.1 %"))
    ]
    note = (
        "Of the forgotten examples, how many an attack finds when 1 % or "
        "0.1 % of the others are taken for such; guessing finds as many."
    )
    name = "rates" if name == "per_example" else f"{name}_rates"
    title = "True positive rates at few false alarms"
    if name != "rates":
        title += ", mislabelled examples"
    return table(name, title, note, columns, rates)


def kept_table(study: Study, models: Mapping[str, Measured]) -> dict:
    """Attacks the examples that are kept by a half of the models of a shadow study."""
    states, _ = study.roles()
    chosen, rows = (states == RETAIN).any(axis=0), {}
    for name, measured in models.items():
        game = games.membership(study, measured, chosen)
        pairs = game.margins, game.states
        scores = {key: fn(*pairs, positive=RETAIN) for key, (_, fn) in KEPT.items()}
        scores["rmia"] = rmia.rmia(*pairs, positive=RETAIN, population=game.population)
        rows[name] = {}
        for key, values in scores.items():
            one = roc.evaluate(values, game.states == RETAIN, game.states == OUT)
            rows[name][key] = cell(one.auc, *one.auc_interval)
            rows[name] |= rate_cells(key, one)
    columns = []
    labels = {key: label for key, (label, _) in KEPT.items()} | {"rmia": "RMIA"}
    for key, label in labels.items():
        columns += [
            (key, f"{label} AUC", "", 3, ""),
            (f"{key}_1", f"{label}, at 1 % FPR", "%", 1, ""),
            (f"{key}_01", f"{label}, at 0.1 %", "%", 1, ""),
        ]
    note = (
        f"Kept, or never seen? On {int(chosen.sum())} examples that nobody asked to "
        "forget. AUCs, and how many of the kept examples an attack finds when 1 % or "
        "0.1 % of the never-seen ones are taken for such. Retraining does not hide the "
        "kept ones: its row is what to compare with, and the floor."
    )
    return table("kept", "Per-example attacks on kept examples", note, columns, rows)


def memorised_thirds(original: Game) -> dict[str, np.ndarray]:
    """Returns bool[S, N] of the least and the most memorised third of the examples.

    They are found by the models of one half and attacked in the other.
    """
    size = original.states.shape
    half = np.arange(size[0]) // 2 % 2
    masks = {key: np.zeros(size, bool) for key in ("not_memorised", "memorised")}
    for side in (0, 1):
        rows = half != side
        scores = hard_sets.memorization(original.margins[rows], original.states[rows])
        groups = hard_sets.strata(np.nan_to_num(scores))
        for key, group in (("not_memorised", 0), ("memorised", 2)):
            masks[key] |= (half == side)[:, None] & (groups == group)
    return masks
