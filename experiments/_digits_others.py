"""Constants of the methods that `digits_forget` does not run, for the same requests.

Whole numbers are those of `digits_methods`; floats were chosen by
`--tune --config.tune.draws=3 --config.tune.seeds=2`, from 16 trials as everywhere. For
`boundary_expand`, `boundary_shrink`, `cf_k` and `lfssd` none was better than doing
nothing.
"""

from .digits_methods import FIXED

TUNED = {
    "amnesiac_relabel": dict(learning_rate=0.000365),
    "bad_teacher": dict(learning_rate=0.0001),
    "boundary_expand": dict(learning_rate=1e-05),
    "boundary_shrink": dict(learning_rate=1e-05, bound=0.1),
    "cf_k": dict(learning_rate=0.01),
    "conv_transpose": dict(learning_rate=0.0757),
    "delete": dict(learning_rate=0.000178),
    "duck": dict(learning_rate=0.00624, target_accuracy=0.0463),
    "eu_k": dict(learning_rate=0.0217),
    "fisher_forgetting": dict(alpha=5.53e-06),
    "influence": dict(scale=2.13, damping=0.00136),
    "kl_contrastive": dict(
        learning_rate=0.004, uniform_learning_rate=0.005, forget_learning_rate=0.0003
    ),
    "kl_uniform": dict(learning_rate=0.00134),
    "l1_sparse": dict(learning_rate=0.0289, alpha=0.0172),
    "layer_noise": dict(learning_rate=0.00216, sigma=0.0293),
    "lfssd": dict(alpha=10.0, dampening=1.0),
    "lipschitz": dict(learning_rate=0.0162, sigma=0.924),
    "masked_small_gradients": dict(learning_rate=0.042, fraction=0.776),
    "newton_head": dict(weight_decay=0.00836),
    "noise_reset": dict(learning_rate=0.0142, sigma=0.578),
    "ntk_scrub": dict(scale=833.0, weight_decay=0.043),
    "prune_finetune": dict(learning_rate=0.213, sparsity=0.813),
    "prune_reinit_entropy": dict(learning_rate=0.0757, fraction=0.912),
    "reset_head_distill": dict(
        learning_rate=0.042, warmup_learning_rate=0.0671, temperature=2.31
    ),
    "sfron": dict(learning_rate=0.00162, alpha=85400.0),
}

OTHERS = {name: FIXED.get(name, {}) | floats for name, floats in TUNED.items()}
