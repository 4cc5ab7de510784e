"""A digit of MNIST forgotten by every method, then each digit by the best five.

    python launch.py --experiment=mnist_methods

TABLE
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
    config.train.epochs = 5
    config.train.batch_size = 128
    config.attack_examples = 1000
    config.seeds = 2
    config.rotate.classes = tuple(range(10))
    config.tune.trials = 8
    for name, constants in FIXED.items():
        config.methods[name].update(constants | TUNED.get(name, {}))
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
    "random_labels": dict(epochs=1, retain_examples=12000),
    "amnesiac_relabel": dict(epochs=1, retain_examples=12000),
    "salun": dict(epochs=1, retain_examples=10000),
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
    "delete": dict(epochs=1),
    "duck": dict(epochs=1, retain_examples=5000),
    "sfron": dict(epochs=1, group=16, retain_examples=5000),
    "influence": dict(examples=200, retain_examples=2000),
    "fisher_forgetting": dict(examples=200),
    "ntk_scrub": dict(examples=30, forget_examples=20),
    "newton_head": dict(retain_examples=5000),
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
    "prune_finetune": dict(learning_rate=0.01, sparsity=0.95),
    "cf_k": dict(learning_rate=0.198),
    "eu_k": dict(learning_rate=0.0724),
    "gradient_ascent": dict(learning_rate=0.00339),
    "boundary_shrink": dict(learning_rate=0.000566, bound=0.0359),
    "boundary_expand": dict(learning_rate=0.00176),
    "lipschitz": dict(learning_rate=0.0107, sigma=0.0789),
    "kl_uniform": dict(learning_rate=0.00126),
    "neggrad_plus": dict(learning_rate=0.0906, alpha=0.945),
    "random_labels": dict(learning_rate=0.0155, alpha=7.94),
    "amnesiac_relabel": dict(learning_rate=0.00103),
    "salun": dict(learning_rate=0.00256, alpha=0.809, fraction=0.275),
    "scrub": dict(learning_rate=0.000111, alpha=0.0222),
    "bad_teacher": dict(learning_rate=0.000682),
    "unsir": dict(learning_rate=0.0098, repair_learning_rate=0.00578),
    "curriculum_distill": dict(learning_rate=0.000865, repair_learning_rate=0.0101),
    "class_swap": dict(learning_rate=0.00673, fraction=0.0203, penalty=0.00277),
    "delete": dict(learning_rate=0.001),
    "duck": dict(learning_rate=0.000107, target_accuracy=0.448),
    "sfron": dict(learning_rate=0.00314, alpha=596.0),
    "influence": dict(scale=0.421, damping=0.00267),
    "fisher_forgetting": dict(alpha=1.21e-07),
    "ntk_scrub": dict(scale=452.0, weight_decay=0.136),
    "newton_head": dict(weight_decay=6.18e-06),
    "ssd": dict(alpha=1.57, dampening=0.391),
    "lfssd": dict(alpha=1.58, dampening=0.644),
    "emmn": dict(repair_rate=0.00213, temperature=13.7),
    "gkt": dict(learning_rate=0.003, temperature=8.0),
    "kl_contrastive": dict(
        learning_rate=0.00358,
        uniform_learning_rate=0.000443,
        forget_learning_rate=0.000241,
    ),
    "masked_small_gradients": dict(learning_rate=0.00184, fraction=0.541),
    "noise_reset": dict(learning_rate=0.042, sigma=0.729),
    "prune_reinit_entropy": dict(learning_rate=0.0757, fraction=0.912),
    "conv_transpose": dict(learning_rate=0.00806),
    "reset_head_distill": dict(
        learning_rate=0.042, temperature=2.31, warmup_learning_rate=0.0671
    ),
    "layer_noise": dict(learning_rate=0.00893, sigma=0.0359),
}
