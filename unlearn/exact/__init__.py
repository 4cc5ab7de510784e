"""The registry of exact methods: those that also change how the model is trained.

    fit(key, problem, *, indices=None, ...) -> state
    forget(key, state, indices) -> (state, info)
    predict(state, images) -> logits

`fit` trains on every example of the problem (or on `indices` of it): the request comes
later. `forget` takes indices into `problem.images`, any number of times; `info` is a
dict of NumPy scalars that tells the cost. `predict` takes uint8 images. A state is a
pytree of arrays; its `problem` holds the images, which `without_data` and `with_data`
leave out of a checkpoint. Nothing changes its arguments. These functions run on the
host and call compiled programs: they are not to be jitted.

The three, side by side: `sisa` gives the very model that was never shown the examples;
`amnesiac` takes back stored updates and leaves what later updates learnt from them;
`certified` bounds what is left of them and refuses when the bound is used up.
"""

from collections.abc import Callable
from typing import NamedTuple

from unlearn.exact import amnesiac, certified, sisa
from unlearn.exact.common import with_data, without_data

__all__ = ["EXACT", "ExactInfo", "with_data", "without_data"]


class ExactInfo(NamedTuple):
    fit: Callable
    forget: Callable
    predict: Callable
    paper: str
    faithful: bool | str  # True, or what was simplified


EXACT: dict[str, ExactInfo] = {
    "sisa": ExactInfo(
        sisa.fit,
        sisa.forget,
        sisa.predict,
        "arXiv:1912.03817",
        True,
    ),
    "amnesiac": ExactInfo(
        amnesiac.fit,
        amnesiac.forget,
        amnesiac.predict,
        "arXiv:2010.10981",
        "plain SGD for Adam; batch statistics are not subtracted",
    ),
    "certified": ExactInfo(
        certified.fit,
        certified.forget,
        certified.predict,
        "arXiv:1911.03030",
        True,
    ),
}
