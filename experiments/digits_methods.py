"""A class of the digits forgotten by every method, in one table.

    python launch.py --experiment=digits_methods

TABLE
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
    config.rotate.classes = tuple(range(10))
    config.tune.trials = 24
    config.tune.seeds = 3
    for name, constants in FIXED.items():
        config.methods[name].update(constants | TUNED.get(name, {}))
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
TUNED = {}
