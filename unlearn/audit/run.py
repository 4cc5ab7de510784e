"""A run whose methods are audited: the pipeline, the studies, and the page.

Everything the studies make is kept a chunk at a time; the same command goes on where it
stopped.
"""

import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unlearn import methods, pipeline, store, training_time
from unlearn.audit import (
    added_tables,
    hard_tables,
    judged,
    model_tables,
    per_example,
    studies,
)
from unlearn.audit import facts as page_facts
from unlearn.audit.config import check
from unlearn.audit.controls import CONTROLS, MATCHING, PRIVATE
from unlearn.audit.games import Game, Leak
from unlearn.audit.judged import Judgement, Measurements, Stress
from unlearn.audit.shadow_models import (
    Measured,
    check_private,
    compiled_ahead,
    make_free,
    measure_all,
    plan,
)
from unlearn.audit.tables import write_csv
from unlearn.errors import InputError
from unlearn.metrics import lira, roc
from unlearn.metrics.lira import FORGET, OUT
from unlearn.pipeline import Result
from unlearn.pipeline.checks import methods_of
from unlearn.pipeline.traces import check_methods
from unlearn.report import audit_figures, page, plotting
from unlearn.report.summary import summarize

if TYPE_CHECKING:
    from ml_collections import ConfigDict

TRAINED = ("original", "retrain")  # from scratch, in every study
REFERENCES = (*TRAINED, "oracle")
MOST_SHOWN = 10  # methods in a figure of curves or distributions


class Audit(NamedTuple):
    """What an audit ends with."""

    facts: dict  # as in report.json
    result: Result  # of the pipeline
    diverged: tuple[str, ...]  # methods left out of the verdicts


class Studied(NamedTuple):
    """The studies of a run, with what was measured in them."""

    shadow: Measurements | None  # None: whole classes are requested
    request: Measurements
    stress: Measurements | None


def run(
    config: "ConfigDict", folder: Path | str, *, data_dir: str | None = None
) -> Audit:
    """Runs the pipeline and the studies; writes the facts of the page.

    A method that diverges is named and left out of the verdicts; the others are judged.

    Raises:
      InputError: bad input, in one line.
    """
    started = time.perf_counter()
    names = methods_of(config)
    check(config, names)
    pipeline.require_trained(config, "an audit")
    result = pipeline.run(config, folder, data_dir=data_dir)
    run = result.run
    names = [name for name in names if name not in result.diverged]
    studied, diverged = study_all(run, names)
    names = [name for name in names if name not in diverged]
    diverged = sorted({*result.diverged, *diverged})

    run.progress.tick("attacks and verdicts")
    judgement = judged.judge_all(
        studied.shadow, studied.request, run.sets.class_names, config.audit
    )
    stress = (
        judged.judge_stress(studied.stress, config.audit) if studied.stress else None
    )
    all_tables = tables_of(result, names, studied, judgement, stress)
    for table in all_tables:
        write_csv(run.folder, table)
    save_figures(run, names, judgement, stress, studied.request)

    found = judged.facts_of(
        judgement,
        stress,
        config,
        {row["model"]: row for row in result.summary},
        ids_of(run),
    )
    overview = audit_figures.leak_against_accuracy(
        found["models"], found["judged"]["tolerances"], run.sets.title
    )
    plotting.save(overview, run.folder / "figures" / "leak_against_accuracy.png")
    facts = page_facts.assemble(result, names, found, all_tables, diverged)
    facts["run"]["seconds"] = time.perf_counter() - started
    page.write(run.folder, facts)
    print_findings(facts)
    run.progress.say(f"The report is {run.folder / 'report.html'}")
    return Audit(facts, result, tuple(diverged))


def join(
    config: "ConfigDict", folder: Path | str, *, data_dir: str | None = None
) -> None:
    """Makes models of the studies of a run, with any number of other processes.

    Each makes the kinds of models that no other is at, helps with chunks of those that
    are left, and takes over what processes that were killed were at. When it ends all
    are made, and `run` has only to judge them.

    Raises:
      InputError: bad input, in one line.
    """
    names = methods_of(config)
    check(config, names)
    pipeline.require_trained(config, "an audit")
    run = pipeline.prepare(config, folder, names, data_dir=data_dir, join=True)
    check_methods(run, names)
    studied, _ = study_all(run, names, join=True)
    one_program = [name for name in names if name not in training_time.METHODS]
    hard_studies(run, studied, one_program)
    run.progress.say("All models are made: the same command without --join judges them")
    store.leave(run.lock)


def hard_studies(run: pipeline.Run, studied: Studied, names: Sequence[str]) -> list:
    """Makes the tables of harder forget sets and sequential requests, if wanted."""
    if not run.config.audit.harder.models or not studied.shadow:
        return []
    stress = studied.stress and studied.stress.study
    shadow, request = studied.shadow.study, studied.request.study
    tables = []
    if run.config.audit.harder.count:
        tables.append(hard_tables.harder(run, shadow, stress, request, names))
    members = studied.shadow if run.config.audit.harder.membership else None
    return [*tables, hard_tables.sequential(run, request, names, members)]


def study_all(
    run: pipeline.Run, names: Sequence[str], *, join: bool = False
) -> tuple[Studied, list[str]]:
    """Makes and measures the models of all studies, and names what diverged.

    Methods for whole classes only are left out where single examples are forgotten.
    With `join` others are at it too.
    """
    config = run.config
    request = studies.request_study(run)
    shadow = None if request.of_classes else studies.shadow_study(run)
    stress = studies.stress_study(run) if config.audit.canaries else None
    if shadow and (note := studies.small(shadow)):
        run.progress.say(note)
    single = [name for name in names if forgets_examples(name)]
    more = CONTROLS
    if config.audit.matching.epochs:
        more = *more, MATCHING
    if config.audit.private.epsilon:
        more = *more, PRIVATE
        for study in filter(None, (shadow, request, stress)):
            check_private(study)
    wanted = [
        (shadow, (*TRAINED, *more, *single)),
        (request, (*REFERENCES, *more, *names)),
        (stress, (*TRAINED, *more, *single)),
    ]
    run.progress.expect(
        [
            stage
            for study, every in wanted
            if study
            for stage in plan(study.name, study.models, config.train.epochs, every)
        ]
    )
    made: list[Measurements | None] = []
    diverged: set[str] = set()
    kinds = [
        [(study, name) for name in every] if study else [] for study, every in wanted
    ]
    if join:
        make_free(itertools.chain(*kinds))
    with compiled_ahead(itertools.chain(*kinds[1:]) if not join else ()):
        for study, every in wanted:
            if study is None:
                made.append(None)
                continue
            models, without_end = finite(measure_all(study, every, ahead=not join))
            diverged |= set(without_end)
            made.append(Measurements(study, models))
    run.progress.expect(None)
    kept = [
        part and part._replace(models=without(part.models, diverged)) for part in made
    ]
    shadowed, requested, stressed = kept
    assert requested is not None
    return Studied(shadowed, requested, stressed), sorted(diverged)


def forgets_examples(name: str) -> bool:
    """Says whether a method can forget single examples."""
    return name in training_time.METHODS or methods.METHODS[name].scope != "class"


def without(models: Mapping[str, Measured], names: Iterable[str]) -> dict:
    """Returns the models but for some."""
    return {name: one for name, one in models.items() if name not in set(names)}


def finite(models: dict[str, Measured]) -> tuple[dict[str, Measured], list[str]]:
    """Returns the models without kinds some of which diverged, and their names.

    Raises:
      InputError: a reference or a control of every audit diverged, so that nothing can
        be judged.
    """
    diverged = [n for n, m in models.items() if not np.isfinite(m.margins).all()]
    for name in set(diverged) & {*REFERENCES, *CONTROLS}:
        raise InputError(
            f"{name} diverged in the studies: lower train.learning_rate (and use "
            "another folder)"
        )
    return without(models, diverged), diverged


def tables_of(
    result: Result,
    names: Sequence[str],
    studied: Studied,
    judgement: Judgement,
    stress: Stress | None,
) -> list[dict]:
    """Makes the tables of the annex."""
    run, (where, models) = result.run, judgement.where
    request = studied.request
    rows = [*result.rows, *model_tables.control_rows(run)]
    shown = "original", "retrain", *CONTROLS, *names
    rows = [row for row in rows if row["model"] in shown]
    thirds = None
    if not where.of_classes:
        thirds = per_example.memorised_thirds(judgement.played["original"])
    found = [
        model_tables.standard_metrics(
            summarize(rows, whole_classes=where.of_classes), shown
        ),
        *per_example.attack_tables(
            where,
            judgement.played,
            judgement.leaks,
            models,
            thirds,
            refused=judgement.refused,
        ),
    ]
    if studied.shadow:
        found.append(per_example.kept_table(*studied.shadow))
    if stress and studied.stress:
        more = stress.played, stress.leaks, studied.stress.models
        found += per_example.attack_tables(studied.stress.study, *more)
    one_program = [name for name in names if name not in training_time.METHODS]
    run.progress.tick("request study  distances of distributions")
    found += [
        model_tables.distributional(*request),
        model_tables.outputs(run, names, rows),
        model_tables.layers(run, one_program, **run.config.audit.layers),
    ]
    found += hard_studies(run, studied, one_program)
    return found + added_tables.added(run, one_program, **studied._asdict())


def save_figures(
    run: pipeline.Run,
    names: Sequence[str],
    judgement: Judgement,
    stress: Stress | None,
    request: Measurements,
) -> None:
    """Draws ROC curves of a likelihood ratio, and distributions of margins."""
    few, title = fewer(names, judgement.leaks), run.sets.title
    if len(few) < len(names):
        title += f": of {len(names)} methods, who leaks least and who leaks most"
    shown = "original", "retrain", *few
    folder = run.folder / "figures"
    groups = {attacked(judgement): judgement.played} | (
        {"mislabelled: forgotten or never seen": stress.played} if stress else {}
    )
    curves = {
        name: {group: curve_of(played[name]) for group, played in groups.items()}
        for name in shown
        if all(name in played for played in groups.values())
    }
    plotting.save(audit_figures.roc(curves, title), folder / "roc.png")
    margins = {
        name: {
            key: request.models[name].margins[:, part]
            for key, part in request.study.sets.items()
        }
        for name in shown
    }
    plotting.save(audit_figures.margins(margins, title), folder / "margins.png")


def fewer(names: Sequence[str], leaks: Mapping[str, Leak]) -> list[str]:
    """Returns the methods of a figure: of too many those that leak least, and most."""
    if len(names) <= MOST_SHOWN:
        return list(names)
    found = {name: leaks[name].leak.value for name in names if name in leaks}
    known = [name for name, leak in found.items() if not math.isnan(leak)]
    ranked = sorted(known, key=found.__getitem__)
    chosen = {*ranked[: MOST_SHOWN // 2], *ranked[-MOST_SHOWN // 2 :]}
    return [name for name in names if name in chosen]


def attacked(judgement: Judgement) -> str:
    """Says which examples are attacked where forgetting is judged, and what is told."""
    if judgement.where.study.of_classes:
        return "requested classes: unlearned or retrained"
    which = "others than requested" if judgement.refused else "requested"
    return f"{which}: forgotten or never seen"


def curve_of(game: Game) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ROC of U-LiRA; of classes that is a ratio of Gaussians."""
    scores = lira.u_lira(game.margins, game.states)
    return roc.roc_curve(scores, game.states == FORGET, game.states == OUT)


def ids_of(run: pipeline.Run) -> np.ndarray:
    """Returns the ids of the run's training examples, as the user names them."""
    saved = store.load_arrays(run.folder / "split.npz")
    ids = np.empty(len(run.problem.labels), object)
    ids[run.sets.forget] = saved["forget_ids"]
    ids[run.sets.retain] = saved["retain_ids"]
    return ids


def print_findings(facts: Mapping) -> None:
    """Prints a line a model, with the sentence that decided, and whether it may."""
    for model in facts["models"]:
        own = model["verdict"]
        deciding = [s for s in model["because"] if f": {own}" in s]
        print(f"{model['name']:<16} {own:<13} {[*deciding, *model['because']][0]}")
    lead = "It can be concluded" if facts["conclusive"] else "Nothing can be concluded"
    print(f"{lead}: {facts['why']}.")
