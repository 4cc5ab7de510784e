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
        (*RETAIN, *CLASSES, "validation"),
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
        {"learning_rate": (0.01, 0.3), "alpha": (1e-5, 1e-2)},
    ),
    "prune_finetune": MethodInfo(
        prune_finetune,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2304.04934",
        "one-shot pruning, the head too; no training on all data before unlearning",
        {"learning_rate": (0.01, 0.3), "sparsity": (0.5, 0.98)},
    ),
    "cf_k": MethodInfo(
        cf_k,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2201.06640",
        True,
        {"learning_rate": (1e-3, 0.5)},
    ),
    "eu_k": MethodInfo(
        eu_k,
        RETAIN,
        "both",
        "approximate",
        "arXiv:2201.06640",
        True,
        {"learning_rate": (0.01, 0.5)},
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
        "batch statistics are not trained",
        {"learning_rate": (1e-5, 1e-2), "bound": (0.01, 0.5)},
    ),
    "boundary_expand": MethodInfo(
        boundary_expand,
        FORGET,
        "both",
        "approximate",
        "arXiv:2303.11570",
        "batch statistics are not trained",
        {"learning_rate": (1e-5, 1e-2)},
    ),
    "lipschitz": MethodInfo(
        lipschitz,
        FORGET,
        "both",
        "approximate",
        "arXiv:2402.01401",
        "noise is not clipped; gradients are zeroed each step",
        {"learning_rate": (0.01, 1.0), "sigma": (0.01, 1.0)},
    ),
    "kl_uniform": MethodInfo(
        kl_uniform,
        FORGET,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "batch statistics are not trained",
        {"learning_rate": (1e-3, 0.1)},
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
        (*BOTH, *CLASSES),
        "both",
        "approximate",
        "arXiv:2010.10981",
        True,
        {"learning_rate": (1e-4, 1e-2)},
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
        {"learning_rate": (1e-4, 1e-2)},
    ),
    "unsir": MethodInfo(
        unsir,
        (*RETAIN, *CLASSES),
        "class",
        "approximate",
        "arXiv:2111.08947",
        "the retain subset is drawn at random, not class by class",
        {"learning_rate": (1e-4, 0.1), "repair_learning_rate": (1e-4, 0.03)},
    ),
    "curriculum_distill": MethodInfo(
        curriculum_distill,
        (*RETAIN, *CLASSES),
        "class",
        "approximate",
        "arXiv:2111.08947 with arXiv:1503.02531 and arXiv:1903.09848",
        "its parts; the combination is in no paper",
        {"learning_rate": (1e-4, 0.1), "repair_learning_rate": (1e-4, 0.03)},
    ),
    "class_swap": MethodInfo(
        class_swap,
        (*BOTH, *CLASSES),
        "class",
        "approximate",
        "none; parts of arXiv:2308.07707 and arXiv:2310.12508",
        "its parts; the combination is in no paper",
        {"learning_rate": (1e-3, 0.3), "penalty": (1e-5, 0.1), "fraction": (0.02, 0.5)},
    ),
    "delete": MethodInfo(
        delete,
        FORGET,
        "both",
        "approximate",
        "arXiv:2503.23751",
        True,
        {"learning_rate": (1e-5, 1e-2)},
    ),
    "duck": MethodInfo(
        duck,
        BOTH,
        "both",
        "approximate",
        "arXiv:2312.02052",
        "a constant learning rate",
        {"learning_rate": (1e-4, 1e-2), "target_accuracy": (0.0, 1.0)},
    ),
    "sfron": MethodInfo(
        sfron,
        BOTH,
        "both",
        "approximate",
        "arXiv:2409.19732",
        "exact per-example importances; no slow update, which its constant disables",
        {"learning_rate": (1e-3, 0.1), "alpha": (10.0, 1e4)},
    ),
    "influence": MethodInfo(
        influence,
        BOTH,
        "both",
        "approximate",
        "arXiv:1703.04730",
        "Fisher or Gauss-Newton matrix of some examples for the Hessian",
        {"scale": (0.1, 10.0), "damping": (1e-5, 1e-2)},
    ),
    "fisher_forgetting": MethodInfo(
        fisher_forgetting,
        (*RETAIN, *CLASSES),
        "both",
        "approximate",
        "arXiv:1911.04933",
        "the released code's constants and 1 / F, not the paper's 1 / sqrt(F)",
        {"alpha": (1e-9, 1e-4)},
    ),
    "ntk_scrub": MethodInfo(
        ntk_scrub,
        BOTH,
        "both",
        "approximate",
        "arXiv:2003.02960",
        "some examples; linearised at the original, not the initial weights",
        {"scale": (1.0, 1e4), "weight_decay": (1e-3, 1.0)},
    ),
    "newton_head": MethodInfo(
        newton_head,
        RETAIN,
        "both",
        "approximate",
        "arXiv:1911.03030",
        "no perturbed training: not certified; iterated; a softmax",
        {"weight_decay": (1e-6, 1e-2)},
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
        "arXiv:2402.19308",
        "exact per-example importances; the released code's by group=64",
        {"alpha": (0.5, 20.0), "dampening": (0.1, 1.0)},
    ),
    "emmn": MethodInfo(
        emmn,
        CLASSES,
        "class",
        "zero-shot",
        "arXiv:2201.05629",
        "its repair, a masked distillation on mixed noise, is ours; repair_epochs=0",
        {"repair_rate": (1e-4, 1e-2), "temperature": (2.0, 30.0)},
    ),
    "gkt": MethodInfo(
        gkt,
        CLASSES,
        "class",
        "zero-shot",
        "arXiv:2201.05629",
        "dense generator; only the last layers fresh, logits masked, classes balanced",
        {"learning_rate": (3e-4, 1e-2), "temperature": (1.0, 20.0)},
    ),
    "kl_contrastive": MethodInfo(
        kl_contrastive,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "the contrast rate decays to 0, not to 1e-6",
        {
            "learning_rate": (3e-4, 0.1),
            "uniform_learning_rate": (1e-4, 0.1),
            "forget_learning_rate": (1e-5, 0.01),
        },
    ),
    "masked_small_gradients": MethodInfo(
        masked_small_gradients,
        BOTH,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "scores in evaluation mode; new weights from the model's own initialiser",
        {"learning_rate": (3e-4, 0.1), "fraction": (0.05, 0.95)},
    ),
    "noise_reset": MethodInfo(
        noise_reset,
        RETAIN,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "class weights for each example; the released code's scale whole batches",
        {"learning_rate": (3e-4, 0.1), "sigma": (0.01, 1.0)},
    ),
    "prune_reinit_entropy": MethodInfo(
        prune_reinit_entropy,
        RETAIN,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "3 epochs, not 3.2; new weights from the model's own initialiser",
        {"learning_rate": (3e-4, 0.2), "fraction": (0.3, 0.99)},
    ),
    "conv_transpose": MethodInfo(
        conv_transpose,
        RETAIN,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        True,
        {"learning_rate": (3e-4, 0.2)},
    ),
    "reset_head_distill": MethodInfo(
        reset_head_distill,
        RETAIN,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "the warm-up sees the retain set, not validation data",
        {
            "learning_rate": (3e-4, 0.1),
            "warmup_learning_rate": (3e-4, 0.1),
            "temperature": (1.0, 10.0),
        },
    ),
    "layer_noise": MethodInfo(
        layer_noise,
        RETAIN,
        "both",
        "approximate",
        "NeurIPS 2023 challenge, arXiv:2406.09073",
        "a layer may be noised more than once; one learning rate for the tail",
        {"learning_rate": (3e-4, 0.1), "sigma": (0.01, 0.5)},
    ),
}
