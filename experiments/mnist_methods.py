"""A digit of MNIST forgotten by every method, then each digit by the best eight.

    python launch.py --experiment=mnist_methods

34 min on two cores with `--preset=cpu`. The 7 forgotten, two seeds; test accuracy is on
the other nine digits, ToW is Tug-of-War (two retrained models: 99.9), cost the share of
the seconds of retraining:

    model                   forget  retain   test    ToW  Avg. Gap  seconds  cost
    original                 100.0   100.0   99.3   0.01    50.01     43.0
    retrain                    0.0   100.0   99.3                     33.2
    newton_head                0.0   100.0   99.3  99.90     0.02      0.6     2 %
    random_labels              0.0    99.9   99.2  99.78     0.06      1.9     6 %
    salun                      0.0    99.9   99.2  99.71     0.07      2.1     6 %
    boundary_shrink            0.3   100.0   99.3  99.58     0.12      1.3     4 %
    delete                     0.4   100.0   99.3  99.57     0.12      2.4     7 %
    emmn                       0.0    99.8   99.1  99.57     0.11      2.7     8 %
    amnesiac_relabel           0.1    99.8   98.9  99.29     0.18      2.3     7 %
    lfssd                      0.0    99.7   98.8  99.19     0.20      0.8     2 %
    sisa                       0.0    98.8   98.7  98.18    12.96     24.4    74 %
    layer_noise                0.0    98.8   98.4  97.84     0.54      0.4     1 %
    curriculum_distill         0.0    98.4   98.1  97.28     0.68      1.0     3 %
    unsir                      0.1    98.3   98.2  97.11    13.22      0.9     3 %
    class_swap                 0.0    98.5   97.8  96.99     0.76      0.8     3 %
    eu_k                       0.0    98.1   98.1  96.87    25.79      0.8     3 %
    fisher_forgetting          0.0    98.2   97.7  96.57     0.87      0.5     2 %
    duck                       3.0    99.7   99.1  96.52     1.56      2.2     7 %
    amnesiac                   0.0    97.9   97.9  96.48    13.39      6.0    18 %
    sfron                      0.0    98.0   97.7  96.45    13.39      3.2    10 %
    gkt                        0.0    97.0   96.9  94.61    26.37      4.0    12 %
    conv_transpose             0.0    96.8   96.9  94.44    26.31      0.6     2 %
    bad_teacher                0.1    97.0   96.4  94.10     1.50      1.0     3 %
    kl_uniform                 1.4    97.3   96.6  93.36    26.70      0.3     1 %
    boundary_expand            6.0    99.7   98.9  93.25     2.49      0.4     1 %
    reset_head_distill         0.0    95.9   96.1  92.83    14.33      0.6     2 %
    prune_reinit_entropy       4.7    97.7   97.6  91.47    26.15      0.8     2 %
    scrub                      7.5    99.3   98.7  91.30     3.88      0.9     3 %
    influence                  0.3    93.2   93.1  87.41     3.37      1.0     3 %
    kl_contrastive            15.6    99.2   98.5  83.06     4.32      1.5     5 %
    certified                  0.0    79.5   80.9  64.86     9.73     64.9   196 %
    noise_reset               34.3    97.9   97.8  63.35    26.39      0.7     2 %
    ssd                       47.9    97.2   96.5  48.67    38.09      0.8     2 %
    lipschitz                  0.0    48.0   47.8  36.65    50.86      1.4     4 %
    masked_small_gradients    64.6    99.0   98.5  34.72    29.52      1.5     5 %
    prune_finetune            98.5    99.7   99.1   1.50    49.11      0.5     2 %
    cf_k                      99.9   100.0   99.3   0.11    49.91      0.7     2 %
    l1_sparse                 99.9   100.0   99.2   0.05    49.91      0.4     1 %
    neggrad_plus             100.0   100.0   99.3   0.01    49.99      0.4     1 %
    finetune                 100.0   100.0   99.3   0.01    50.00      0.5     1 %
    ntk_scrub                100.0   100.0   99.3   0.01    50.00      1.3     4 %
    gradient_ascent          100.0   100.0   99.3   0.01    50.00      0.4     1 %

The two zero-shot methods, `emmn` and `gkt`, see no data. `certified` works on pixels,
so its certificate covers the whole classifier; a class is far past its budget and was
answered by a new fit. Where Avg. Gap is near 13 or 26 and the accuracies are right, the
attack flipped in one seed or both (README, Limits).

Each digit in turn, one seed but for the 7 (`worst_class.md`). Test accuracy on the
other digits lost against retraining, in points; at the right the worst digit: that,
what is left of it in the forget set (%), and the cost:

    forgotten          0    1    2    3    4    5    6    7    8    9   lost  left  cost
    newton_head      .18  .19  .21  .08  .22  .02  .13  .05  .02  .12   0.22  0.0    2 %
    boundary_shrink  .30  .18  .28  .16  .21  .10  .20  .06  .13  .09   0.30  0.6    5 %
    random_labels    .37  .26  .27  .29  .27  .24  .21  .10  .28  .22   0.37  0.2    6 %
    delete           .38  .30  .31  .19  .20  .11  .21  .04  .12  .11   0.38  0.6    8 %
    salun            .39  .32  .30  .29  .23  .22  .30  .15  .25  .22   0.39  0.1    7 %
    amnesiac_relabel .61  .51  .57  .46  .51  .37  .43  .40  .43  .29   0.61  0.1   14 %
    emmn             .39  .32  .64  .30  .22  .21  .38  .25  .23  .19   0.64  0.0    8 %
    lfssd            .38  .17  .43  .58  .52 1.34 1.18  .47  .39  .19   1.34  0.4    5 %

The first five stay within half a point and 1 % on every digit, in a tenth of the time.
To repeat these alone (12 min; their costs here and the row of `delete` above are from
such a run):

    python launch.py --experiment=mnist_methods --workdir=runs/five \
        --methods=newton_head,boundary_shrink,random_labels,delete,salun

Constants: eight trials a method on the validation split, digits 0 and 1, originals of
ten epochs. The first trials of `delete`, `boundary_shrink`, `salun`, `emmn` and
`amnesiac_relabel`, and how much work each method may do (`FIXED`), were set by hand
from validation accuracies of digits 0, 1, 3, 7 and 8.
"""

from unlearn.exact import EXACT
from unlearn.pipeline import APPROXIMATE, default_config
from unlearn.rotation import run

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = default_config()
    config.data.name = "mnist"
    config.data.validation = 0.05
    config.forget.kind = "class"
    config.forget.classes = (7,)
    config.run = (*APPROXIMATE, *EXACT)
    config.model.name = "cnn"
    config.train.epochs = 10
    config.train.batch_size = 128
    config.attack_examples = 1000
    config.seeds = 2
    config.rotate.update(classes=tuple(range(10)), best=8)
    config.tune.update(trials=8, objective="tug_of_war", classes=(0, 1))
    for chosen in (FIXED, TUNED):
        for name, constants in chosen.items():
            config.methods[name].update(constants)
    if preset == "full":
        config.train.epochs = 20
        config.seeds = 5
        config.rotate.seeds = 5
    if preset == "smoke":
        config.data.name = "synthetic:28x28x1,classes=10,train=600,test=200"
        config.data.validation = 0.1
        config.model.cnn.widths = (4, 8)
        config.seeds = 1
        config.rotate.classes = (7, 0)
        config.rotate.best = 2
        config.train.epochs = 1
    return config


# At most a tenth of a retraining's work: one pass over the forget set, or some
# thousands of retained examples.
FIXED = {
    "finetune": dict(epochs=1, retain_examples=6000),
    "l1_sparse": dict(epochs=2, no_l1_epochs=1, retain_examples=3000),
    "prune_finetune": dict(epochs=1, retain_examples=6000),
    "cf_k": dict(epochs=2, retain_examples=5000),
    "eu_k": dict(epochs=3, retain_examples=4000),
    "gradient_ascent": dict(epochs=1),
    "boundary_shrink": dict(epochs=2),
    "boundary_expand": dict(epochs=1),
    "lipschitz": dict(epochs=1, copies=5),
    "kl_uniform": dict(epochs=1),
    "neggrad_plus": dict(epochs=1, forget_batch_size=128, retain_examples=4000),
    "random_labels": dict(epochs=1, decay="cosine", retain_examples=24000),
    "amnesiac_relabel": dict(epochs=1, decay="cosine", retain_examples=32000),
    "salun": dict(epochs=1, decay="cosine", retain_examples=20000),
    "scrub": dict(
        optimizer="adam",
        epochs=1,
        max_epochs=1,
        temperature=2.0,
        forget_batch_size=128,
        retain_examples=2000,
        rewind=False,
    ),
    "bad_teacher": dict(epochs=1, retain_percent=100, retain_examples=2000),
    "unsir": dict(examples=3000, noise_images=128, noise_copies=8),
    "curriculum_distill": dict(examples=2500, noise_images=128, noise_copies=8),
    "class_swap": dict(epochs=1, fisher_examples=500, retain_examples=3000),
    "delete": dict(epochs=4),
    "duck": dict(epochs=1, retain_steps=2, retain_examples=10000),
    "sfron": dict(epochs=1, group=16, retain_examples=5000),
    "influence": dict(examples=200, retain_examples=2000),
    "fisher_forgetting": dict(examples=200),
    "ntk_scrub": dict(examples=30, forget_examples=20),
    "newton_head": dict(retain_examples=10000),
    "ssd": dict(group=16, retain_examples=6000),
    "lfssd": dict(group=16, retain_examples=6000),
    "emmn": dict(repair_epochs=30),
    "gkt": dict(fresh_layers=1),
    "kl_contrastive": dict(epochs=1, forget_batch_size=256, retain_examples=3000),
    "masked_small_gradients": dict(epochs=1, retain_examples=5000),
    "noise_reset": dict(epochs=2, retain_examples=4000),
    "prune_reinit_entropy": dict(epochs=2, retain_examples=4000),
    "conv_transpose": dict(epochs=2, retain_examples=4000),
    "reset_head_distill": dict(epochs=1, warmup_epochs=1, retain_examples=3000),
    "layer_noise": dict(epochs=3, tail_epochs=1, retain_examples=2000),
    "sisa": dict(epochs=6, shards=3, slices=3),
    "amnesiac": dict(epochs=5, batch_size=128, together=True, repair_epochs=2),
    "certified": dict(past_budget="retrain"),
}

# Chosen by `python launch.py --experiment=mnist_methods --tune`.
TUNED = {
    "finetune": dict(learning_rate=0.128),
    "l1_sparse": dict(learning_rate=0.0956, alpha=0.00136),
    "prune_finetune": dict(learning_rate=0.18, sparsity=0.936),
    "cf_k": dict(learning_rate=0.198),
    "eu_k": dict(learning_rate=0.0724),
    "gradient_ascent": dict(learning_rate=0.00339),
    "boundary_shrink": dict(learning_rate=0.0004, bound=0.0359),
    "boundary_expand": dict(learning_rate=0.00033),
    "lipschitz": dict(learning_rate=0.0107, sigma=0.0789),
    "kl_uniform": dict(learning_rate=0.00126),
    "neggrad_plus": dict(learning_rate=0.0906, alpha=0.945),
    "random_labels": dict(learning_rate=0.0155, alpha=7.94),
    "amnesiac_relabel": dict(learning_rate=0.0005),
    "salun": dict(learning_rate=0.01, alpha=7.94, fraction=0.5),
    "scrub": dict(learning_rate=0.000111, alpha=0.0222),
    "bad_teacher": dict(learning_rate=0.00103),
    "unsir": dict(learning_rate=0.0098, repair_learning_rate=0.00578),
    "curriculum_distill": dict(learning_rate=0.000865, repair_learning_rate=0.0101),
    "class_swap": dict(learning_rate=0.128, penalty=0.0531, fraction=0.0643),
    "delete": dict(learning_rate=0.0004),
    "duck": dict(learning_rate=0.000314, target_accuracy=0.592),
    "sfron": dict(learning_rate=0.0213, alpha=1360.0),
    "influence": dict(scale=0.421, damping=0.00267),
    "fisher_forgetting": dict(alpha=5.53e-06),
    "ntk_scrub": dict(scale=452.0, weight_decay=0.136),
    "newton_head": dict(weight_decay=0.001),
    "ssd": dict(alpha=1.57, dampening=0.391),
    "lfssd": dict(alpha=1.6, dampening=0.1),
    "emmn": dict(repair_rate=0.002, temperature=4.84),
    "gkt": dict(learning_rate=0.00307, temperature=8.42),
    "kl_contrastive": dict(
        learning_rate=0.00358,
        uniform_learning_rate=0.000443,
        forget_learning_rate=0.000241,
    ),
    "masked_small_gradients": dict(learning_rate=0.0142, fraction=0.406),
    "noise_reset": dict(learning_rate=0.042, sigma=0.729),
    "prune_reinit_entropy": dict(learning_rate=0.0757, fraction=0.912),
    "conv_transpose": dict(learning_rate=0.0757),
    "reset_head_distill": dict(
        learning_rate=0.042, warmup_learning_rate=0.0671, temperature=2.31
    ),
    "layer_noise": dict(learning_rate=0.00893, sigma=0.0359),
}
