"""Methods that ascend go on for ever; those that aim at answers arrive."""

import inspect

import jax
import pytest
from cases import jitted, seen, settings
from references import forget_loss

from unlearn.methods import METHODS

EPOCHS, RATE, BATCH = 200, 0.1, 64
FORGETTING = {  # nothing that holds a method back, or makes it stop
    "neggrad_plus": dict(alpha=0.1),
    "sfron": dict(alpha=1e4),
    "scrub": dict(max_epochs=EPOCHS, gamma=0.01, forget_batch_size=1, rewind=False),
    "mu_mis": dict(delta=1e9),
    "duck": dict(target_accuracy=-1.0),
    "scar": dict(target_accuracy=-1.0),
    "lotus": dict(margin=2.0),
}
FAST = "gradient_ascent", "kl_uniform"
NAMES = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name, info in METHODS.items()
    if "forget" in info.needs
]


@pytest.mark.parametrize("name", NAMES)
def test_who_ascends_has_no_end(name, problem, class_problem, variables):
    """Of an answer that is nearly reached a loss hardly grows: as log of the steps."""
    info = METHODS[name]
    problem = class_problem if info.scope == "class" else problem
    wanted = dict.fromkeys(("epochs", "forget_epochs"), EPOCHS)
    wanted |= dict.fromkeys(("learning_rate", "forget_learning_rate"), RATE)
    wanted |= dict.fromkeys(("batch_size", "forget_batch_size"), BATCH)
    taken = inspect.signature(info.fn).parameters
    constants = {key: value for key, value in wanted.items() if key in taken}
    constants = settings(info) | constants | FORGETTING.get(name, {})
    fn = jitted(name, **constants)
    after, _ = fn(jax.random.key(0), variables, seen(info, problem))
    lost = forget_loss(problem, after)
    assert (lost > 30) == info.ascends, f"{lost:.1f} nats"
