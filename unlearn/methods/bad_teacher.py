"""Bad teacher: obey an incompetent teacher on f and the original elsewhere.

    minimise  (sum_f KL_T(bad || f) + sum_{r'} KL_T(original || f)) / (F + R')

The bad teacher is freshly initialised, r' a random share of r drawn once; both teachers
are in evaluation mode and never updated. No label is read. Chundawat et al., "Can Bad
Teaching Induce Forgetting?", AAAI 2023, https://arxiv.org/abs/2205.08096: T 1, 30 % of
r, 1 epoch of Adam 1e-4 at batch 256. The KL is a sum over classes and a mean over
examples, times T^2; released code has no T^2 and divides by the number of classes as
well, both of which Adam hides. On small nets the published epoch and rate forget
nothing: tune both.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.methods.taught import Taught, teacher
from unlearn.optimizers import adam
from unlearn.problem import Problem, Variables
from unlearn.surgery import fresh
from unlearn.training import fit, kl_divergence


@method(
    needs=("forget", "retain"),
    paper="arXiv:2205.08096",
    differs="the KL is a sum over classes, times T^2; in the released code a mean over "
    "them",
    search={"learning_rate": (1e-6, 1e-2)},
)
def bad_teacher(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = 1e-4,
    epochs: int = 1,
    temperature: float = 1.0,
    retain_percent: int = 30,
    batch_size: int = 256,
    weight_decay: float = 0.0,
) -> tuple[Variables, dict]:
    """Distils two teachers; `info["loss"]` is float32[epochs, steps]."""
    key_bad, key_share, key_fit = jax.random.split(key, 3)
    count = max(1, len(problem.retain) * retain_percent // 100)
    retain = jax.random.choice(key_share, problem.retain, (count,), replace=False)
    good = teacher(problem, variables, retain)
    bad = teacher(problem, fresh(key_bad, problem), problem.forget)
    forgotten = jnp.zeros(problem.labels.shape, bool).at[problem.forget].set(True)

    def both(inputs, indices):
        answers = bad(inputs, indices), good(inputs, indices)
        return jnp.where(forgotten[indices, None], *answers)

    def obey(variables, batch, key):
        inputs, wanted = batch.inputs
        logits, variables = problem.model.apply(variables, inputs, train=True, key=key)
        loss = jnp.mean(batch.weights * kl_divergence(wanted, logits, temperature))
        return loss, variables

    variables, losses = fit(
        key_fit,
        variables,
        Taught(problem, both),
        jnp.concatenate([problem.forget, retain]),
        obey,
        adam(learning_rate, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
