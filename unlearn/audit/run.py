"""A run whose methods are audited: the pipeline, two studies, and the page.

Everything the studies make is kept a chunk at a time; the same command goes on where it
stopped.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unlearn import pipeline
from unlearn.audit import facts as page_facts
from unlearn.audit import hard_tables, model_tables, per_example, studies, verdict
from unlearn.audit.config import check
from unlearn.audit.controls import CONTROLS
from unlearn.audit.shadow_models import REFERENCES, Measured, measure_all, plan
from unlearn.audit.tables import write_csv
from unlearn.errors import InputError
from unlearn.pipeline import Result
from unlearn.pipeline.checks import methods_of
from unlearn.report import audit_figures, page, plotting, schema
from unlearn.report.summary import summarize

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class Audit(NamedTuple):
    """What an audit ends with."""

    facts: dict  # as in report.json
    result: Result  # of the pipeline
    diverged: tuple[str, ...]  # methods left out of the verdicts


def run(
    config: "ConfigDict", folder: Path | str, *, data_dir: str | None = None
) -> Audit:
    """Runs the pipeline and the studies; writes `report.html` and `report.json`.

    A method that diverges is named and left out of the verdicts; the others are judged.

    Raises:
      InputError: bad input, in one line.
    """
    started = time.perf_counter()
    names = methods_of(config)
    check(config, names)
    pipeline.require_trained(config, "an audit")
    result = pipeline.run(config, folder, data_dir=data_dir)
    run, diverged = result.run, list(result.diverged)
    names = [name for name in names if name not in diverged]
    every = *REFERENCES, *CONTROLS, *names
    sizes = config.audit.models, config.train.epochs
    run.progress.expect(plan("shadow", *sizes, every) + plan("request", *sizes, every))

    shadow = studies.shadow_study(run)
    models, more = finite(measure_all(shadow, every))
    diverged += more
    run.progress.tick("shadow study  attacks")
    attacks, rates, kept, curves = per_example.per_example(shadow, models)
    findings = verdict.decide(shadow, models, attacks, config.audit)
    controls = verdict.controls_of(findings)

    request = studies.request_study(run)
    answers, more = finite(measure_all(request, every))
    diverged = sorted({*diverged, *more})
    findings = {n: found for n, found in findings.items() if n not in diverged}
    run.progress.expect(None)
    run.progress.tick("request study  distances of distributions")
    distances = model_tables.distributional(request, answers)

    names = [name for name in names if name not in diverged]
    shown = "original", "retrain", *CONTROLS, *names
    rows = [*result.rows, *model_tables.control_rows(run)]
    rows = [row for row in rows if row["model"] in shown]
    standard = model_tables.standard_metrics(summarize(rows), shown)
    outputs = model_tables.outputs(run, names, rows)
    layers = model_tables.layers(run, names, **config.audit.layers)
    all_tables = [standard, attacks, rates, kept, distances, outputs, layers]
    if config.audit.harder.models:
        all_tables.append(hard_tables.harder(run, shadow, request, names))
        all_tables.append(hard_tables.sequential(run, request, names))
    for table in all_tables:
        write_csv(run.folder, table)
    save_figures(run, names, curves, request, answers)

    conclusive, why = verdict.can_judge(findings)
    facts = {
        "schema": schema.SCHEMA,
        "title": f"Unlearning audit: {run.sets.title}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **page_facts.report_facts(result, findings, conclusive),
        "conclusive": conclusive,
        "controls": controls,
        "tables": all_tables,
        "figures": page_facts.figure_list(run.folder),
        "not_guaranteed": list(page_facts.NOT_GUARANTEED),
        "terms": page_facts.TERMS,
    }
    judged_on = page_facts.judged_on(shadow)
    facts["conclusion"] = page_facts.conclude(facts, why, judged_on, diverged)
    facts["run"]["seconds"] = time.perf_counter() - started
    page.write(run.folder, facts)
    print_findings(findings, facts)
    run.progress.say(f"The report is {run.folder / 'report.html'}")
    return Audit(facts, result, tuple(diverged))


def finite(models: dict[str, Measured]) -> tuple[dict[str, Measured], list[str]]:
    """Returns the models without methods some of which diverged, and their names.

    Raises:
      InputError: a reference or a control diverged, so that nothing can be judged.
    """
    diverged = [n for n, m in models.items() if not np.isfinite(m.margins).all()]
    for name in set(diverged) & {*REFERENCES, *CONTROLS}:
        raise InputError(
            f"{name} diverged in the studies: lower train.learning_rate (and use "
            "another folder)"
        )
    return {n: m for n, m in models.items() if n not in diverged}, diverged


def save_figures(
    run: pipeline.Run,
    names: Sequence[str],
    curves: Mapping[str, Mapping],
    request: studies.Study,
    answers: Mapping[str, Measured],
) -> None:
    """Draws ROC curves and distributions of margins."""
    shown, title = ("original", "retrain", *names), run.sets.title
    folder = run.folder / "figures"
    roc = audit_figures.roc({name: curves[name] for name in shown}, title)
    plotting.save(roc, folder / "roc.png")
    margins = {
        name: {
            key: answers[name].margins[:, part] for key, part in request.sets.items()
        }
        for name in shown
    }
    plotting.save(audit_figures.margins(margins, title), folder / "margins.png")


def print_findings(findings: dict[str, verdict.Finding], facts: dict) -> None:
    """Prints a line a model, with the sentence that decided."""
    verdicts = {method["name"]: method["verdict"] for method in facts["methods"]}
    for name, finding in findings.items():
        own = finding.judged.verdict
        first = [text for text in finding.because if text.endswith(f"{own}.")]
        print(f"{name:<16} {verdicts.get(name, own):<13} {first[0]}")
    print(facts["conclusion"])
