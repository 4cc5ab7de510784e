"""Methods for a budget: the longest that a share of retraining's compute allows.

How long a method goes on is its `epochs`, and constants that end in `_epochs` keep
their share of it, but for a schedule's warm-up. So a method is found at several costs,
and its floats are tuned for each. Costs are operations of products and convolutions in
the traced program (`operations`), preparation included.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax

from unlearn import methods, operations
from unlearn.errors import InputError
from unlearn.pipeline import imported, setup, stages
from unlearn.problem import Problem, withhold

if TYPE_CHECKING:
    from ml_collections import ConfigDict

LENGTH = "epochs"
AS_THEY_ARE = "warmup_epochs", "planned_epochs"


def check_budgets(shares: tuple[float, ...]) -> None:
    """Raises `InputError` for what is no share of retraining, or stands there twice."""
    for share in shares:
        if not 0 < share <= 1:
            raise InputError(
                "tune.budgets are shares of retraining's compute, above 0 and at most "
                f"1, such as 0.05,0.2; there is {share:g}"
            )
        if shares.count(share) > 1:
            raise InputError(f"tune.budgets has {share:g} twice")


def row_name(name: str, share: float) -> str:
    """Returns the name of a method's row: `finetune__5pc`, or `rewind__2at5pc`."""
    share_of = f"{100 * share:g}pc".replace(".", "p")
    return f"{name}at{share_of}" if "__" in name else f"{name}__{share_of}"


def method_of(row: str) -> str:
    """Returns the name of the method that a row such as `finetune__5pc` is of."""
    return re.sub(r"(at|__)[0-9p]+pc$", "", row)


def with_rows(
    config: "ConfigDict", names: Sequence[str], source: setup.Source
) -> tuple["ConfigDict", tuple[str, ...], dict[str, dict[str, int]], list[str]]:
    """Puts a row for each budget in the place of each method that has a length.

    Returns: a config with the rows, their names, the numbers of epochs of each, and a
      line for each that there is not: a method without a length keeps its own row.
    """
    config = config.copy_and_resolve_references()
    problem = _problem(config, source)
    whole = _cost(config, "retrain", dict(config.train), problem)
    found, lengths, lines = [], {}, []
    for name in names:
        constants = dict(config.methods[name])
        if not has_length(config, name):
            found.append(name)
            lines.append(f"{name} has no length to change: one row is for every budget")
            continue

        def cost(epochs, name=name, constants=constants):
            return _cost(config, name, lasting(constants, epochs), problem)

        for share in config.tune.budgets:
            epochs = longest(cost, share * whole, constants[LENGTH])
            if not epochs:
                lines.append(f"{name} costs more than {100 * share:g} % at the least")
                continue
            row = row_name(name, share)
            with config.unlocked():
                config.methods[row] = lasting(constants, epochs)
            found.append(row)
            lengths[row] = {
                key: value
                for key, value in config.methods[row].items()
                if is_length(key)
            }
    return config, tuple(found), lengths, lines


def has_length(config: "ConfigDict", name: str) -> bool:
    """Says whether a method goes on for epochs, and is no retraining."""
    return methods.METHODS[name].kind != "exact" and LENGTH in config.methods[name]


def is_length(constant: str) -> bool:
    """Says whether a constant is a number of epochs that grows with the budget."""
    name = constant.endswith("_" + LENGTH) and constant not in AS_THEY_ARE
    return name or constant == LENGTH


def lasting(constants: Mapping, epochs: int) -> dict:
    """Returns constants of a method that goes on for so many epochs.

    Other numbers of epochs keep their proportion to them; of what is there at all, one.
    """
    found = dict(constants) | {LENGTH: epochs}
    for name, value in constants.items():
        if is_length(name) and name != LENGTH and value:
            found[name] = max(1, round(value * epochs / constants[LENGTH]))
    return found


def longest(cost: Callable[[int], float], most: float, own: int) -> int:
    """Returns the largest number of epochs that costs at most `most`; 0: none does.

    Args:
      cost: of so many epochs; it grows with them, about as fast all along, and raises
        `InputError` for fewer than a method can do with.
      own: a number of epochs that the method can do with.
    """
    least = next((n for n in range(1, own) if _allowed(cost, n)), own)
    first = cost(least)
    if first > most:
        return 0
    epochs = least + int((most - first) / (cost(least + 1) - first))
    while epochs > least and cost(epochs) > most:
        epochs -= 1
    while cost(epochs + 1) <= most:
        epochs += 1
    return epochs


def _allowed(cost: Callable[[int], float], epochs: int) -> bool:
    try:
        cost(epochs)
    except InputError:
        return False
    return True


def _problem(config: "ConfigDict", source: setup.Source) -> Problem:
    classes = len(source.dataset.class_names)
    model = imported.make_net(config, classes)
    parts = setup.split_of(source, config)
    return setup.make_problem(source.dataset, parts, model, config)


def _cost(config: "ConfigDict", name: str, constants: Mapping, problem: Problem) -> int:
    """Counts operations; of a loop that stops by what it sees, one round."""
    info = methods.METHODS[name]
    variables = setup.template(problem)
    seen = withhold(problem, info.needs)
    if epochs := info.early_epochs(constants):
        seen = seen.replace(early=dict.fromkeys(epochs, variables))
    fn = stages.method_function(info.fn, tuple(constants.items()))
    return operations.count(fn, jax.random.key(0), variables, seen)
