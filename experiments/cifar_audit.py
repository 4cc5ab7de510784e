"""Random forgetting on CIFAR-10, audited with shadow models.

    python launch.py --experiment=cifar_audit

`full`: ResNet-18, 256 shadow models of 25,000 images each (Hayes et al.); not run yet.
`cpu`: a small net, 64 shadow models, 2,000 images; 31 min on two cores.

AUCs of the attacks, 0.5 where nothing can be told: U-LiRA on all 900 targets, on the
300 mislabelled and on the 200 asked for; its true positive rate (%) on the mislabelled
at 1 % false alarms; the population attack of the usual tables; RULI efficacy (unlearned
or retrained?). KLoM of the forget set and forgetting score over those of retrain; test
accuracy, the mislabelled trained with; Anamnesis Index, mean of two seeds:

    model            U-LiRA   misl.   asked  TPR  popul.  effic. KLoM  score  test   AIN
    original          0.810   0.874   0.766 17.1   0.705   0.812  3.1   0.19  42.3  0.00
    retrain           0.500   0.496   0.511  0.9   0.504   0.500  1.0   1.00  41.8  0.98
    no_op             0.810   0.874   0.766 17.1   0.705   0.812  3.1   0.19  42.3  0.00
    head_distill      0.688   0.736   0.662  6.0   0.618   0.754  1.5   0.14  42.2  0.43
    constant_margin   0.658   0.635   0.670 10.9   0.656   0.973 12.6   0.03  42.3
    collapsed         0.500   0.500   0.500  0.0   0.500   0.924  7.0   0.00   9.4
    finetune          0.616   0.662   0.586  3.4   0.586   0.655  1.1   0.53  41.6  0.64
    neggrad_plus      0.624   0.666   0.603  3.4   0.600   0.636  1.5   0.66  39.0  0.43
    salun             0.636   0.689   0.607  3.8   0.607   0.674  1.5   0.68  38.2  0.33
    scrub             0.774   0.841   0.731 12.8   0.682   0.779  2.8   0.23  41.9  0.21
    by chance        +-.007  +-.013  +-.017

Every control comes out as it must, and every method is outside: nearest is `finetune`,
which keeps the accuracy as well. Where the net is so overfitted (81 % of the images to
forget are answered rightly before, 46 % after retraining) the population attack sees
most of it too. IDI is empty: layers of the original tell forgotten images from kept
ones hardly better than those of retrain.
"""

from unlearn.auditing import run
from unlearn.pipeline import default_config
from unlearn.studies import SMALLEST, default_audit

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = default_config()
    config.run = ("finetune", "neggrad_plus", "salun", "scrub")
    config.data.name = "cifar10"
    config.data.flip = True
    config.attack_examples = 2000
    with config.unlocked():
        config.audit = default_audit(preset)
    if preset == "full":
        config.data.crop = 4
        config.data.examples = 25_000
        config.model.name = "resnet18"
        config.model.resnet18.dtype = "bfloat16"
        config.train.epochs = 30
        config.train.batch_size = 256
        config.audit.update(models=256, targets=1200, canaries=300, chunk=16)
        config.audit.harder.models = 0
        return config
    config.model.name = "cnn"
    config.model.cnn.widths = (8, 16, 32)
    config.data.examples = 2000
    config.train.epochs = 20
    config.train.learning_rate = 0.03
    config.train.batch_size = 64
    config.seeds = 3
    config.audit.update(models=64, targets=900, canaries=300, chunk=16)
    config.audit.harder.models = 0
    for name, constants in METHODS.items():
        config.methods[name].update(constants)
    if preset == "smoke":
        config.data.name = "synthetic:32x32x3,classes=10,train=300,test=100"
        config.data.examples = 0
        config.model.cnn.widths = (4, 8)
        config.run = ("finetune",)
        config.seeds = 2
        config.train.epochs = 1
        config.audit.update(SMALLEST, examples=50)
        config.audit.layers.relearning.steps = 10
    return config


METHODS = {
    "finetune": dict(learning_rate=0.05, epochs=3, batch_size=64),
    "neggrad_plus": dict(learning_rate=0.02, epochs=2, alpha=0.95, batch_size=64),
    "salun": dict(learning_rate=0.003, epochs=2, alpha=8.0, batch_size=64),
    "scrub": dict(
        optimizer="adam",
        learning_rate=5e-4,
        epochs=3,
        max_epochs=2,
        batch_size=64,
        forget_batch_size=64,
    ),
}
