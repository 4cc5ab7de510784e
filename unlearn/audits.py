"""Audits of a finished run, for experiments that add them to the pipeline's report.

What they compute is kept in the run folder; the same command reads it again.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unlearn import pipeline, store
from unlearn.metrics import relearning

UNTRAINED = "untrained"


def relearn(this: pipeline.Run, name: str, seed: int, **constants) -> np.ndarray:
    """float32[steps + 1]: forget accuracy of a model while it learns it again.

    All models of a seed see the same batches. `untrained` is a model from scratch.
    """
    path = this.folder / "relearning" / name / f"{seed}.npz"
    if path.exists():
        return store.load_arrays(path)["accuracy"]
    seen = pipeline.withheld(this, ("forget",))
    if name == UNTRAINED:
        variables = this.problem.model.init(
            pipeline.key_of(seed, name), seen.inputs(jnp.zeros(1, jnp.int32))
        )
    else:
        variables, _ = pipeline.make_model(this, name, seed)
    this.progress.tick(f"{pipeline.place(this, seed)}  {name}  relearning")
    fn = _relearn(tuple(sorted(constants.items())))
    curves = fn(pipeline.key_of(seed, "relearn"), variables, seen)
    store.save_arrays(path, jax.tree.map(np.asarray, curves)._asdict())
    return np.asarray(curves.accuracy)


@functools.cache
def _relearn(constants: tuple):
    return jax.jit(functools.partial(relearning.relearn, **dict(constants)))
