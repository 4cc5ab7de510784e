"""The registry of methods that also change how the model is trained.

    fit(key, problem, *, indices=None, ...) -> state
    forget(key, state, indices) -> (state, info)
    predict(state, examples) -> logits
    for_serving(state) -> state

`fit` trains on every example of the problem (or on `indices` of it): the request comes
later. `forget` takes indices into `problem.examples`, any number of times; `info` is a
dict of NumPy scalars that tells the cost. `predict` takes examples such as
`problem.examples` holds. `for_serving` leaves out what only `forget` needs. A state is
a pytree of arrays; its `problem` holds the examples, which `without_data` and
`with_data` leave out of a checkpoint; `unlearn.requests.states` saves and loads it.
Nothing changes its arguments. These functions run on the host and call compiled
programs: they are not to be jitted.

Each says what it guarantees of the forgotten examples:

- exact: the state is that of `fit` on the remaining examples (`sisa`);
- certified: an (epsilon, delta) bound on the difference, and a new fit when the bound
  is used up (`certified`); it does not cover those who saw the version before;
- none: nothing (`amnesiac` takes back stored updates and leaves what later updates
  learnt from them).
"""

from collections.abc import Callable
from typing import NamedTuple

from unlearn.training_time import amnesiac, certified, sisa
from unlearn.training_time.common import with_data, without_data

__all__ = ["METHODS", "TrainingMethod", "with_data", "without_data"]


class TrainingMethod(NamedTuple):
    """A way to train that makes requests to forget cheap."""

    name: str
    fit: Callable
    forget: Callable
    predict: Callable
    for_serving: Callable
    paper: str
    differs: str  # in what it is not as in the paper; "" if in nothing
    guarantee: str  # exact, certified or none


METHODS: dict[str, TrainingMethod] = {
    method.name: method
    for method in (
        TrainingMethod(
            "sisa",
            sisa.fit,
            sisa.forget,
            sisa.predict,
            sisa.for_serving,
            paper="arXiv:1912.03817",
            differs="the learning rate may fall to 0 within each slice, as by default",
            guarantee="exact",
        ),
        TrainingMethod(
            "amnesiac",
            amnesiac.fit,
            amnesiac.forget,
            amnesiac.predict,
            amnesiac.for_serving,
            paper="arXiv:2010.10981",
            differs="plain SGD for Adam; batch statistics are not subtracted",
            guarantee="none",
        ),
        TrainingMethod(
            "certified",
            certified.fit,
            certified.forget,
            certified.predict,
            certified.for_serving,
            paper="arXiv:1911.03030",
            differs="",
            guarantee="certified",
        ),
    )
}
