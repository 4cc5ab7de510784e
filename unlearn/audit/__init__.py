"""The audit of a run: studies of many models, attacks, verdicts and the page.

    audit.run(config, folder).facts["conclusion"]

`config.py` has the settings; `studies.py` draws what models are requested to forget,
`shadow_models.py` makes them and `kept.py` finds those on disk; `controls.py`, the
doses of `games.py` and `hard_sets.py` are what an audit has to see through. `games.py`
attacks and `utility.py` compares accuracies, `verdict.py` judges both, and `judged.py`
puts it together with the most exposed examples (`exposure.py`). `per_example.py`,
`model_tables.py`, `hard_tables.py`, `added_tables.py` and `added_attacks.py` make the
tables, with `probes.py` below the outputs; `facts.py` is what the page says besides,
and `left_behind.py` which files of the run are to be deleted. For attacks on a problem
of one's own, without a run: `unlearn.shadows`.
"""

from unlearn.audit.config import SMOKE, AuditConfig, default_audit
from unlearn.audit.run import Audit, join, run

__all__ = ["SMOKE", "Audit", "AuditConfig", "default_audit", "join", "run"]
