"""Audits of 2025-26 on a run's own models: what comes back, neighbours, weights.

Each table has the row of `retrain`, compared with another retrained model: the floor.
They are shown in the annex and judge nothing. `added_attacks` has those of the studies.
"""

import itertools
import math
from collections.abc import Sequence

from unlearn import methods, pipeline
from unlearn.audit import probes
from unlearn.audit.added_attacks import before_after, class_neighbours, epsilon
from unlearn.audit.controls import PRIVATE
from unlearn.audit.judged import Measurements
from unlearn.audit.tables import few_cell, mean_cell, table
from unlearn.errors import InputError
from unlearn.metrics import residual as residuals
from unlearn.metrics.relearning import extra_rise

LOOKED = "original", "retrain", probes.HEAD
MOST = 500  # examples of a set that a probe looks at


def added(
    run: pipeline.Run,
    names: Sequence[str],
    *,
    shadow: Measurements | None,
    request: Measurements,
    stress: Measurements | None,
) -> list[dict]:
    """Builds all tables, of this module and of `added_attacks`, that apply.

    Args:
      names: the methods that are no training-time ones.
    """
    claims = certificates(run)
    forgotten = stress or shadow
    found = [
        relearning_on_retain(run, names),
        residual(run, names),
        connectivity(run, names),
        before_after(shadow, stress) if forgotten else None,
        epsilon(forgotten, claims) if forgotten else None,
        class_neighbours(*request),
    ]
    return [one for one in found if one is not None]


def certificates(run: pipeline.Run) -> dict[str, tuple[float, float]]:
    """Returns the epsilon and delta of the models that have a certificate, by name."""
    constants, private, found = run.config.methods, run.config.audit.private, {}
    if private.epsilon:
        found[PRIVATE] = private.epsilon, private.delta
    for name in run.config.run:
        pair = methods.certificate(pipeline.split_chain(name), constants)
        if name == "certified":
            pair = constants.certified.epsilon, constants.certified.delta
        if pair is not None:
            found[name] = pair
    return found


def with_no_op(rows: dict[str, dict]) -> dict[str, dict]:
    """Adds the row of the model in which nothing was done: that of the original."""
    return dict.fromkeys(("original", "no_op"), rows["original"]) | rows


def pairs(run: pipeline.Run, name: str) -> dict[int, int]:
    """Returns seeds of a model, and of the retrained models they are compared with.

    Their own; retrained models are compared in pairs, no model in two of them.
    """
    seeds = range(run.config.seeds)
    if name == "retrain":
        return dict(zip(seeds[:-1:2], seeds[1::2], strict=True))
    return dict(zip(seeds, seeds, strict=True))


def known(rows: Sequence[dict], key: str) -> list[float]:
    """Returns a value of each row that has it, NaN if none has."""
    return [row[key] for row in rows if key in row] or [math.nan]


RELEARNING = (
    ("before", "Forget acc. before", "%", 1, "of the forget set, as unlearned"),
    ("after", "Forget acc. after", "%", 1, "after training on retained data alone"),
    ("margin_before", "Margin before", "nats", 2, "mean logit-scaled confidence"),
    ("margin_after", "Margin after", "nats", 2, "the same, after training"),
    (
        "rise",
        "Rise beyond retrain's",
        "nats",
        2,
        "0: as retraining; more: it was there",
    ),
)


def relearning_on_retain(run: pipeline.Run, names: Sequence[str]) -> dict:
    """Trains on retained examples alone and measures what of the forget set comes back.

    With the constants of `audit.layers.relearning`, for `audit.layers.seeds` seeds.
    """
    constants = dict(run.config.audit.layers.relearning)
    constants["every"] = constants["steps"]
    numbers = range(min(run.config.audit.layers.seeds, run.config.seeds))
    rows = {}
    for name in (*LOOKED, *names):
        found, others = [], pairs(run, name)
        for seed in numbers:
            own = probes.relearn_on_retain(run, name, seed, **constants)
            row = {
                "before": 100 * own.accuracy[0],
                "after": 100 * own.accuracy[-1],
                "margin_before": own.margin[0],
                "margin_after": own.margin[-1],
            }
            if seed in others:
                other = probes.relearn_on_retain(
                    run, "retrain", others[seed], **constants
                )
                row["rise"] = extra_rise(own.margin, other.margin)
            found.append(row)
        rows[name] = {key: few_cell(known(found, key)) for key, *_ in RELEARNING}
    note = (
        f"{constants['steps']} steps on the retain set, mean of {len(numbers)} seeds. "
        "What a method only hid comes back without one forgotten example, a retrained "
        "model stays where it is; its row says how much two of them differ. A model "
        "that hid nothing does not rise: compare its first margin with retrain's. "
        "https://arxiv.org/abs/2505.22310"
    )
    title = "Relearning on retained data alone"
    return table("relearning_on_retain", title, note, RELEARNING, with_no_op(rows))


RADII = (0.25, 0.5)  # of the perturbations, in standard deviations of the inputs


def residual(run: pipeline.Run, names: Sequence[str]) -> dict | None:
    """Compares answers to perturbed forgotten examples with those of retrained models.

    Returns: None, and says so in one line, where inputs are not one array of floats.
    """
    try:
        run.problem.input_spec.continuous_shape()
    except InputError as error:
        run.progress.say(f"Residual knowledge is left out: the audit {error}")
        return None
    columns = []
    for radius in RADII:
        at, help = f"at {radius:g} sd", "neighbours answered right, over retrain's"
        columns += [
            (f"right_{radius:g}", f"Right {at}", "%", 1, "of the perturbed neighbours"),
            (f"ratio_{radius:g}", f"Ratio {at}", "", 3, help),
            (f"share_{radius:g}", f"Known {at}", "%", 1, "examples known better"),
        ]
    answers = {}
    for seed, name in itertools.product(range(run.config.seeds), (*LOOKED, *names)):
        run.progress.tick(f"{pipeline.seed_label(run, seed)}  {name}  neighbours")
        for radius in RADII:
            own = probes.neighbour_answers(run, name, seed, radius, MOST)
            answers[name, seed, radius] = own
    rows = {}
    for name in (*LOOKED, *names):
        rows[name] = {}
        for radius in RADII:
            found, others = [], pairs(run, name)
            for seed in range(run.config.seeds):
                own = answers[name, seed, radius]
                row = {"right": 100 * own.mean()}
                if seed in others:
                    other = answers["retrain", others[seed], radius]
                    compared = residuals.residual_knowledge(own, other)
                    row |= {"ratio": compared.ratio, "share": 100 * compared.share}
                found.append(row)
            rows[name] |= {
                f"right_{radius:g}": mean_cell(known(found, "right")),
                f"ratio_{radius:g}": mean_cell(known(found, "ratio"), low=0),
                f"share_{radius:g}": mean_cell(known(found, "share")),
            }
    note = (
        f"Twenty random neighbours of {min(len(run.sets.forget), MOST)} forgotten "
        "examples, uniform in a ball; its radius is in standard deviations of the "
        "inputs, a number of them. `Known`: the share of examples of which more "
        "neighbours are answered right than by the retrained model of the same seed. "
        "Retrain's row is of pairs of retrained models, the floor: nothing at or below "
        "it is residual knowledge. https://arxiv.org/abs/2601.22359"
    )
    title = "Residual knowledge: perturbed queries"
    return table("residual", title, note, columns, with_no_op(rows))


WEIGHTS = (
    ("distance_original", "Distance to original", "", 3, "1: as far as retrain"),
    ("barrier_original", "Barrier to original", "nats", 3, "0: in the same basin"),
    ("distance_retrain", "Distance to retrain", "", 3, "1: as far as the original"),
    ("barrier_retrain", "Barrier to retrain", "nats", 3, "of the loss, see below"),
)


def connectivity(run: pipeline.Run, names: Sequence[str]) -> dict:
    """Measures distances of weights, and barriers of the loss on retained examples."""
    found: dict[str, list[dict]] = {name: [] for name in (*LOOKED, *names)}
    for seed in range(run.config.seeds):
        before = pipeline.original(run, seed)
        retrained, _ = pipeline.make_model(run, "retrain", seed)
        whole, apart = probes.path_between(run, before, retrained, MOST)
        for name, rows in found.items():
            run.progress.tick(f"{pipeline.seed_label(run, seed)}  {name}  distances")
            own = probes.variables_of(run, name, seed)
            to_original = probes.path_between(run, before, own, MOST)
            row = {
                "distance_original": to_original[0] / whole,
                "barrier_original": to_original[1],
            }
            others = pairs(run, name)
            if seed in others:
                if name == "retrain":
                    own, _ = pipeline.make_model(run, "retrain", others[seed])
                to_retrained = probes.path_between(run, retrained, own, MOST)
                row["distance_retrain"] = to_retrained[0] / whole
                row["barrier_retrain"] = to_retrained[1]
            rows.append(row)
    rows = {
        name: {key: mean_cell(known(of, key), low=0) for key, *_ in WEIGHTS}
        for name, of in found.items()
    }
    note = (
        "Distances of the weights, over that of original and retrain of one seed; "
        "barriers: how far the loss on retained examples rises on the straight line "
        "between two models. Near the original and without a barrier, a model is in "
        "the original's basin, and what it hides comes back easily; retrain's row is "
        "what apart means. The line to a retrained model of another start tells "
        "nothing: the original itself is as far from it as a second retrained model, "
        "the floor in retrain's row. Batch statistics are interpolated with the "
        "weights, not estimated again. https://arxiv.org/abs/2505.22310"
    )
    title = "Weights: distances and barriers"
    return table("connectivity", title, note, WEIGHTS, with_no_op(rows))
