"""Every setting of a run: each section is owned by its reader and assembled here."""

import inspect
from typing import TYPE_CHECKING

from unlearn import methods, models, training, training_time
from unlearn.data.splits import DataConfig, ForgetConfig
from unlearn.pipeline.checks import any_scope, approximate
from unlearn.pipeline.class_sweep import SweepConfig
from unlearn.pipeline.tune import TuneConfig

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def default_config() -> "ConfigDict":
    """Returns every field of a run with its default; experiments change some of them.

    It is locked: a field that does not exist cannot be set by mistake.

    - `data`, `forget`: see `data.splits.DataConfig` and `ForgetConfig`.
    - `model`: the name of the net (or PATH.py:function), the file that its `weights`
      come from if the original is not trained here, the `dtype` that the nets here
      compute in (float32, bfloat16 or float16; parameters, batch statistics, logits and
      the optimizer are float32), whether it answers the mean of its logits for an
      image and its mirror image (`test_flip`, see `models.mirrored`), and the options
      of each net.
    - `train`: how original and retrained models are trained, see `training.Recipe`.
    - `methods`: the keyword arguments of each method (of `fit`, if it is one of
      `training_time`). A method that needs the retain set has `retain_examples` as
      well: 0, or the size of the random part of the retain set that it gets.
    - `run`: the methods that are run.
    - `seeds`: training seeds; each trains its own original and retrained model.
    - `reference`: what models are compared to: `retrain`, `none`, or the files of
      models retrained elsewhere, one a seed, separated by commas.
    - `export`: `safetensors`, `npz` or `msgpack`: every unlearned model is written to
      `export/<model>/<seed>.<format>` of the run folder as well.
    - `attack_examples`: largest sample of the support vector attack; 0: no limit.
    - `batch_devices`: how many devices a batch of a training is spread over; 0: all of
      an accelerator's or of several processes', one of a CPU's. Programs of many
      models, as in an audit, take all devices in any case, a part of the models each.
    - `tune`, `class_sweep`: see `tune.TuneConfig` and `class_sweep.SweepConfig`.
    """
    from ml_collections import ConfigDict

    names = *approximate(), *training_time.METHODS
    config = ConfigDict(
        {
            "data": DataConfig()._asdict(),
            "forget": ForgetConfig()._asdict(),
            "model": {
                "name": "cnn",
                "weights": "",
                "dtype": "float32",
                "test_flip": False,
            }
            | models.options(),
            "train": training.Recipe()._asdict(),
            "methods": {name: method_defaults(name) for name in names},
            "run": any_scope(),
            "seeds": 5,
            "reference": "retrain",
            "export": "",
            "attack_examples": 0,
            "batch_devices": 0,
            "tune": TuneConfig()._asdict(),
            "class_sweep": SweepConfig()._asdict(),
        }
    )
    return config.lock()


def method_defaults(name: str) -> dict:
    """Returns the keyword arguments of a method that have a default."""
    trained = training_time.METHODS.get(name)
    fn = trained.fit if trained else methods.METHODS[name].fn
    parameters = inspect.signature(fn).parameters.values()
    defaults = {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not None
    }
    if not trained and "retain" in methods.METHODS[name].needs:
        defaults["retain_examples"] = 0
    return defaults
