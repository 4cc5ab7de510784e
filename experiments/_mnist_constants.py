"""Constants of every method for a class of `mnist_audit`, chosen by attacks.

By `--experiment=mnist_frontier --tune`: another class, 24 shadow models, five trials a
method, the first with the constants of a class of the digits (`FIRST`); who is not in
`FLOATS` has these. Whole numbers are those of `digits_methods`, of 8 epochs for 30.
"""

from ._constants import rescaled, shorter
from .digits_methods import FIXED, TUNED

MORE = shorter(dict.fromkeys((1, 3, 4, 6), 0.1)) | {
    "retrain_short": dict(epochs=2, batch_size=64),
    "rewind": dict(epoch=1, epochs=2, batch_size=64),
    "rewind__2": dict(epoch=2, epochs=2, batch_size=64),
    "rewind__brief": dict(epoch=1, epochs=1, batch_size=64),
}
FIRST = {name: floats for name, floats in TUNED.items() if "__" not in name}
LAST = {"layer_noise": dict(epochs=3, tail_epochs=1), "l1_sparse": dict(no_l1_epochs=1)}
WHOLE = rescaled(FIXED, {5: 2, 10: 3}) | MORE

FLOATS: dict[str, dict[str, float]] = {
    "amnesiac_relabel": dict(learning_rate=0.00503),
    "bad_teacher": dict(learning_rate=0.00503),
    "boundary_expand": dict(learning_rate=1.41e-05),
    "boundary_shrink": dict(learning_rate=0.000566, bound=0.0359),
    "cf_k": dict(learning_rate=0.01),
    "class_swap": dict(learning_rate=0.00673, penalty=0.00277, fraction=0.0203),
    "conv_transpose": dict(learning_rate=0.0757),
    "curriculum_distill": dict(learning_rate=0.000557, repair_learning_rate=0.00292),
    "delete": dict(learning_rate=0.00176),
    "duck": dict(learning_rate=0.000314, target_accuracy=0.592),
    "eu_k": dict(learning_rate=0.0511),
    "finetune": dict(learning_rate=0.01),
    "fisher_forgetting": dict(alpha=1e-06),
    "gradient_ascent": dict(learning_rate=1.77e-05),
    "influence": dict(scale=0.314, damping=0.000596),
    "kl_contrastive": dict(
        learning_rate=0.00209,
        uniform_learning_rate=0.0068,
        forget_learning_rate=1.03e-05,
    ),
    "kl_uniform": dict(learning_rate=1.58e-05),
    "l1_sparse": dict(learning_rate=0.0289, alpha=0.0172),
    "lotus": dict(learning_rate=0.0001, alpha=2.0),
    "masked_small_gradients": dict(learning_rate=0.042, fraction=0.776),
    "mu_mis": dict(learning_rate=0.000217, delta=1.25),
    "munba": dict(learning_rate=0.0356),
    "neggrad_plus": dict(learning_rate=0.0221, alpha=0.625),
    "newton_head": dict(weight_decay=4.65e-05),
    "noise_reset": dict(learning_rate=0.00413, sigma=0.0259),
    "noisy_finetune": dict(learning_rate=0.05, noisy_learning_rate=0.001),
    "noisy_rewind": dict(learning_rate=0.05, noisy_learning_rate=0.001),
    "prune_finetune": dict(learning_rate=0.0162, sparsity=0.978),
    "prune_reinit_entropy": dict(learning_rate=0.00565, fraction=0.366),
    "random_labels": dict(learning_rate=0.00309, alpha=0.647),
    "regun": dict(learning_rate=0.128, alpha=0.814),
    "reset_head_distill": dict(
        learning_rate=0.00859, warmup_learning_rate=0.0397, temperature=1.21
    ),
    "retrain_short": dict(learning_rate=0.0682),
    "retrain_short__1": dict(learning_rate=0.0126),
    "retrain_short__3": dict(learning_rate=0.1),
    "retrain_short__4": dict(learning_rate=0.1),
    "retrain_short__6": dict(learning_rate=0.1),
    "rewind": dict(learning_rate=0.05),
    "rewind__2": dict(learning_rate=0.05),
    "rewind__brief": dict(learning_rate=0.05),
    "rum": dict(learning_rate=0.01, forget_learning_rate=0.013, alpha=1.0),
    "salun": dict(learning_rate=0.016, alpha=2.8, fraction=0.231),
    "scar": dict(learning_rate=5.57e-05, surrogate_weight=5.96),
    "scrub": dict(learning_rate=0.000557, alpha=0.0596),
    "sfron": dict(learning_rate=0.00314, alpha=2330.0),
    "trew": dict(learning_rate=0.0153, alpha=0.473, beta=15.0, temperature=0.196),
    "undo": dict(learning_rate=0.05, share=0.6),
    "unsir": dict(learning_rate=0.00226, repair_learning_rate=0.000259),
    "weight_distortion": dict(learning_rate=0.05, sigma=0.02),
    "weight_negation": dict(learning_rate=0.0178),
}
