"""Every method for three budgets: its epochs, and floats that attacks chose for them.

By `--experiment=frontier --tune --config.tune.objective=audit --config.tune.trials=5
--config.tune.budgets=0.05,0.2,0.5`: another draw of the request, 24 shadow models, five
trials a row, the first with the floats of `_digits_audited`. A method that costs more
than a budget at the least has no row for it. On an H100, five rows on a CPU.
"""

BUDGETS = {
    "amnesiac_relabel__5pc": dict(epochs=1, learning_rate=0.000178),
    "amnesiac_relabel__20pc": dict(epochs=5, learning_rate=0.000178),
    "amnesiac_relabel__50pc": dict(epochs=13, learning_rate=0.000178),
    "amun__5pc": dict(epochs=1, learning_rate=0.0356),
    "amun__20pc": dict(epochs=4, learning_rate=0.01),
    "amun__50pc": dict(epochs=11, learning_rate=0.01),
    "bad_teacher__5pc": dict(epochs=3, learning_rate=0.000106),
    "bad_teacher__20pc": dict(epochs=13, learning_rate=4.65e-05),
    "bad_teacher__50pc": dict(epochs=35, learning_rate=1.58e-06),
    "boundary_expand__5pc": dict(epochs=11, learning_rate=1.41e-05),
    "boundary_expand__20pc": dict(epochs=45, learning_rate=1.41e-05),
    "boundary_expand__50pc": dict(epochs=113, learning_rate=1.41e-05),
    "boundary_shrink__5pc": dict(epochs=10, learning_rate=5.57e-05, bound=0.101),
    "boundary_shrink__20pc": dict(epochs=44, learning_rate=5.57e-05, bound=0.101),
    "boundary_shrink__50pc": dict(epochs=112, learning_rate=5.57e-05, bound=0.101),
    "cf_k__5pc": dict(epochs=3, learning_rate=0.517),
    "cf_k__20pc": dict(epochs=15, learning_rate=0.356),
    "cf_k__50pc": dict(epochs=37, learning_rate=0.356),
    "conv_transpose__5pc": dict(epochs=1, learning_rate=0.039),
    "conv_transpose__20pc": dict(epochs=6, learning_rate=0.039),
    "conv_transpose__50pc": dict(epochs=15, learning_rate=0.039),
    "delete__5pc": dict(epochs=11, learning_rate=6.98e-05),
    "delete__20pc": dict(epochs=45, learning_rate=1.41e-05),
    "delete__50pc": dict(epochs=113, learning_rate=1.41e-05),
    "duck__50pc": dict(
        epochs=3, last_epochs=1, learning_rate=0.00503, target_accuracy=0.931
    ),
    "eu_k__5pc": dict(epochs=3, learning_rate=0.0511),
    "eu_k__20pc": dict(epochs=15, learning_rate=0.279),
    "eu_k__50pc": dict(epochs=37, learning_rate=0.279),
    "finetune__5pc": dict(epochs=1, learning_rate=0.356),
    "finetune__20pc": dict(epochs=6, learning_rate=0.176),
    "finetune__50pc": dict(epochs=15, learning_rate=0.176),
    "gradient_ascent__5pc": dict(epochs=9, learning_rate=0.00339),
    "gradient_ascent__20pc": dict(epochs=38, learning_rate=1.77e-05),
    "gradient_ascent__50pc": dict(epochs=95, learning_rate=1.77e-05),
    "kl_contrastive__5pc": dict(
        epochs=1,
        learning_rate=0.00209,
        uniform_learning_rate=0.0068,
        forget_learning_rate=1.03e-05,
    ),
    "kl_contrastive__20pc": dict(
        epochs=4,
        learning_rate=0.042,
        uniform_learning_rate=0.0622,
        forget_learning_rate=0.000123,
    ),
    "kl_contrastive__50pc": dict(
        epochs=12,
        learning_rate=0.042,
        uniform_learning_rate=0.0622,
        forget_learning_rate=0.000123,
    ),
    "kl_uniform__5pc": dict(epochs=11, learning_rate=1.58e-05),
    "kl_uniform__20pc": dict(epochs=45, learning_rate=1.58e-05),
    "kl_uniform__50pc": dict(epochs=114, learning_rate=1.58e-05),
    "l1_sparse__5pc": dict(
        epochs=1, no_l1_epochs=0, learning_rate=0.0289, alpha=0.0172
    ),
    "l1_sparse__20pc": dict(
        epochs=6, no_l1_epochs=2, learning_rate=0.0729, alpha=0.000203
    ),
    "l1_sparse__50pc": dict(
        epochs=15, no_l1_epochs=6, learning_rate=0.0289, alpha=0.0172
    ),
    "layer_noise__20pc": dict(
        epochs=6, tail_epochs=2, learning_rate=0.00893, sigma=0.0359
    ),
    "layer_noise__50pc": dict(
        epochs=15, tail_epochs=6, learning_rate=0.0552, sigma=0.012
    ),
    "lipschitz__5pc": dict(epochs=1, learning_rate=0.0064, sigma=0.0216),
    "lipschitz__20pc": dict(epochs=4, learning_rate=0.000988, sigma=0.153),
    "lipschitz__50pc": dict(epochs=12, learning_rate=0.000988, sigma=0.153),
    "lotus__5pc": dict(epochs=2, learning_rate=0.0039, alpha=1.17),
    "lotus__20pc": dict(epochs=12, learning_rate=0.0039, alpha=1.17),
    "lotus__50pc": dict(epochs=32, learning_rate=0.00253, alpha=25.2),
    "masked_small_gradients__5pc": dict(
        epochs=1, learning_rate=0.00413, fraction=0.0817
    ),
    "masked_small_gradients__20pc": dict(epochs=5, learning_rate=0.042, fraction=0.776),
    "masked_small_gradients__50pc": dict(
        epochs=14, learning_rate=0.042, fraction=0.776
    ),
    "mu_mis__5pc": dict(epochs=2, learning_rate=0.00253, delta=1.91),
    "mu_mis__20pc": dict(epochs=12, learning_rate=0.000217, delta=1.25),
    "mu_mis__50pc": dict(epochs=31, learning_rate=6.4e-05, delta=1.12),
    "munba__20pc": dict(epochs=3, learning_rate=0.0176),
    "munba__50pc": dict(epochs=9, learning_rate=0.00178),
    "neggrad_plus__20pc": dict(epochs=3, learning_rate=0.00557, alpha=0.749),
    "neggrad_plus__50pc": dict(epochs=7, learning_rate=0.00557, alpha=0.749),
    "noise_reset__5pc": dict(epochs=1, learning_rate=0.00893, sigma=0.0645),
    "noise_reset__20pc": dict(epochs=6, learning_rate=0.0142, sigma=0.578),
    "noise_reset__50pc": dict(epochs=15, learning_rate=0.0142, sigma=0.578),
    "noisy_finetune__20pc": dict(
        epochs=4, learning_rate=0.08, noisy_learning_rate=3.17e-05
    ),
    "noisy_finetune__50pc": dict(
        epochs=13, learning_rate=0.05, noisy_learning_rate=0.001
    ),
    "noisy_rewind__20pc": dict(
        epochs=4, learning_rate=0.08, noisy_learning_rate=3.17e-05
    ),
    "noisy_rewind__50pc": dict(
        epochs=13, learning_rate=0.05, noisy_learning_rate=0.001
    ),
    "prune_finetune__5pc": dict(epochs=1, learning_rate=0.0314, sparsity=0.749),
    "prune_finetune__20pc": dict(epochs=6, learning_rate=0.213, sparsity=0.813),
    "prune_finetune__50pc": dict(epochs=15, learning_rate=0.213, sparsity=0.813),
    "prune_reinit_entropy__5pc": dict(epochs=1, learning_rate=0.00565, fraction=0.366),
    "prune_reinit_entropy__20pc": dict(epochs=5, learning_rate=0.0106, fraction=0.833),
    "prune_reinit_entropy__50pc": dict(epochs=14, learning_rate=0.0106, fraction=0.833),
    "random_labels__5pc": dict(epochs=1, learning_rate=0.00309, alpha=0.647),
    "random_labels__20pc": dict(epochs=5, learning_rate=0.00107, alpha=12.4),
    "random_labels__50pc": dict(epochs=13, learning_rate=0.000662, alpha=4.58),
    "regun__5pc": dict(epochs=3, learning_rate=0.00413, alpha=0.379),
    "regun__20pc": dict(epochs=14, learning_rate=0.00109, alpha=0.274),
    "regun__50pc": dict(epochs=35, learning_rate=0.128, alpha=0.814),
    "reset_head_distill__20pc": dict(
        epochs=4,
        warmup_epochs=1,
        learning_rate=0.042,
        warmup_learning_rate=0.0671,
        temperature=2.31,
    ),
    "reset_head_distill__50pc": dict(
        epochs=11,
        warmup_epochs=3,
        learning_rate=0.0499,
        warmup_learning_rate=0.00144,
        temperature=1.44,
    ),
    "rewind__5pc": dict(epochs=1, learning_rate=0.05),
    "rewind__20pc": dict(epochs=6, learning_rate=0.05),
    "rewind__50pc": dict(epochs=15, learning_rate=0.05),
    "rewind__2at5pc": dict(epochs=1, learning_rate=0.0682),
    "rewind__2at20pc": dict(epochs=6, learning_rate=0.1),
    "rewind__2at50pc": dict(epochs=15, learning_rate=0.1),
    "rewind__4at20pc": dict(epochs=6, learning_rate=0.1),
    "rewind__8at20pc": dict(epochs=6, learning_rate=0.1),
    "rewind__15at20pc": dict(epochs=6, learning_rate=0.1),
    "rewind__30at20pc": dict(epochs=6, learning_rate=0.1),
    "rewind__noiseat20pc": dict(epochs=6, learning_rate=0.05),
    "rum__20pc": dict(
        epochs=3,
        forget_epochs=2,
        learning_rate=0.356,
        forget_learning_rate=0.119,
        alpha=1.59,
    ),
    "rum__50pc": dict(
        epochs=9,
        forget_epochs=4,
        learning_rate=0.356,
        forget_learning_rate=0.119,
        alpha=1.59,
    ),
    "salun__5pc": dict(epochs=1, learning_rate=0.00256, alpha=0.809, fraction=0.275),
    "salun__20pc": dict(epochs=5, learning_rate=0.00127, alpha=5.0, fraction=0.101),
    "salun__50pc": dict(epochs=13, learning_rate=0.00127, alpha=5.0, fraction=0.101),
    "scar__50pc": dict(epochs=2, learning_rate=0.00356, surrogate_weight=62.2),
    "scrub__20pc": dict(epochs=5, max_epochs=2, learning_rate=0.0098, alpha=0.136),
    "scrub__50pc": dict(epochs=13, max_epochs=6, learning_rate=0.00566, alpha=0.00955),
    "sfron__20pc": dict(epochs=3, learning_rate=0.0147, alpha=203.0),
    "sfron__50pc": dict(epochs=9, learning_rate=0.0147, alpha=203.0),
    "undo__5pc": dict(epochs=1, warmup_epochs=0, learning_rate=0.0314, share=0.285),
    "undo__20pc": dict(epochs=5, learning_rate=0.0421, share=0.541),
    "undo__50pc": dict(epochs=14, learning_rate=0.0421, share=0.541),
    # The rate of the share that attacks chose.
    "undo__25at20pc": dict(epochs=5, learning_rate=0.0421),
    "undo__75at20pc": dict(epochs=5, learning_rate=0.0421),
    "undo__taughtat20pc": dict(epochs=5, learning_rate=0.0421, share=0.541),
    "undo__last1at20pc": dict(epochs=5, learning_rate=0.0421),
    "undo__last2at20pc": dict(epochs=5, learning_rate=0.0421),
    "undo__freshat5pc": dict(
        epochs=1, warmup_epochs=0, learning_rate=0.0314, share=0.285
    ),
    "undo__freshat20pc": dict(epochs=5, learning_rate=0.05, share=1.0),
    "undo__freshat50pc": dict(epochs=14, learning_rate=0.05, share=1.0),
    "weight_distortion__5pc": dict(epochs=1, learning_rate=0.00557, sigma=0.0596),
    "weight_distortion__20pc": dict(epochs=6, learning_rate=0.0178, sigma=0.0833),
    "weight_distortion__distanceat20pc": dict(
        epochs=6, learning_rate=0.0566, sigma=0.00955
    ),
    "weight_distortion__50pc": dict(epochs=15, learning_rate=0.0178, sigma=0.0833),
    "weight_negation__5pc": dict(epochs=1, learning_rate=0.033),
    "weight_negation__20pc": dict(epochs=6, learning_rate=0.033),
    "weight_negation__50pc": dict(epochs=15, learning_rate=0.033),
}
