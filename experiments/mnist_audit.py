"""Class forgetting on MNIST, audited: the 7 goes, and random examples of all digits.

    python launch.py --experiment=mnist_audit

The run's request is the 7; the shadow models forget random examples, a third of them
mislabelled. To be quick, 3,000 training images and a small net: 18 min on two cores
with `--preset=cpu`, 64 models. `full` is not run yet.

AUCs of the attacks, 0.5 where nothing can be told: U-LiRA on all 900 targets and on the
300 mislabelled; its true positive rate (%) on these at 1 % false alarms; the population
attack; RULI efficacy. For the request, the 7: KLoM of the forget set and forgetting
score over those of retrain, Anamnesis Index and IDI (two seeds):

    model            U-LiRA  mislab.  TPR 1 %  popul.  effic.  KLoM  score   AIN   IDI
    original          0.802    0.990     80.3   0.578   0.832  15.1   0.00  0.00  1.00
    retrain           0.509    0.520      1.4   0.503   0.506   1.0   1.00  1.52  0.02
    no_op             0.802    0.990     80.3   0.578   0.832  15.1   0.00  0.00  1.00
    head_distill      0.704    0.890     21.3   0.549   0.739   1.2   0.53  0.65  1.00
    constant_margin   0.606    0.696     28.0   0.522   0.931  17.3   0.00
    collapsed         0.500    0.500      0.0   0.500   0.998  17.3   0.00
    finetune          0.737    0.932     34.0   0.556   0.742  14.8   0.00  0.00  1.52
    random_labels     0.693    0.887     20.0   0.497   0.788  16.3   0.00  1.27 -0.27
    newton_head       0.768    0.961     51.5   0.574   0.785  11.3   0.02  0.29  1.00
    boundary_shrink   0.745    0.955     43.6   0.525   0.987  10.5   0.03  1.15  0.81
    by chance        +-.007   +-.012

Every control comes out as it must and every method is outside. Retrain is within the
tolerance of 0.05, yet further from 0.5 than 95 % of what is found by chance: bad luck
of this draw, since with `audit.seed` 1 to 5 it is 0.492, 0.496, 0.509, 0.499 and 0.493
on the mislabelled. `newton_head`, best of all by accuracy (see
`mnist_methods`), changes the head alone and keeps everything below it, IDI 1 and
relearnt in a third of retrain's steps; no method comes near retrain's distributions.
"""

from unlearn.auditing import run
from unlearn.pipeline import default_config
from unlearn.studies import SMALLEST, default_audit

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = default_config()
    config.run = tuple(METHODS)
    config.data.name = "mnist"
    config.data.validation = 0.05
    config.forget.kind = "class"
    config.forget.classes = (7,)
    config.model.name = "cnn"
    config.train.batch_size = 64
    config.attack_examples = 1000
    with config.unlocked():
        config.audit = default_audit(preset)
    if preset == "full":
        config.train.epochs = 10
        config.audit.update(models=256, targets=3000, canaries=750, chunk=64)
    else:
        config.data.examples = 3000
        config.model.cnn.widths = (16, 32)
        config.train.epochs = 8
        config.audit.update(models=64, targets=900, canaries=300, chunk=16)
        config.audit.harder.models = 0
    for name, constants in METHODS.items():
        config.methods[name].update(constants)
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=300,test=100"
        config.data.examples = 0
        config.data.validation = 0.1
        config.model.cnn.widths = (4, 8)
        config.run = ("finetune",)
        config.seeds = 2
        config.train.epochs = 1
        config.audit.update(SMALLEST, examples=50)
        config.audit.layers.relearning.steps = 10
    return config


METHODS = {
    "finetune": dict(learning_rate=0.1, epochs=2, batch_size=64),
    "random_labels": dict(learning_rate=0.01, epochs=2, alpha=8.0, batch_size=64),
    "newton_head": dict(weight_decay=1e-3),
    "boundary_shrink": dict(learning_rate=5e-4, epochs=15),
}
