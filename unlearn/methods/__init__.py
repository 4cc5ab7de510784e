"""The registry of methods.

A method is `fn(key, variables, problem, *, ...) -> (variables, info)`: pure, so it
jits, and it vmaps over keys, variables, splits and every float. To add one, write a
file with the function and add a row below.
"""

from collections.abc import Callable
from typing import NamedTuple

from unlearn.methods.amnesiac_relabel import amnesiac_relabel
from unlearn.methods.bad_teacher import bad_teacher
from unlearn.methods.boundary_expand import boundary_expand
from unlearn.methods.boundary_shrink import boundary_shrink
from unlearn.methods.cf_k import cf_k
from unlearn.methods.class_swap import class_swap
from unlearn.methods.conv_transpose import conv_transpose
from unlearn.methods.curriculum_distill import curriculum_distill
from unlearn.methods.delete import delete
from unlearn.methods.duck import duck
from unlearn.methods.emmn import emmn
from unlearn.methods.eu_k import eu_k
from unlearn.methods.finetune import finetune
from unlearn.methods.fisher_forgetting import fisher_forgetting
from unlearn.methods.gkt import gkt
from unlearn.methods.gradient_ascent import gradient_ascent
from unlearn.methods.influence import influence
from unlearn.methods.kl_contrastive import kl_contrastive
from unlearn.methods.kl_uniform import kl_uniform
from unlearn.methods.l1_sparse import l1_sparse
from unlearn.methods.layer_noise import layer_noise
from unlearn.methods.lfssd import lfssd
from unlearn.methods.lipschitz import lipschitz
from unlearn.methods.masked_small_gradients import masked_small_gradients
from unlearn.methods.neggrad_plus import neggrad_plus
from unlearn.methods.newton_head import newton_head
from unlearn.methods.noise_reset import noise_reset
from unlearn.methods.ntk_scrub import ntk_scrub
from unlearn.methods.prune_finetune import prune_finetune
from unlearn.methods.prune_reinit_entropy import prune_reinit_entropy
from unlearn.methods.random_labels import random_labels
from unlearn.methods.reset_head_distill import reset_head_distill
from unlearn.methods.retrain import retrain
from unlearn.methods.salun import salun
from unlearn.methods.scrub import scrub
from unlearn.methods.sfron import sfron
from unlearn.methods.ssd import ssd
from unlearn.methods.unsir import unsir


class MethodInfo(NamedTuple):
    fn: Callable
    needs: tuple[str, ...]  # of forget, retain, forget_classes, validation
    scope: str  # class, random or both
    kind: str  # exact, approximate or zero-shot
    paper: str
    faithful: bool | str  # True, or what was simplified
    search: dict[str, tuple[float, float]]  # floats to tune: lowest and highest value


FORGET, RETAIN, CLASSES = ("forget",), ("retain",), ("forget_classes",)
BOTH = (*FORGET, *RETAIN)

METHODS: dict[str, MethodInfo] = {
    "retrain": MethodInfo(
        retrain,
        RETAIN,
        "both",
        "exact",
        "the definition of unlearning",
        True,
        {},
    ),
    "finetune": MethodInfo(
        finetune,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2304.04934",
        True,
        {"learning_rate": (1e-3, 0.3)},
    ),
    "l1_sparse": MethodInfo(
        l1_sparse,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2304.04934",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "prune_finetune": MethodInfo(
        prune_finetune,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2304.04934",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "cf_k": MethodInfo(
        cf_k,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2201.06640",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "eu_k": MethodInfo(
        eu_k,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2201.06640",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "gradient_ascent": MethodInfo(
        gradient_ascent,
        FORGET,
        "both",
        "approximate",
        "arXiv:1911.04933",
        True,
        {"learning_rate": (1e-5, 1.0)},
    ),
    "boundary_shrink": MethodInfo(
        boundary_shrink,
        FORGET,
        "both",
        "approximate",
        "arXiv:2303.11570",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "boundary_expand": MethodInfo(
        boundary_expand,
        FORGET,
        "both",
        "approximate",
        "arXiv:2303.11570",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "lipschitz": MethodInfo(
        lipschitz,
        FORGET,
        "both",
        "approximate",
        "arXiv:2402.01401",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "kl_uniform": MethodInfo(
        kl_uniform,
        FORGET,
        "both",
        "approximate",
        "TODO",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "neggrad_plus": MethodInfo(
        neggrad_plus,
        BOTH,
        "both",
        "approximate",
        "arXiv:2302.09880",
        "batch statistics are trained along; no L2 pull to the original",
        {"learning_rate": (1e-3, 0.2), "alpha": (0.5, 0.99)},
    ),
    "random_labels": MethodInfo(
        random_labels,
        BOTH,
        "both",
        "approximate",
        "arXiv:1911.04933",
        "one joint loss, a mean over examples; not the released code's two phases",
        {"learning_rate": (1e-4, 0.2), "alpha": (0.3, 30.0)},
    ),
    "amnesiac_relabel": MethodInfo(
        amnesiac_relabel,
        BOTH,
        "both",
        "approximate",
        "arXiv:2010.10981",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "salun": MethodInfo(
        salun,
        BOTH,
        "both",
        "approximate",
        "arXiv:2310.12508",
        "one joint loss, a mean over examples; not the released code's two phases",
        {"learning_rate": (1e-4, 0.2), "alpha": (0.3, 30.0), "fraction": (0.1, 0.9)},
    ),
    "scrub": MethodInfo(
        scrub,
        (*BOTH, "validation"),
        "both",
        "approximate",
        "arXiv:2302.09880",
        "a constant learning rate",
        {"learning_rate": (1e-4, 0.1), "alpha": (0.001, 1.0)},
    ),
    "bad_teacher": MethodInfo(
        bad_teacher,
        BOTH,
        "both",
        "approximate",
        "arXiv:2205.08096",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "unsir": MethodInfo(
        unsir,
        (*RETAIN, *CLASSES),
        "class",
        "approximate",
        "arXiv:2111.08947",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "curriculum_distill": MethodInfo(
        curriculum_distill,
        (*RETAIN, *CLASSES),
        "class",
        "approximate",
        "TODO",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "class_swap": MethodInfo(
        class_swap,
        (*BOTH, *CLASSES),
        "class",
        "approximate",
        "TODO",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "delete": MethodInfo(
        delete,
        BOTH,
        "both",
        "approximate",
        "TODO",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "duck": MethodInfo(
        duck,
        BOTH,
        "both",
        "approximate",
        "arXiv:2312.02052",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "sfron": MethodInfo(
        sfron,
        BOTH,
        "both",
        "approximate",
        "arXiv:2409.19732",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "influence": MethodInfo(
        influence,
        BOTH,
        "both",
        "approximate",
        "arXiv:1703.04730",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "fisher_forgetting": MethodInfo(
        fisher_forgetting,
        (*BOTH, *CLASSES),
        "both",
        "approximate",
        "arXiv:1911.04933",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "ntk_scrub": MethodInfo(
        ntk_scrub,
        BOTH,
        "both",
        "approximate",
        "arXiv:2003.02960",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "newton_head": MethodInfo(
        newton_head,
        BOTH,
        "both",
        "approximate",
        "TODO",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "ssd": MethodInfo(
        ssd,
        BOTH,
        "both",
        "approximate",
        "arXiv:2308.07707",
        "exact per-example importances; the released code's by group=64",
        {"alpha": (0.5, 50.0), "dampening": (0.1, 1.0)},
    ),
    "lfssd": MethodInfo(
        lfssd,
        BOTH,
        "both",
        "approximate",
        "arXiv:2402.01401",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "emmn": MethodInfo(
        emmn,
        CLASSES,
        "class",
        "zero-shot",
        "arXiv:2201.05629",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "gkt": MethodInfo(
        gkt,
        CLASSES,
        "class",
        "zero-shot",
        "arXiv:2201.05629",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "kl_contrastive": MethodInfo(
        kl_contrastive,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "masked_small_gradients": MethodInfo(
        masked_small_gradients,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "noise_reset": MethodInfo(
        noise_reset,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "prune_reinit_entropy": MethodInfo(
        prune_reinit_entropy,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "conv_transpose": MethodInfo(
        conv_transpose,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "reset_head_distill": MethodInfo(
        reset_head_distill,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
    "layer_noise": MethodInfo(
        layer_noise,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (1e-4, 0.1)},
    ),
}
