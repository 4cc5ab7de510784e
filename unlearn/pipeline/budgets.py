"""Methods for a budget: the longest that a share of retraining's compute allows.

How long a method goes on is its `epochs`, and constants that end in `_epochs` keep
their share of it, but for a schedule's warm-up (`lasting`). So a method is found at
several costs, and its floats are tuned for each. Costs are operations of products and
convolutions in the traced program (`operations`), preparation included.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

import jax

from unlearn import methods, operations
from unlearn.errors import InputError
from unlearn.pipeline import imported, method_programs, setup
from unlearn.problem import Problem, withhold

if TYPE_CHECKING:
    from ml_collections import ConfigDict

LENGTH = "epochs"
PARTS = ("no_l1_epochs",)  # of the length: an epoch is left for the rest


def check_budgets(shares: tuple[float, ...]) -> None:
    """Raises `InputError` for what is no share of retraining, or stands there twice."""
    for share in shares:
        if not isinstance(share, Real) or not 0 < share <= 1:
            raise InputError(
                "tune.budgets are shares of retraining's compute, above 0 and at most "
                f"1, such as 0.05,0.2; there is {share}"
            )
    names = [row_name("", share) for share in shares]
    for name, share in zip(names, shares, strict=True):
        if names.count(name) > 1:
            raise InputError(f"tune.budgets has {share:g} twice")


def saved_section(config: "ConfigDict") -> dict:
    """Returns `config.tune` as folders keep it; without budgets as before these."""
    section = config.tune.to_dict()
    if not section["budgets"]:
        del section["budgets"]
    return section


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

    Raises:
      InputError: no method is as cheap; a row of this name is there.
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

        @functools.cache  # a length is traced once, for all budgets
        def cost(epochs, name=name, constants=constants):
            return _cost(config, name, lasting(constants, epochs), problem)

        for share in config.tune.budgets:
            row, per_cent = row_name(name, share), f"{100 * share:g} %"
            if row in config.methods:
                raise InputError(
                    f"tune.budgets makes the row {row}, and config.methods has one of "
                    "this name: give yours another label"
                )
            epochs = longest(cost, share * whole, constants[LENGTH])
            if not epochs:
                lines.append(f"{name} costs more than {per_cent} at the least")
                continue
            made = lasting(constants, epochs)
            own = {key: made[key] for key in made if key.endswith(LENGTH)}
            if own in [lengths[other] for other in found if method_of(other) == name]:
                lines.append(f"{name} is no longer for {per_cent}: one row is for both")
                continue
            with config.unlocked():
                config.methods[row] = made
            found.append(row)
            lengths[row] = own
    if not found:
        raise InputError(f"no method fits tune.budgets: {'; '.join(lines)}; raise them")
    return config, tuple(found), lengths, lines


def has_length(config: "ConfigDict", name: str) -> bool:
    """Says whether a method goes on for epochs, and is no retraining."""
    return methods.METHODS[name].kind != "exact" and LENGTH in config.methods[name]


def lasting(constants: Mapping, epochs: int) -> dict:
    """Returns constants of a method that goes on for so many epochs.

    Other numbers of epochs keep their proportion to them; of what is there at all, one.
    A schedule's warm-up stays, but for half of the epochs at most.
    """
    found = dict(constants) | {LENGTH: epochs}
    for name, value in constants.items():
        if not name.endswith("_" + LENGTH) or not value or name == "planned_epochs":
            continue
        if name == "warmup_epochs" and "warmup_learning_rate" not in constants:
            found[name] = min(value, epochs // 2)
        else:
            kept = max(1, round(value * epochs / constants[LENGTH]))
            found[name] = min(kept, epochs - 1) if name in PARTS else kept
    return found


def longest(cost: Callable[[int], float], most: float, own: int) -> int:
    """Returns the largest number of epochs that costs at most `most`; 0: none does.

    Args:
      cost: of so many epochs; it grows with them, about as fast all along, and raises
        `InputError` for fewer than a method can do with.
      own: a number of epochs that the method can do with, for one whose cost is not
        seen in the traced program, such as a search.
    """
    least = next((n for n in range(1, own) if _allowed(cost, n)), own)
    first = cost(least)
    if first > most:
        return 0
    if cost(least + 1) <= first:
        return own  # what more of them cost is not counted
    epochs = least + int((most - first) / (cost(least + 1) - first))
    while epochs > least and cost(epochs) > most:
        epochs -= 1
    while cost(epochs) < cost(epochs + 1) <= most:
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
    fn = method_programs.method_function(info.fn, tuple(constants.items()))
    with method_programs.mistakes_of(info):
        return operations.count(fn, jax.random.key(0), variables, seen)
