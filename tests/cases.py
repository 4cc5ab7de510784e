"""Constants with which the tests run each method: a row a method."""

import functools

import jax

from unlearn import methods
from unlearn.problem import withhold

SMALL = dict(epochs=2, batch_size=16)
CASES = {
    "retrain": dict(SMALL, warmup_epochs=1, learning_rate=0.05),
    "finetune": SMALL,
    "gradient_ascent": dict(SMALL, learning_rate=1e-3),
    "neggrad_plus": dict(SMALL, forget_batch_size=4),
    "random_labels": SMALL,
    "salun": SMALL,
    "scrub": dict(SMALL, max_epochs=1, forget_batch_size=4),
    "ssd": dict(alpha=1.0),
    "l1_sparse": SMALL,
    "prune_finetune": SMALL,
    "cf_k": SMALL,
    "eu_k": SMALL,
    "boundary_shrink": SMALL,
    "boundary_expand": SMALL,
    "lipschitz": SMALL,
    "kl_uniform": SMALL,
    "amnesiac_relabel": SMALL,
    "bad_teacher": SMALL,
    "unsir": SMALL,
    "curriculum_distill": SMALL,
    "class_swap": SMALL,
    "delete": SMALL,
    "duck": SMALL,
    "sfron": SMALL,
    "influence": SMALL,
    "fisher_forgetting": SMALL,
    "ntk_scrub": SMALL,
    "newton_head": SMALL,
    "lfssd": SMALL,
    "emmn": SMALL,
    "gkt": SMALL,
    "kl_contrastive": SMALL,
    "masked_small_gradients": SMALL,
    "noise_reset": SMALL,
    "prune_reinit_entropy": SMALL,
    "conv_transpose": SMALL,
    "reset_head_distill": SMALL,
    "layer_noise": SMALL,
}


def case(name, problem, **changes):
    """The jitted method with its constants, and the problem as the method sees it."""
    info = methods.METHODS[name]
    fn = functools.partial(info.fn, **CASES[name] | changes)
    return jax.jit(fn), withhold(problem, info.needs)
