"""Made-up models of an audit's page: every verdict, leaks and losses of every size."""

import math

import numpy as np

# fmt: off
METHODS = [
    "ssd", "scrub", "salun", "finetune", "amnesiac_relabel", "bad_teacher",
    "boundary_expand", "boundary_shrink", "cf_k", "conv_transpose", "delete", "duck",
    "eu_k", "fisher_forgetting", "gradient_ascent", "influence", "kl_contrastive",
    "kl_uniform", "l1_sparse", "layer_noise", "lfssd", "lipschitz",
    "masked_small_gradients", "neggrad_plus", "newton_head", "noise_reset", "ntk_scrub",
    "prune_finetune", "prune_reinit_entropy", "random_labels", "reset_head_distill",
    "sfron",
]
# fmt: on
CONTROLS = {
    "no_op": "a request to which nothing was done",
    "head_distill": "only the head was trained, to answer like retraining",
    "constant_margin": "the original's answers, all equally confident",
    "collapsed": "one answer to everything",
}
VERDICTS = "outside", "inconclusive", "outside", "within"


def cell(value, half=None):
    ends = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": ends[0], "high": ends[1]}


def make_model(name, kind, leak, lost, verdict, *, stress=None, **more):
    """A model that is judged on 129 digits; leaks and losses of every size."""
    forgetting = "within" if leak < 0.51 else "outside"
    utility = "within" if lost > -0.01 else "outside"
    if verdict in ("inconclusive", "not concluded"):
        forgetting = verdict
    planted = stress and {
        "leak": cell(stress, 0.02),
        "found": cell(abs(2 * stress - 1), 0.01),
        "verdict": "within" if stress < 0.55 else "outside",
        "because": [f"Planted examples: AUC {stress:.3f}, where 0.5 ± 0.05 is equal."],
    }
    return {
        "name": name,
        "kind": kind,
        "what": "",
        "expected": None,
        "paper": None,
        "differs": None,
        "constants": {},
        "seconds": 0.4,
        "speedup": None,
        "leak": cell(leak, 0.004),
        "attack": "LiRA offline",
        "found": cell(max(0.01, 2.4 * (leak - 0.5)), 0.008),
        "whole": cell(min(1.0, 0.5 + 5 * (leak - 0.5)), 0.04),
        "accuracy": cell(0.9687 + lost, 0.0037),
        "lost": cell(lost, 0.0031),
        "worst_class": {"name": "eight", **cell(lost - 0.012, 0.011)},
        "forgetting": forgetting,
        "utility": utility,
        "verdict": verdict,
        "models_needed": 230 if verdict == "inconclusive" else None,
        "capped": False,
        "because": [
            f"Strongest of three attacks on 129 requested examples: AUC {leak:.3f} "
            f"({leak - 0.004:.3f} to {leak + 0.004:.3f}), where 0.5 ± 0.010 counts as "
            f"equal: {forgetting}.",
            f"Test accuracy against retraining: {100 * lost:+.1f} points: {utility}.",
        ],
        "stress": planted,
    } | more


def make_models(count, *, stress=True):
    draw = np.random.default_rng(0)
    models = [
        make_model(
            *("original", "reference", 0.598, -0.0053, "outside"),
            expected="fail",
            stress=0.98,
        ),
        make_model(
            *("retrain", "reference", 0.501, 0.0003, "within"),
            expected="pass",
            stress=0.496,
        ),
    ]
    for name, leak, lost in (
        ("no_op", 0.598, -0.0053),
        ("head_distill", 0.561, -0.001),
        ("constant_margin", 0.532, -0.0053),
        ("collapsed", 0.5, -0.87),
    ):
        more = {"what": CONTROLS[name], "expected": "fail", "stress": 0.93}
        models.append(make_model(name, "control", leak, lost, "outside", **more))
    for i, name in enumerate(METHODS[:count]):
        verdict = VERDICTS[i % 4] if i < 12 else "outside"
        near = verdict != "outside"
        models.append(
            make_model(
                name,
                "method",
                {"within": 0.501, "inconclusive": 0.507}.get(verdict, 0.52)
                + (0.004 if near else 0.08) * draw.random(),
                0.0012 * draw.normal() - (0 if near else 0.5 * draw.random() ** 4),
                verdict,
                paper="NeurIPS 2023 challenge, arXiv:2406.09073",
                differs="one joint loss, not the released code's two phases",
                constants={"learning_rate": 0.01, "layers": [1, 2], "head": True},
                seconds=0.05 * 10 ** (i % 4),
                speedup=(8.61, math.inf, math.nan, 2.4)[i % 4],
                stress=(0.52 if near else 0.6 + 0.4 * draw.random()),
            )
        )
    if not stress:
        models = [model | {"stress": None} for model in models]
    return models
