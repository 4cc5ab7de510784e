"""Constants with which the tests run each method: a row a method."""

import functools

import jax

from unlearn import methods
from unlearn.problem import withhold

SMALL = dict(epochs=2, batch_size=16)
NOISE = dict(epochs=1, examples=20, noise_images=4, noise_copies=2, noise_steps=2)
CASES = {
    "retrain": dict(SMALL, warmup_epochs=1, learning_rate=0.05),
    "finetune": SMALL,
    "gradient_ascent": dict(SMALL, learning_rate=1e-3),
    "neggrad_plus": dict(SMALL, forget_batch_size=4),
    "random_labels": SMALL,
    "salun": SMALL,
    "scrub": dict(SMALL, max_epochs=1, forget_batch_size=4),
    "ssd": dict(alpha=1.0),
    "l1_sparse": dict(SMALL, no_l1_epochs=1),
    "prune_finetune": SMALL,
    "cf_k": dict(SMALL, layers=1),
    "eu_k": dict(SMALL, layers=1),
    "boundary_shrink": SMALL,
    "boundary_expand": SMALL,
    "lipschitz": dict(SMALL, copies=2),
    "kl_uniform": SMALL,
    "amnesiac_relabel": SMALL,
    "bad_teacher": SMALL,
    "unsir": dict(SMALL, **NOISE),
    "curriculum_distill": dict(SMALL, **NOISE),
    "class_swap": dict(SMALL, epochs=1, fisher_examples=6),
    "delete": SMALL,
    "duck": dict(epochs=1, batch_size=16, forget_batch_size=4, retain_steps=2),
    "sfron": dict(
        epochs=1, batch_size=16, forget_batch_size=4, retain_steps=2, group=8
    ),
    "influence": dict(examples=4, iterations=1, damping=0.1, batch_size=40),
    "fisher_forgetting": dict(alpha=1e-5),
    "ntk_scrub": dict(examples=4, forget_examples=2),
    "newton_head": dict(steps=1, iterations=8, weight_decay=0.1, batch_size=40),
    "lfssd": dict(alpha=1.0),
    "emmn": dict(
        epochs=1, repair_epochs=1, batch_size=16, images=8, max_steps=2, min_steps=2
    ),
    "gkt": dict(rounds=2, student_steps=2, batch_size=8, latent=4, width=8),
    "kl_contrastive": dict(epochs=1, batch_size=40, forget_batch_size=4),
    "masked_small_gradients": dict(epochs=2, batch_size=20),
    "noise_reset": SMALL,
    "prune_reinit_entropy": SMALL,
    "conv_transpose": SMALL,
    "reset_head_distill": dict(SMALL, warmup_epochs=1),
    "layer_noise": dict(batch_size=16, epochs=3, tail_epochs=1),
}


def case(name, problem, **changes):
    """The jitted method with its constants, and the problem as the method sees it."""
    info = methods.METHODS[name]
    fn = functools.partial(info.fn, **CASES[name] | changes)
    return jax.jit(fn), withhold(problem, info.needs)
