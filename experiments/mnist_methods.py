"""A digit of MNIST forgotten by every method, then each digit by the best five.

    python launch.py --experiment=mnist_methods

The 7 forgotten, one seed (`--seeds=1`) of `--preset=cpu` on one busy core; test
accuracy is on the other nine digits, retraining takes 20 s on two idle cores:

    model                   forget  retain   test    MIA  Avg. Gap  seconds
    original                  99.9    99.9   99.1    0.4     49.96     58.2
    retrain                    0.0    99.9   99.4  100.0               47.1
    fisher_forgetting          0.0    99.9   99.2  100.0      0.07      0.7
    delete                     0.0    99.7   99.1  100.0      0.14      1.6
    boundary_shrink            0.3    99.8   99.1  100.0      0.17      2.7
    random_labels              0.0    99.5   99.1  100.0      0.19      3.5
    amnesiac_relabel           0.0    99.4   98.8  100.0      0.28      3.3
    emmn                       0.0    99.1   98.5  100.0      0.44      4.7
    sisa                       0.0    98.8   98.6  100.0      0.49     59.1
    salun                      0.5    99.2   98.6  100.0      0.50      4.4
    boundary_expand            0.0    99.0   98.4  100.0      0.51      1.1
    layer_noise                0.0    98.5   98.5  100.0      0.58      1.1
    bad_teacher                0.0    98.7   98.2  100.0      0.62      3.0
    curriculum_distill         0.0    98.4   98.2  100.0      0.69      2.5
    eu_k                       0.0    97.9   98.1  100.0      0.85      2.3
    amnesiac                   0.0    97.8   97.8  100.0      0.94     18.7
    class_swap                 0.0    97.9   97.2  100.0      1.06      2.5
    kl_uniform                 1.1    97.9   97.4  100.0      1.27      1.1
    duck                       3.6    99.5   99.1   97.5      1.70     13.2
    gkt                        0.0    95.4   95.2  100.0      2.19      7.9
    reset_head_distill         0.0    94.7   95.0  100.0      2.41      1.6
    lfssd                     13.3    99.7   99.0   99.9      3.50      2.3
    kl_contrastive            16.4    99.1   98.6  100.0      4.51      3.6
    newton_head               21.7    99.7   99.0   88.7      8.41      0.7
    prune_reinit_entropy      18.9    97.2   97.4   89.7      8.48      2.2
    certified                  0.0    79.5   80.9  100.0      9.73    149.5
    conv_transpose            29.6    96.4   96.6   83.0     13.22      1.4
    unsir                      0.2    98.3   98.2    1.1     25.50      2.4
    sfron                      0.0    98.4   98.0    0.0     25.74      8.6
    lipschitz                  1.3    96.1   95.7    0.3     27.13      3.7
    noise_reset               18.1    98.2   98.0    8.9     28.09      1.5
    ssd                       94.7    96.2   95.1   84.8     29.51      2.3
    masked_small_gradients    45.0    95.5   95.8   29.8     30.79      2.8
    ntk_scrub                 70.6    98.4   97.9   34.4     34.80      1.7
    cf_k                      98.6    99.8   99.2    3.2     48.92      2.0
    prune_finetune            98.8    99.4   98.7    3.9     49.03      1.3
    l1_sparse                 99.1    99.8   99.1    2.4     49.29      1.2
    neggrad_plus              99.5    99.9   99.1    1.7     49.53      1.3
    gradient_ascent           99.7    99.9   99.1    0.9     49.79      1.2
    finetune                  99.8    99.9   99.1    0.7     49.88      1.3
    scrub                    100.0    97.9   97.3    0.0     51.04      2.7
    influence                  0.0    46.5   47.1    0.0     51.44      2.6

`emmn` ran with its defaults. `certified` works on pixels, so its certificate covers the
whole classifier; a class is far past its budget and was answered by a new fit. Every
digit in turn with the best five (`worst_class.md`) is not measured yet.
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
    config.tune.update(trials=8, objective="tug_of_war", classes=(2, 7))
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
    "boundary_shrink": dict(epochs=1),
    "boundary_expand": dict(epochs=1),
    "lipschitz": dict(epochs=1, copies=5),
    "kl_uniform": dict(epochs=1),
    "neggrad_plus": dict(epochs=1, forget_batch_size=128, retain_examples=4000),
    "random_labels": dict(epochs=1, decay="cosine", retain_examples=24000),
    "amnesiac_relabel": dict(epochs=1, decay="cosine", retain_examples=24000),
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
    "delete": dict(epochs=2),
    "duck": dict(epochs=1, retain_steps=2, retain_examples=10000),
    "sfron": dict(epochs=1, group=16, retain_examples=5000),
    "influence": dict(examples=200, retain_examples=2000),
    "fisher_forgetting": dict(examples=200),
    "ntk_scrub": dict(examples=30, forget_examples=20),
    "newton_head": dict(retain_examples=10000),
    "ssd": dict(group=16, retain_examples=6000),
    "lfssd": dict(group=16, retain_examples=6000),
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
    "boundary_shrink": dict(learning_rate=0.000566, bound=0.0359),
    "boundary_expand": dict(learning_rate=0.00033),
    "lipschitz": dict(learning_rate=0.0107, sigma=0.0789),
    "kl_uniform": dict(learning_rate=0.00126),
    "neggrad_plus": dict(learning_rate=0.0906, alpha=0.945),
    "random_labels": dict(learning_rate=0.0155, alpha=7.94),
    "amnesiac_relabel": dict(learning_rate=0.00103),
    "salun": dict(learning_rate=0.0155, alpha=7.94, fraction=0.5),
    "scrub": dict(learning_rate=0.000111, alpha=0.0222),
    "bad_teacher": dict(learning_rate=0.000457),
    "unsir": dict(learning_rate=0.00566, repair_learning_rate=0.000645),
    "curriculum_distill": dict(learning_rate=0.000865, repair_learning_rate=0.0101),
    "class_swap": dict(learning_rate=0.128, penalty=0.0531, fraction=0.0643),
    "delete": dict(learning_rate=0.0005),
    "duck": dict(learning_rate=0.00147, target_accuracy=0.327),
    "sfron": dict(learning_rate=0.00421, alpha=2670.0),
    "influence": dict(scale=0.421, damping=0.00267),
    "fisher_forgetting": dict(alpha=5.53e-06),
    "ntk_scrub": dict(scale=452.0, weight_decay=0.136),
    "newton_head": dict(weight_decay=0.001),
    "ssd": dict(alpha=1.57, dampening=0.391),
    "lfssd": dict(alpha=1.6, dampening=0.1),
    "emmn": dict(repair_rate=0.00147, temperature=4.84),
    "gkt": dict(learning_rate=0.003, temperature=8.0),
    "kl_contrastive": dict(
        learning_rate=0.00358,
        uniform_learning_rate=0.000443,
        forget_learning_rate=0.000241,
    ),
    "masked_small_gradients": dict(learning_rate=0.00184, fraction=0.541),
    "noise_reset": dict(learning_rate=0.042, sigma=0.729),
    "prune_reinit_entropy": dict(learning_rate=0.0757, fraction=0.912),
    "conv_transpose": dict(learning_rate=0.0757),
    "reset_head_distill": dict(
        learning_rate=0.042, warmup_learning_rate=0.0671, temperature=2.31
    ),
    "layer_noise": dict(learning_rate=0.00893, sigma=0.0359),
}
