"""The verdict on every model, and whether the audit can give one.

What decides is U-LiRA on the forgotten targets, U-LiRA on the mislabelled ones among
them, and the accuracy that is left.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unlearn.audit.per_example import reference
from unlearn.audit.shadow_models import Measured
from unlearn.audit.studies import Study
from unlearn.audit.tables import mean_cell
from unlearn.metrics.verdict import (
    INCONCLUSIVE,
    OUTSIDE,
    WITHIN,
    Judged,
    conclusive,
    judge,
    together,
)

if TYPE_CHECKING:
    from ml_collections import ConfigDict

OUTCOMES = {WITHIN: "pass", OUTSIDE: "fail", INCONCLUSIVE: "inconclusive"}
EXPECTED = {
    "original": ("fail", "the model before unlearning"),
    "retrain": ("pass", "trained anew without the forget set, with fresh seeds"),
    "no_op": ("fail", "a request to which nothing was done"),
    "head_distill": ("fail", "only the head was trained, to answer like retraining"),
    "constant_margin": ("fail", "the original's answers, all equally confident"),
    "collapsed": ("fail", "one answer to everything"),
}


class Finding(NamedTuple):
    """The verdict on one model, and the sentences with the numbers that decide it."""

    judged: Judged
    attacked: Judged  # by the attacks alone, its accuracy left aside
    because: list[str]


def decide(
    study: Study,
    models: dict[str, Measured],
    per_example_table: dict,
    config: "ConfigDict",
) -> dict[str, Finding]:
    """Judges every model of the shadow study.

    `config.auc_tolerance` is how far from 0.5 an AUC, `config.utility_tolerance` how
    far below retraining the test accuracy may be to count as equal.
    """
    labels, test = np.asarray(study.labels), study.sets["test"]
    hits = {n: (m.predictions == labels)[:, test].mean(1) for n, m in models.items()}
    findings = {}
    for row in per_example_table["rows"]:
        name, cells = row["model"], row["cells"]
        if row["kind"] == "floor":
            continue
        judged, because = [], []
        for key, what in (
            ("u_lira", "U-LiRA on all forgotten examples"),
            ("u_lira_canary", "U-LiRA on the mislabelled ones"),
        ):
            if key not in cells:
                continue
            one = cells[key]
            values = one["value"], one["low"], one["high"]
            judged.append(
                judge(
                    *values,
                    null=0.5,
                    tolerance=config.auc_tolerance,
                    models=study.models,
                )
            )
            because.append(
                f"{what}: AUC {values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f}), "
                f"where 0.5 ± {config.auc_tolerance:g} counts as equal: "
                f"{judged[-1].verdict}."
            )
        attacked = together(judged)
        lost = mean_cell(hits[name] - hits[reference(name)])
        worse = [min(lost[key], 0.0) for key in ("value", "low", "high")]
        tolerance = config.utility_tolerance
        judged.append(judge(*worse, null=0, tolerance=tolerance, models=study.models))
        because.append(
            f"Test accuracy against retraining: {signed(lost['value'])} points "
            f"({signed(lost['low'])} to {signed(lost['high'])}), where "
            f"{signed(-tolerance, 0)} is allowed: {judged[-1].verdict}."
        )
        findings[name] = Finding(together(judged), attacked, because)
    return findings


def signed(share: float, digits: int = 2) -> str:
    """Writes a share in percent with its sign."""
    return f"{100 * share:+.{digits}f}".replace("-", "−")


def controls_of(findings: dict[str, Finding]) -> list[dict]:
    """Lists the controls as the page has them."""
    return [
        {
            "name": name,
            "what": what,
            "expected": expected,
            "outcome": OUTCOMES[findings[name].judged.verdict],
            "because": " ".join(findings[name].because),
        }
        for name, (expected, what) in EXPECTED.items()
        if name in findings
    ]


def can_judge(findings: dict[str, Finding]) -> tuple[bool, str]:
    """Says whether the study tells the original from retraining, and why."""
    return conclusive(findings["original"].attacked, findings["retrain"].judged)
