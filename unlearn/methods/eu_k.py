"""EU-k: the last k layers are retrained from scratch, all others frozen (exact there).

    minimise  E_r[CE(f(x), y)]  over the last k layers,    from fresh random weights

What is trained and what is frozen: see `cf_k`. The running statistics of re-initialised
normalisations start anew too. Goel et al., "Towards Adversarial Evaluations for Inexact
Machine Unlearning", 2022, https://arxiv.org/abs/2201.06640: as many epochs as the
original training, by the same recipe; the defaults are those of `retrain`. (A published
port re-initialises but freezes nothing.)
"""

import jax

from unlearn.methods.cf_k import last_layers, train_where
from unlearn.methods.registry import method
from unlearn.problem import Problem, Variables
from unlearn.surgery import fresh, select
from unlearn.training import Recipe

DEFAULTS = Recipe()


@method(
    needs=("retain",),
    paper="arXiv:2201.06640",
    differs="frozen normalisations keep their statistics, but in equinox",
    search={"learning_rate": (0.01, 0.5)},
)
def eu_k(
    key: jax.Array,
    variables: Variables,
    problem: Problem,
    *,
    learning_rate: float = DEFAULTS.learning_rate,
    epochs: int = DEFAULTS.epochs,
    layers: int = 2,
    batch_size: int = DEFAULTS.batch_size,
    momentum: float = DEFAULTS.momentum,
    weight_decay: float = DEFAULTS.weight_decay,
    warmup_epochs: int = DEFAULTS.warmup_epochs,
    schedule: str = DEFAULTS.schedule,
) -> tuple[Variables, dict]:
    """Retrains the last `layers`; `info["loss"]` is float32[epochs, steps].

    Raises:
      InputError: `layers` below 1, or a model that has no `activations`.
    """
    recipe = Recipe(
        epochs,
        batch_size,
        learning_rate,
        momentum,
        weight_decay,
        warmup_epochs,
        schedule,
    )
    key_init, key_fit = jax.random.split(key)
    anew = last_layers(problem, variables, layers)
    trained = last_layers(problem, variables, layers, unnamed=True)
    variables, losses = train_where(
        key_fit,
        select(anew, fresh(key_init, problem), variables),
        problem,
        trained,
        recipe.optimizer(len(problem.retain)),
        epochs=epochs,
        batch_size=batch_size,
    )
    return variables, {"loss": losses}
