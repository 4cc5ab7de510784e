"""Constants of every method for a random tenth of `cifar_audit`, chosen by attacks.

By `--experiment=cifar_frontier --tune`: another draw of the request, 24 shadow models,
five trials a method, the first with the constants that attacks chose on the digits
(`FIRST`); who is not in `FLOATS` has these. Whole numbers are those of
`digits_methods`, of 20 epochs for 30.
"""

from ._constants import rescaled, shorter
from ._digits_audited import AUDITED
from .digits_methods import FIXED

MORE = shorter(dict.fromkeys((1, 2, 3, 6, 8, 10, 14), 0.1)) | {
    "retrain_short": dict(epochs=4, batch_size=64),
    "rewind": dict(epoch=1, epochs=4, batch_size=64),
    "rewind__2": dict(epoch=2, epochs=4, batch_size=64),
    "rewind__4": dict(epoch=4, epochs=4, batch_size=64),
    "rewind__brief": dict(epoch=2, epochs=2, batch_size=64),
}
FIRST = {name: floats for name, floats in AUDITED.items() if "__" not in name}
WHOLE = rescaled(FIXED, {5: 4, 10: 6}) | MORE

FLOATS: dict[str, dict[str, float]] = {
    "amnesiac_relabel": dict(learning_rate=0.00176),
    "amun": dict(learning_rate=0.0176),
    "bad_teacher": dict(learning_rate=0.000106),
    "boundary_expand": dict(learning_rate=1.41e-05),
    "boundary_shrink": dict(learning_rate=0.000226, bound=0.0192),
    "cf_k": dict(learning_rate=0.517),
    "conv_transpose": dict(learning_rate=0.0757),
    "delete": dict(learning_rate=6.98e-05),
    "duck": dict(learning_rate=0.00503, target_accuracy=0.931),
    "eu_k": dict(learning_rate=0.279),
    "finetune": dict(learning_rate=0.176),
    "fisher_forgetting": dict(alpha=1.17e-06),
    "gradient_ascent": dict(learning_rate=1.77e-05),
    "influence": dict(scale=0.314, damping=0.000596),
    "kl_contrastive": dict(
        learning_rate=0.00571,
        uniform_learning_rate=0.000181,
        forget_learning_rate=0.00169,
    ),
    "kl_uniform": dict(learning_rate=0.000703),
    "l1_sparse": dict(learning_rate=0.0233, alpha=0.00233),
    "layer_noise": dict(learning_rate=0.00413, sigma=0.0192),
    "lfssd": dict(alpha=1.25, dampening=0.391),
    "lotus": dict(learning_rate=0.000217, alpha=3.1),
    "mu_mis": dict(learning_rate=6.4e-05, delta=1.12),
    "munba": dict(learning_rate=0.00178),
    "neggrad_plus": dict(learning_rate=0.00557, alpha=0.749),
    "newton_head": dict(weight_decay=1.58e-06),
    "noise_reset": dict(learning_rate=0.0142, sigma=0.578),
    "noisy_finetune": dict(learning_rate=0.147, noisy_learning_rate=9.55e-05),
    "noisy_rewind": dict(learning_rate=0.147, noisy_learning_rate=9.55e-05),
    "prune_finetune": dict(learning_rate=0.213, sparsity=0.813),
    "prune_reinit_entropy": dict(learning_rate=0.0134, fraction=0.443),
    "regun": dict(learning_rate=0.00109, alpha=0.274),
    "reset_head_distill": dict(
        learning_rate=0.042, warmup_learning_rate=0.0671, temperature=2.31
    ),
    "retrain_short": dict(learning_rate=0.0682),
    "retrain_short__2": dict(learning_rate=0.1),
    "retrain_short__3": dict(learning_rate=0.1),
    "rewind": dict(learning_rate=0.0682),
    "rum": dict(learning_rate=0.01, forget_learning_rate=0.013, alpha=1.0),
    "salun": dict(learning_rate=0.00256, alpha=0.809, fraction=0.275),
    "ssd": dict(alpha=25.1, dampening=0.854),
    "weight_negation": dict(learning_rate=0.033),
}
