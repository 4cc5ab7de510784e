"""One resumable run: data, original, retrain, methods, metrics, report.

    result = pipeline.run(config, folder)

`config.py` has every setting, `setup.py` claims the folder and loads the data,
`stages.py` trains and unlearns, `evaluation.py` measures, `run.py` puts them together.
`tune.py` chooses constants, `class_sweep.py` forgets each class once.
"""

from unlearn.pipeline.checks import (
    any_scope,
    approximate,
    check,
    fitting,
    split_chain,
)
from unlearn.pipeline.config import default_config
from unlearn.pipeline.evaluation import evaluate, measure, predict_examples
from unlearn.pipeline.imported import require_reference, require_trained
from unlearn.pipeline.method_programs import run_method, withheld
from unlearn.pipeline.run import Result, diverged_message, run
from unlearn.pipeline.setup import Run, prepare, template
from unlearn.pipeline.stages import (
    Diverged,
    key_of,
    make_model,
    original,
    seed_label,
)

__all__ = [
    "Diverged",
    "Result",
    "Run",
    "any_scope",
    "approximate",
    "check",
    "default_config",
    "diverged_message",
    "evaluate",
    "fitting",
    "key_of",
    "make_model",
    "measure",
    "original",
    "predict_examples",
    "prepare",
    "require_reference",
    "require_trained",
    "run",
    "run_method",
    "seed_label",
    "split_chain",
    "template",
    "withheld",
]
