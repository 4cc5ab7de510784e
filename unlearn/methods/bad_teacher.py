"""Bad teacher: obey an incompetent teacher on f and the original elsewhere.

    minimise  (sum_f KL_T(bad || f) + sum_{r'} KL_T(original || f)) / (F + R')

The bad teacher is freshly initialised, r' a random share of r drawn once; both teachers
are in evaluation mode and never updated. No label is read. Chundawat et al., "Can Bad
Teaching Induce Forgetting?", AAAI 2023, https://arxiv.org/abs/2205.08096: T 1, 30 % of
r, 1 epoch of Adam 1e-4 at batch 256. The KL is a sum over classes and a mean over
examples, times T^2; released code also divides by the number of classes, which Adam
hides. On small nets the published epoch and rate forget nothing: tune both.
"""

import jax
import jax.numpy as jnp

from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.surgery import fresh
from unlearn.training import adam, fit, kl_divergence


@method(
    needs=("forget", "retain"),
    paper="arXiv:2205.08096",
    search={"learning_rate": (1e-4, 1e-2)},
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
    good, bad, model = variables, fresh(key_bad, problem), problem.model
    count = max(1, len(problem.retain) * retain_percent // 100)
    retain = jax.random.choice(key_share, problem.retain, (count,), replace=False)
    forgotten = jnp.zeros_like(problem.labels).at[problem.forget].set(1)

    def obey(variables, batch, key):
        wanted = jnp.where(
            batch.labels[:, None] == 1,
            model.apply(bad, batch.inputs)[0],
            model.apply(good, batch.inputs)[0],
        )
        logits, variables = model.apply(variables, batch.inputs, train=True, key=key)
        loss = jnp.mean(batch.weights * kl_divergence(wanted, logits, temperature))
        return loss, variables

    variables, losses = fit(
        key_fit,
        variables,
        problem.replace(labels=forgotten),  # which teacher, instead of which class
        jnp.concatenate([problem.forget, retain]),
        obey,
        adam(learning_rate, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
