"""Which batch statistics the steps of a forgetting method use.

Batches of forgotten examples are not like the data: normalised by a class alone, or by
one example, a net sees other activations than in use, and the running statistics that
it leaves with are those of what it should forget.
"""

from unlearn.errors import InputError

STATISTICS = ("frozen", "batch")


def by_batch(statistics: str) -> bool:
    """Says whether steps run the net in training mode: `train` of `Model.apply`.

    `frozen`: in evaluation mode, normalised by the running statistics, which keep their
    bits; dropout is off as well. `batch`: normalised by each batch, and the running
    statistics move, as in most released code.

    Raises:
      InputError: another name.
    """
    if statistics not in STATISTICS:
        raise InputError(
            f"unknown statistics {statistics!r}: choose from {', '.join(STATISTICS)}"
        )
    return statistics == "batch"
