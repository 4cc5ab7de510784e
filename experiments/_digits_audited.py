"""Constants of every method for a random tenth of the digits, chosen by attacks.

By `--experiment=frontier --tune --config.tune.objective=audit --config.tune.trials=9`:
another draw of the request, 24 shadow models, nine trials a method, shortened
retraining included. Whole numbers are those of `digits_methods`.
"""

AUDITED = {
    "amnesiac_relabel": dict(learning_rate=0.000178),
    "amun": dict(learning_rate=0.01),
    "bad_teacher": dict(learning_rate=0.000106),
    "boundary_expand": dict(learning_rate=0.00033),
    "boundary_shrink": dict(learning_rate=0.000226, bound=0.0192),
    "cf_k": dict(learning_rate=0.517),
    "conv_transpose": dict(learning_rate=0.039),
    "delete": dict(learning_rate=6.98e-05),
    "duck": dict(learning_rate=0.00503, target_accuracy=0.931),
    "eu_k": dict(learning_rate=0.279),
    "finetune": dict(learning_rate=0.176),
    "fisher_forgetting": dict(alpha=1.17e-06),
    "gradient_ascent": dict(learning_rate=0.00339),
    "influence": dict(scale=0.421, damping=0.00267),
    "kl_contrastive": dict(
        learning_rate=0.042, uniform_learning_rate=0.0622, forget_learning_rate=0.000123
    ),
    "kl_uniform": dict(learning_rate=0.000703),
    "l1_sparse": dict(learning_rate=0.0289, alpha=0.0172),
    "layer_noise": dict(learning_rate=0.0552, sigma=0.012),
    "lfssd": dict(alpha=1.58, dampening=0.644),
    "lipschitz": dict(learning_rate=0.000988, sigma=0.153),
    "lotus": dict(learning_rate=0.0039, alpha=1.17),
    "masked_small_gradients": dict(learning_rate=0.042, fraction=0.776),
    "mu_mis": dict(learning_rate=6.4e-05, delta=1.12),
    "munba": dict(learning_rate=0.00178),
    "neggrad_plus": dict(learning_rate=0.00557, alpha=0.749),
    "newton_head": dict(weight_decay=1.58e-06),
    "noise_reset": dict(learning_rate=0.0142, sigma=0.578),
    "noisy_finetune": dict(learning_rate=0.05, noisy_learning_rate=0.001),
    "ntk_scrub": dict(scale=1.18, weight_decay=0.175),
    "prune_finetune": dict(learning_rate=0.213, sparsity=0.813),
    "prune_reinit_entropy": dict(learning_rate=0.0106, fraction=0.833),
    "random_labels": dict(learning_rate=0.00107, alpha=12.4),
    "regun": dict(learning_rate=0.00109, alpha=0.274),
    "reset_head_distill": dict(
        learning_rate=0.0499, warmup_learning_rate=0.00144, temperature=1.44
    ),
    "retrain_short": dict(learning_rate=0.05),
    "rewind": dict(learning_rate=0.05),
    "rum": dict(learning_rate=0.01, forget_learning_rate=0.013, alpha=1.0),
    "salun": dict(learning_rate=0.00256, alpha=0.809, fraction=0.275),
    "scar": dict(learning_rate=0.0005, surrogate_weight=5.0),
    "scrub": dict(learning_rate=0.0098, alpha=0.136),
    "sfron": dict(learning_rate=0.0147, alpha=203.0),
    "ssd": dict(alpha=25.1, dampening=0.854),
    "undo": dict(learning_rate=0.0421, share=0.541),
    "weight_distortion": dict(learning_rate=0.0178, sigma=0.0833),
    "weight_negation": dict(learning_rate=0.033),
    "retrain_short__1": dict(learning_rate=0.0457),
    "retrain_short__2": dict(learning_rate=0.0457),
    "retrain_short__3": dict(learning_rate=0.0682),
    "retrain_short__4": dict(learning_rate=0.0682),
    "retrain_short__5": dict(learning_rate=0.0682),
    "retrain_short__8": dict(learning_rate=0.0682),
    "retrain_short__15": dict(learning_rate=0.05),
    "rewind__2": dict(learning_rate=0.1),
    "rewind__brief": dict(learning_rate=0.1),
}
