"""A class of the digits forgotten by every method, in one table.

    python launch.py --experiment=digits_methods

The 7 forgotten, five seeds, then each other digit by the best five: 6 min cold on two
cores, 3 min 40 s of it the first digit (1 min 47 s compiled before,
`--config.rotate.classes="()"`); test accuracy is on the other digits; two retrained
models are 0.22 points apart:

    model                    forget  retain   test   Avg. Gap         seconds  compile
    original                  100.0   100.0   97.8   50.11 +-  0.11     0.49      1.5
    retrain                     0.0   100.0   97.8                      0.48      1.4
    fisher_forgetting           0.0   100.0   97.7    0.12 +-  0.09     0.38      2.9
    salun                       0.0   100.0   97.6    0.14 +-  0.08     0.10      2.8
    kl_contrastive              0.0    99.8   97.6    0.14 +-  0.22     0.08      5.3
    newton_head                 0.0   100.0   98.1    0.15 +-  0.07     0.08      1.6
    class_swap                  0.0   100.0   97.5    0.19 +-  0.12     0.12      6.7
    layer_noise                 0.0    99.9   97.6    0.21 +-  0.11     0.09      3.7
    duck                        0.0    99.8   97.2    0.21 +-  0.13     0.05      3.2
    eu_k                        0.0    99.8   97.3    0.21 +-  0.20     0.07      1.7
    amnesiac_relabel            0.0   100.0   97.6    0.25 +-  0.16     0.10      2.8
    gkt                         0.0    99.5   96.8    0.39 +-  0.40     0.61      7.9
    sisa                        0.0    99.2   97.8    0.39 +-  0.39     0.47      0.6
    random_labels               0.3    99.6   97.5    0.43 +-  0.24     0.08      2.1
    emmn                        0.8   100.0   97.8    0.44 +-  0.85     0.31      6.6
    scrub                       0.0    99.4   96.6    0.48 +-  0.18     0.12      4.1
    delete                      0.2    99.0   96.4    0.66 +-  1.01     0.04      1.9
    boundary_shrink             0.8    99.4   96.7    0.68 +-  0.84     0.02      2.1
    amnesiac                    0.0    98.0   96.0    0.94 +-  0.40     0.11      1.3
    lfssd                       0.0    98.1   95.9    0.98 +-  1.75     0.04      5.4
    ssd                         0.0    98.3   95.9    1.05 +-  1.02     0.05      5.3
    influence                   2.1    99.6   97.1    1.07 +-  1.24     0.10      5.1
    kl_uniform                  0.2    97.8   95.4    1.20 +-  1.87     0.01      1.4
    l1_sparse                   0.3    97.1   94.5    1.64 +-  1.80     0.06      1.8
    unsir                       7.0    99.2   97.0    3.42 +-  6.17     0.07      3.8
    prune_finetune             13.5   100.0   98.0    4.50 +-  4.51     0.16      2.4
    masked_small_gradients     14.5    99.9   96.6    5.48 +-  5.79     0.17      4.1
    sfron                       0.0    99.0   96.4    5.61 +- 13.86     0.12      8.5
    boundary_expand             0.0    97.8   95.7    6.07 +- 15.33     0.02      2.3
    reset_head_distill          0.0    97.9   94.6    6.32 +- 14.11     0.16      3.8
    curriculum_distill         12.1    97.4   95.4    7.14 +- 15.59     0.09      3.9
    bad_teacher                20.6    99.2   97.0    8.08 +- 16.56     0.07      2.7
    conv_transpose              0.0    93.4   90.9    8.38 +- 21.74     0.16      2.3
    prune_reinit_entropy        0.5    93.3   91.2   13.52 +- 19.86     0.09      3.3
    noise_reset                32.7    99.9   97.3   14.39 +- 22.42     0.15      3.0
    lipschitz                  42.4    98.6   96.2   21.55 +- 31.97     0.15      2.7
    certified                   0.0    91.3   92.9   28.40 +-  0.20     0.03      0.1
    ntk_scrub                  82.6    97.3   94.9   42.74 +- 10.63     0.55      2.4
    neggrad_plus               99.1   100.0   97.7   49.53 +-  1.40     0.13      2.6
    gradient_ascent            99.7   100.0   97.7   49.87 +-  0.42     0.02      1.4
    cf_k                      100.0   100.0   97.8   50.11 +-  0.11     0.09      1.5
    finetune                  100.0   100.0   97.8   50.11 +-  0.11     0.07      1.6

Tuning had three seeds and 24 trials a method: intervals that reach from nothing to half
of all show constants that do not carry over to the other seeds. The worst of the ten
digits, which one in parentheses (`worst_class.md`; 320 test images: one is 0.3 points):

    model                forget, test   lost on the others   cost
    newton_head             0.0             0.0  (5)          22 %
    class_swap              0.0             0.9  (8)          33 %
    salun                   0.0             0.9  (8)          32 %
    fisher_forgetting       0.0             0.6  (5)         114 %
    kl_contrastive         11.4 (8)         1.2  (6)          22 %
"""

from unlearn.exact import EXACT
from unlearn.pipeline import APPROXIMATE, default_config
from unlearn.rotation import run

__all__ = ["get_config", "run"]


def get_config(preset: str):
    config = default_config()
    config.data.name = "digits"
    config.forget.kind = "class"
    config.forget.classes = (7,)
    config.run = (*APPROXIMATE, *EXACT)
    config.model.name = "cnn"
    config.train.epochs = 30
    config.train.batch_size = 64
    # To retrain takes less than half a second.
    config.rotate.update(classes=tuple(range(10)), speedup=1.0)
    config.tune.update(trials=24, seeds=3, objective="tug_of_war")
    for chosen in (FIXED, TUNED):
        for name, constants in chosen.items():
            config.methods[name].update(constants)
    if preset == "smoke":
        config.data.name = "synthetic:8x8x1,classes=10,train=600,test=200"
        config.seeds = 1
        config.rotate.classes = (7, 0)
        config.train.epochs = 3
    return config


NOISE = dict(examples=500, batch_size=64, noise_images=64, noise_copies=4)

# Whole numbers and names: passes of a few epochs over small batches.
FIXED = {
    "finetune": dict(epochs=5, batch_size=64),
    "l1_sparse": dict(epochs=5, no_l1_epochs=2, batch_size=64),
    "prune_finetune": dict(epochs=10, batch_size=64),
    "cf_k": dict(epochs=5, batch_size=64),
    "eu_k": dict(epochs=5, batch_size=64),
    "gradient_ascent": dict(epochs=10, batch_size=32),
    "boundary_shrink": dict(epochs=5, batch_size=32),
    "boundary_expand": dict(epochs=5, batch_size=32),
    "lipschitz": dict(epochs=5, batch_size=32),
    "kl_uniform": dict(epochs=2, batch_size=32),
    "neggrad_plus": dict(epochs=5, batch_size=64, forget_batch_size=32),
    "random_labels": dict(epochs=5, batch_size=64),
    "amnesiac_relabel": dict(epochs=5, batch_size=64),
    "salun": dict(epochs=5, batch_size=64),
    "scrub": dict(
        optimizer="adam",
        epochs=4,
        max_epochs=2,
        temperature=2.0,
        batch_size=64,
        forget_batch_size=32,
        rewind=False,
    ),
    "bad_teacher": dict(epochs=5, batch_size=64),
    "unsir": dict(NOISE, epochs=3),
    "curriculum_distill": dict(NOISE, epochs=3),
    "class_swap": dict(epochs=5, fisher_examples=200, batch_size=64),
    "delete": dict(epochs=10, batch_size=32),
    "duck": dict(epochs=5, batch_size=64, forget_batch_size=32),
    "sfron": dict(epochs=3, batch_size=64, forget_batch_size=32),
    "influence": dict(examples=200),
    "ntk_scrub": dict(examples=100, forget_examples=50),
    "gkt": dict(fresh_layers=1),
    "masked_small_gradients": dict(epochs=10),
    "noise_reset": dict(epochs=10),
    "conv_transpose": dict(epochs=10),
    "kl_contrastive": dict(epochs=3, batch_size=64, forget_batch_size=32),
    "layer_noise": dict(epochs=5, tail_epochs=2),
    "sisa": dict(epochs=30, batch_size=32, shards=3, slices=3),
    "amnesiac": dict(epochs=10, batch_size=64, together=True, repair_epochs=10),
    "certified": dict(past_budget="retrain"),
}

# Chosen by `python launch.py --experiment=digits_methods --tune`.
TUNED = {
    "finetune": dict(learning_rate=0.01),
    "l1_sparse": dict(learning_rate=0.121, alpha=0.00692),
    "prune_finetune": dict(learning_rate=0.18, sparsity=0.936),
    "cf_k": dict(learning_rate=0.01),
    "eu_k": dict(learning_rate=0.344),
    "gradient_ascent": dict(learning_rate=0.0257),
    "boundary_shrink": dict(learning_rate=0.000443, bound=0.284),
    "boundary_expand": dict(learning_rate=0.00224),
    "lipschitz": dict(learning_rate=0.0314, sigma=0.153),
    "kl_uniform": dict(learning_rate=0.00249),
    "neggrad_plus": dict(learning_rate=0.0221, alpha=0.625),
    "random_labels": dict(learning_rate=0.0155, alpha=7.94),
    "amnesiac_relabel": dict(learning_rate=0.00915),
    "salun": dict(learning_rate=0.016, alpha=2.8, fraction=0.231),
    "scrub": dict(learning_rate=0.00566, alpha=0.00955),
    "bad_teacher": dict(learning_rate=0.00503),
    "unsir": dict(learning_rate=0.02, repair_learning_rate=0.01),
    "curriculum_distill": dict(learning_rate=0.0158, repair_learning_rate=0.0221),
    "class_swap": dict(learning_rate=0.018, penalty=2.21e-05, fraction=0.218),
    "delete": dict(learning_rate=0.000657),
    "duck": dict(learning_rate=0.00624, target_accuracy=0.0463),
    "sfron": dict(learning_rate=0.0125, alpha=3680.0),
    "influence": dict(scale=3.91, damping=0.000987),
    "fisher_forgetting": dict(alpha=1e-06),
    "ntk_scrub": dict(scale=8920.0, weight_decay=0.0338),
    "newton_head": dict(weight_decay=4.65e-05),
    "ssd": dict(alpha=4.0, dampening=0.147),
    "lfssd": dict(alpha=0.968, dampening=0.668),
    "emmn": dict(repair_rate=0.000538, temperature=8.73),
    "gkt": dict(learning_rate=0.00233, temperature=2.66),
    "kl_contrastive": dict(
        learning_rate=0.00209,
        uniform_learning_rate=0.0068,
        forget_learning_rate=1.03e-05,
    ),
    "masked_small_gradients": dict(learning_rate=0.0212, fraction=0.812),
    "noise_reset": dict(learning_rate=0.0212, sigma=0.783),
    "prune_reinit_entropy": dict(learning_rate=0.0757, fraction=0.912),
    "conv_transpose": dict(learning_rate=0.107),
    "reset_head_distill": dict(
        learning_rate=0.00859, warmup_learning_rate=0.0397, temperature=1.21
    ),
    "layer_noise": dict(learning_rate=0.093, sigma=0.0735),
}
