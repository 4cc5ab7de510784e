"""The registry of methods.

A method is `fn(key, variables, problem, *, ...) -> (variables, info)`: pure, so it
jits, and it vmaps over keys, variables, splits and every float. To add one, write a
file with the function and add a row below.
"""

from collections.abc import Callable
from typing import NamedTuple

from unlearn.methods.finetune import finetune
from unlearn.methods.gradient_ascent import gradient_ascent
from unlearn.methods.neggrad_plus import neggrad_plus
from unlearn.methods.random_labels import random_labels
from unlearn.methods.retrain import retrain
from unlearn.methods.salun import salun
from unlearn.methods.scrub import scrub
from unlearn.methods.ssd import ssd


class MethodInfo(NamedTuple):
    fn: Callable
    needs: tuple[str, ...]  # of forget, retain, forget_classes, validation
    scope: str  # class, random or both
    kind: str  # exact, approximate or zero-shot
    paper: str
    faithful: bool | str  # True, or what was simplified


BOTH = ("forget", "retain")

METHODS: dict[str, MethodInfo] = {
    "retrain": MethodInfo(
        retrain, ("retain",), "both", "exact", "the definition of unlearning", True
    ),
    "finetune": MethodInfo(
        finetune, ("retain",), "both", "approximate", "arXiv:2304.04934", True
    ),
    "gradient_ascent": MethodInfo(
        gradient_ascent, ("forget",), "both", "approximate", "arXiv:1911.04933", True
    ),
    "neggrad_plus": MethodInfo(
        neggrad_plus,
        BOTH,
        "both",
        "approximate",
        "arXiv:2302.09880",
        "batch statistics are trained along; no L2 pull to the original",
    ),
    "random_labels": MethodInfo(
        random_labels,
        BOTH,
        "both",
        "approximate",
        "arXiv:1911.04933",
        "one joint loss, a mean over examples; not the released code's two phases",
    ),
    "salun": MethodInfo(
        salun,
        BOTH,
        "both",
        "approximate",
        "arXiv:2310.12508",
        "one joint loss, a mean over examples; not the released code's two phases",
    ),
    "scrub": MethodInfo(
        scrub,
        (*BOTH, "validation"),
        "both",
        "approximate",
        "arXiv:2302.09880",
        "a constant learning rate",
    ),
    "ssd": MethodInfo(
        ssd,
        BOTH,
        "both",
        "approximate",
        "arXiv:2308.07707",
        "exact per-example importances; the released code's by group=64",
    ),
}
