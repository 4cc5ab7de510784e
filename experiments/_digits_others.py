"""Constants of the methods that `digits_forget` does not run, for the same requests.

Whole numbers are those of `digits_methods`; floats were chosen by
`--tune --config.tune.draws=3 --config.tune.seeds=2`, from 16 trials as everywhere. For
`boundary_expand`, `boundary_shrink`, `cf_k` and `lfssd` none was better than doing
nothing.
"""

from ._constants import set_constants, shorter
from .digits_methods import FIXED

TUNED = {
    "amnesiac_relabel": dict(learning_rate=0.000178),
    "bad_teacher": dict(learning_rate=2.09e-05),
    "boundary_expand": dict(learning_rate=1e-05),
    "boundary_shrink": dict(learning_rate=1e-05, bound=0.1),
    "cf_k": dict(learning_rate=0.517),
    "conv_transpose": dict(learning_rate=0.039),
    "delete": dict(learning_rate=6.98e-05),
    "duck": dict(learning_rate=0.00624, target_accuracy=0.0463),
    "eu_k": dict(learning_rate=0.121),
    "fisher_forgetting": dict(alpha=1.17e-06),
    "influence": dict(scale=0.314, damping=0.000596),
    "kl_contrastive": dict(
        learning_rate=0.0499,
        uniform_learning_rate=0.000646,
        forget_learning_rate=2.96e-05,
    ),
    "kl_uniform": dict(learning_rate=0.000703),
    "l1_sparse": dict(learning_rate=0.0412, alpha=0.00364),
    "layer_noise": dict(learning_rate=0.0552, sigma=0.012),
    "lfssd": dict(alpha=10.0, dampening=1.0),
    "lipschitz": dict(learning_rate=0.000988, sigma=0.153),
    "masked_small_gradients": dict(learning_rate=0.042, fraction=0.776),
    "newton_head": dict(weight_decay=0.00836),
    "noise_reset": dict(learning_rate=0.0142, sigma=0.578),
    "ntk_scrub": dict(scale=833.0, weight_decay=0.043),
    "prune_finetune": dict(learning_rate=0.213, sparsity=0.813),
    "prune_reinit_entropy": dict(learning_rate=0.0106, fraction=0.833),
    "reset_head_distill": dict(
        learning_rate=0.042, warmup_learning_rate=0.0671, temperature=2.31
    ),
    "sfron": dict(learning_rate=0.008, alpha=46.5),
    "undo": dict(learning_rate=0.0314, share=0.285),
    "weight_distortion": dict(learning_rate=0.0178, sigma=0.0833),
    "weight_negation": dict(learning_rate=0.033),
}

# By hand: other numbers of epochs, the fewer the higher the rate, and back to another
# epoch. In every preset, so that all have the same settings.
MORE = shorter({1: 0.1, 2: 0.1, 3: 0.1, 4: 0.1, 5: 0.1, 8: 0.05, 15: 0.05}) | {
    "rewind": FIXED["rewind"] | dict(learning_rate=0.05),
    "rewind__2": FIXED["rewind"] | dict(epoch=2, learning_rate=0.1),
    "rewind__brief": FIXED["rewind"] | dict(epoch=2, epochs=3, learning_rate=0.1),
    # Retraining by the original's answers in place of the labels.
    "undo__fresh": FIXED["undo"] | dict(epochs=6, share=1.0, labels=0.0),
}

# What lies between nothing and retraining: full retraining, stopped; back to a later
# epoch; a part of the way to fresh weights, or in the last layers alone.
CURVE = shorter({9: 0.05, 21: 0.05}) | {
    **{
        f"retrain_short__stopped{epochs}": dict(
            epochs=epochs, planned_epochs=30, batch_size=64, learning_rate=0.05
        )
        for epochs in (1, 3, 6, 9, 15, 21)
    },
    **{
        f"rewind__{epoch}": FIXED["rewind"] | dict(epoch=epoch, learning_rate=0.1)
        for epoch in (4, 8, 15, 30)
    },
    "undo__25": FIXED["undo"] | dict(share=0.25),
    "undo__75": FIXED["undo"] | dict(share=0.75),
    "undo__taught": FIXED["undo"] | dict(labels=0.0),
    "undo__last1": FIXED["undo"] | dict(share=1.0, layers=1),
    "undo__last2": FIXED["undo"] | dict(share=1.0, layers=2),
    # Noise at the end; weights driven from the original's (attacks chose some noise).
    "rewind__noise": FIXED["rewind"] | dict(sigma=0.01),
    "weight_distortion__distance": FIXED["weight_distortion"]
    | dict(sigma=0.0, alpha=1.0),
}

OTHERS = {name: FIXED.get(name, {}) | floats for name, floats in TUNED.items()}


def set_training(config) -> None:
    """Sets the data and the recipe that all these constants were chosen for."""
    config.data.name = "digits"
    config.train.update(epochs=30, batch_size=64, learning_rate=0.05)
    set_constants(config, MORE, CURVE)
