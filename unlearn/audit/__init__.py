"""The audit of a run: studies of many models, attacks, verdicts and the page.

    audit.run(config, folder).facts["conclusion"]

`config.py` has the settings; `studies.py` draws what models are requested to forget and
`shadow_models.py` makes them; `controls.py` and `hard_sets.py` are what an audit has to
see through; `per_example.py`, `model_tables.py` and `hard_tables.py` measure, with
`probes.py` below the outputs; `verdict.py` judges; `facts.py` is what the page says.
For U-LiRA on a problem of one's own, without a run: `unlearn.shadows`.
"""

from unlearn.audit.config import SMOKE, AuditConfig, default_audit
from unlearn.audit.run import Audit, run

__all__ = ["SMOKE", "Audit", "AuditConfig", "default_audit", "run"]
