"""Audits of the models of a finished run: relearning, layers, outputs.

Relearning curves are kept in the run folder; the same command reads them again.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import controls, pipeline, store, structure, studies
from unlearn.metrics import divergence, idi, relearning
from unlearn.metrics.membership import spread

UNTRAINED, HEAD = "untrained", "head_distill"


@functools.lru_cache(maxsize=1)
def variables_of(this: pipeline.Run, name: str, seed: int):
    """Of a model of the run, of one from scratch, or of one with a distilled head."""
    if name == UNTRAINED:
        return structure.fresh(pipeline.key_of(seed, name), this.problem)
    if name == HEAD:
        teacher, _ = pipeline.make_model(this, "retrain", seed)
        distill = jax.jit(controls.head_distill)
        return distill(pipeline.original(this, seed), this.problem, teacher)
    return pipeline.make_model(this, name, seed)[0]


def logits_of(this: pipeline.Run, name: str, seed: int) -> dict[str, np.ndarray]:
    """On training and test data, of a model of the run or of a control."""
    if name == HEAD and not this.evaluation_path(name, seed).exists():
        variables = variables_of(this, name, seed)
        predict = functools.partial(pipeline.predict_images, this.problem, variables)
        return pipeline.evaluate(this, name, seed, predict)
    if name in studies.CONTROLS and name != HEAD:
        before = this.evaluation("original", seed)
        parts = "train_logits", "test_logits"
        return {part: controls.control_logits(name, before[part]) for part in parts}
    return this.evaluation(name, seed)


def relearn(this: pipeline.Run, name: str, seed: int, **constants):
    """`relearning.Curves` of a model while it learns the forget set again.

    All models of a seed see the same batches.
    """
    path = this.folder / "relearning" / name / f"{seed}.npz"
    if not path.exists():
        seen = pipeline.withheld(this, ("forget",))
        variables = variables_of(this, name, seed)
        this.progress.tick(f"{pipeline.place(this, seed)}  {name}  relearning")
        fn = _relearn(tuple(sorted(constants.items())))
        curves = fn(pipeline.key_of(seed, "relearn"), variables, seen)
        store.save_arrays(path, jax.tree.map(np.asarray, curves)._asdict())
    return relearning.Curves(**store.load_arrays(path))


@functools.cache
def _relearn(constants: tuple):
    return jax.jit(functools.partial(relearning.relearn, **dict(constants)))


class Layers:
    """Features of the forget set and of as many retained examples, at most `examples`.

    Convolutional maps are averaged over space. With fewer than five of each nothing is
    said: probe and IDI are NaN.
    """

    def __init__(self, this: pipeline.Run, examples: int):
        forget, retain = (
            np.asarray(s) for s in (this.problem.forget, this.problem.retain)
        )
        count = min(examples, len(forget), len(retain))
        self.run, self.few = this, count < 5
        chosen = [s[spread(len(s), count)] for s in (forget, retain)]
        self.indices = jnp.asarray(np.concatenate(chosen))
        self.forgotten = np.arange(2 * count) < count
        self.labels = np.asarray(this.problem.labels)[np.concatenate(chosen)]

    def of(self, variables) -> list[np.ndarray]:
        found = _features(self.run.problem, variables, self.indices)
        return [np.asarray(values) for values in found]

    def probe(self, features) -> float:
        """A linear classifier of the last layer's input, tested on half of the forget
        set and trained on everything else."""
        if self.few:
            return math.nan
        test = self.forgotten & (np.arange(len(self.forgotten)) % 2 == 0)
        last = features[-1]
        return idi.linear_probe(
            last[~test], self.labels[~test], last[test], self.labels[test]
        )

    def information(self, unlearned, original, retrained) -> float:
        if self.few:
            return math.nan
        found = idi.information_difference(
            unlearned, original, retrained, self.forgotten
        )
        return found.index


@jax.jit
def _features(problem, variables, indices):
    inputs, *_ = structure.activations(problem.model)(
        variables, problem.inputs(indices)
    )
    return [structure.pooled(v) for v in list(inputs.values())[1:]]  # without the image


def output_distances(logits, retrained, untrained) -> dict[str, float]:
    """Between two models on the same examples: logits float[N, K] each."""
    return {
        "js": float(divergence.jensen_shannon(logits, retrained).mean()),
        "activation": divergence.activation_distance(logits, retrained),
        "agreement": divergence.agreement(logits, retrained),
        "completeness": divergence.completeness(logits, retrained),
        "zrf": divergence.zrf(logits, untrained),
    }
