"""Nets by name, models of other libraries, and weights from files.

`create("resnet18", num_classes=10)` gives one of the nets here, and
`create("PATH.py:function", num_classes=10)` what a file of yours makes.
`from_linen`, `from_nnx`, `from_equinox` and `from_haiku` make a `Model` of a net of
these libraries; they are imported when they are first used. `mirrored` makes one that
answers for an image and its mirror image. `load_weights` and `save_weights` read and
write variables.

Anything else is a `Model` of two pure functions, `init` and `apply`, and a third,
`activations`, for the methods that look inside a net: it does what `apply` does and
returns before the logits a dict, in the order of the forward pass, from the path of
each layer in the parameters to what it was applied to:

    def activations(variables, inputs, *, train=False, key=None):
        params = variables["params"]
        hidden = jnp.tanh(inputs @ params["first"]["kernel"] + params["first"]["bias"])
        logits = hidden @ params["head"]["kernel"] + params["head"]["bias"]
        return {("first",): inputs, ("head",): hidden}, logits, variables

A layer is a dict with a `kernel` [..., D, K] (and a `bias` [K]), or with the scale and
bias of a normalisation.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearn.models.equinox import (
        equinox_variables,
        from_equinox,
        to_equinox,
    )
    from unlearn.models.haiku import from_haiku, haiku_variables, to_haiku
    from unlearn.models.linen import from_linen
    from unlearn.models.mirror import mirrored
    from unlearn.models.nets import (
        CHOICES,
        NETS,
        check_name,
        create,
        he_init,
        options,
        parameter_count,
    )
    from unlearn.models.nnx import from_nnx, nnx_variables, to_nnx
    from unlearn.models.own_file import is_path, source_hash
    from unlearn.models.weights import (
        differing,
        load_weights,
        save_weights,
        weights_hash,
    )

__all__ = [
    "CHOICES",
    "NETS",
    "check_name",
    "create",
    "differing",
    "equinox_variables",
    "from_equinox",
    "from_haiku",
    "from_linen",
    "from_nnx",
    "haiku_variables",
    "he_init",
    "is_path",
    "load_weights",
    "mirrored",
    "nnx_variables",
    "options",
    "parameter_count",
    "save_weights",
    "source_hash",
    "to_equinox",
    "to_haiku",
    "to_nnx",
    "weights_hash",
]

HOMES = {
    "equinox": ("equinox_variables", "from_equinox", "to_equinox"),
    "haiku": ("from_haiku", "haiku_variables", "to_haiku"),
    "linen": ("from_linen",),
    "mirror": ("mirrored",),
    "nnx": ("from_nnx", "nnx_variables", "to_nnx"),
    "own_file": ("is_path", "source_hash"),
    "weights": ("differing", "load_weights", "save_weights", "weights_hash"),
}


def __getattr__(name: str) -> object:
    """Imports the names above, and with them their libraries, at their first use."""
    if name not in __all__:
        raise AttributeError(f"module 'unlearn.models' has no attribute {name!r}")
    homes = [home for home, names in HOMES.items() if name in names]
    home = importlib.import_module(f"unlearn.models.{homes[0] if homes else 'nets'}")
    globals()[name] = value = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
