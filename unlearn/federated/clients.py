"""Clients: who holds which training examples of a problem.

All clients are one array, so that a round maps over them: a client with fewer examples
than the largest has its own again to fill its row, and they count for nothing.
"""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike

from unlearn.errors import InputError

TRIES = 100  # draws of a split until every client has enough


class Clients(NamedTuple):
    """C clients, the largest of N examples."""

    indices: jax.Array  # int32[C, N], into the problem's examples
    sizes: jax.Array  # int32[C]: the first so many are the client's; 0: it is absent

    @property
    def number(self) -> int:
        return len(self.sizes)

    def of(self, client: int) -> np.ndarray:
        """Returns a client's examples: int32[n]."""
        return np.asarray(self.indices)[client, : int(self.sizes[client])]


def make_clients(parts: Sequence[ArrayLike]) -> Clients:
    """Makes clients of the indices of each.

    Raises:
      InputError: fewer than two clients, one without examples, an example that two
        hold, or something that is no index.
    """
    held = [_indices(part) for part in parts]
    if len(held) < 2:
        raise InputError(
            f"a federation needs two clients or more; there are {len(held)}"
        )
    for number, part in enumerate(held):
        if not len(part):
            raise InputError(f"client {number} has no examples: leave it out")
    every, counts = np.unique(np.concatenate(held), return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"example {every[counts > 1][0]} is held twice: give it to one"
        )
    sizes = np.array([len(part) for part in held], np.int32)
    rows = np.stack([np.resize(part, sizes.max()) for part in held])
    return Clients(jnp.asarray(rows), jnp.asarray(sizes))


def check_held(clients: Clients, size: int) -> None:
    """Refuses clients that hold examples which are not there.

    Where indices are traced nothing can be said.

    Raises:
      InputError: the first of them.
    """
    if isinstance(clients.indices, Tracer):
        return
    held = np.asarray(clients.indices)
    if held.size and held.max() >= size:
        client, place = np.argwhere(held >= size)[0]
        raise InputError(
            f"client {client} holds example {held[client, place]}, and there are "
            f"{size}: 0 to {size - 1}"
        )


def by_label(
    labels: ArrayLike, clients: int, alpha: float, *, seed: int = 0, least: int = 2
) -> Clients:
    """Deals examples out unevenly: the shares of each class are Dirichlet(alpha).

    Hsu et al., "Measuring the Effects of Non-Identical Data Distribution", 2019,
    https://arxiv.org/abs/1909.06335. With alpha 100 all clients are alike, with 0.1
    each has few classes. Drawn again until every client has `least` examples.

    Args:
      labels: int[N], of the training examples.

    Raises:
      InputError: alpha that is not above 0, fewer than two clients, or some that
        cannot all have `least`.
    """
    labels = np.asarray(labels)
    if clients < 2:
        raise InputError(
            f"a federation needs two clients or more; clients is {clients}"
        )
    if not alpha > 0:
        raise InputError(f"alpha must be above 0; it is {alpha}")
    draw = np.random.default_rng(seed)
    for _ in range(TRIES if clients * least <= len(labels) else 0):
        owner = np.empty(len(labels), int)
        for label in np.unique(labels):
            chosen = draw.permutation(np.flatnonzero(labels == label))
            shares = draw.dirichlet(np.full(clients, alpha))
            ends = np.rint(np.cumsum(shares)[:-1] * len(chosen)).astype(int)
            for client, part in enumerate(np.split(chosen, ends)):
                owner[part] = client
        if np.bincount(owner, minlength=clients).min() >= least:
            return make_clients([np.flatnonzero(owner == c) for c in range(clients)])
    raise InputError(
        f"{len(labels)} examples cannot be dealt out to {clients} clients of at least "
        f"{least} with alpha {alpha:g}: take fewer clients, or a larger alpha"
    )


def by_group(groups: ArrayLike) -> tuple[Clients, np.ndarray]:
    """Makes each group a client; returns the clients and the groups in their order.

    Args:
      groups: numbers or strings [N], such as the patient of each example.

    Raises:
      InputError: an example without a group, or groups that cannot be told apart.
    """
    given = groups if isinstance(groups, list | tuple) else np.asarray(groups)
    if np.ndim(given) != 1:
        raise InputError(
            "groups must be one for each example, [N]; these are "
            f"{list(np.shape(given))}"
        )
    for row, group in enumerate(given):
        if _is_missing(group):
            raise InputError(
                f"row {row} has no group; it is {group!r}: name one, or leave the "
                "example out"
            )
    kinds = {isinstance(group, str) for group in given}
    if len(kinds) > 1:
        raise InputError("groups are of several types: make all of them strings")
    groups = np.asarray(groups)
    try:
        names = np.unique(groups)
    except TypeError:
        raise InputError("groups cannot be sorted: make all of them strings") from None
    return make_clients([np.flatnonzero(groups == name) for name in names]), names


class Request(NamedTuple):
    """What is to be forgotten and what stays, by who holds it; shapes as of `Clients`.

    A client that leaves has nothing left, one of whom nothing is asked nothing to
    forget. With as many clients and places for each request, many are one program.
    """

    forgotten: Clients
    left: Clients


def leave(clients: Clients, client: int) -> Request:
    """Returns the request of a client that leaves, with all it has.

    Raises:
      InputError: there is no such client.
    """
    try:
        client = operator.index(client)
    except TypeError:
        raise InputError(
            f"a client is one whole number, from 0 to {clients.number - 1}; this is "
            f"{client!r}: let one leave after another"
        ) from None
    if not 0 <= client < clients.number:
        raise InputError(
            f"there is no client {client}: they are 0 to {clients.number - 1}"
        )
    return forget(clients, clients.of(client))


def forget(clients: Clients, examples: ArrayLike) -> Request:
    """Returns the request to forget examples, whoever holds them.

    Args:
      examples: int[F], or bool[N] of all examples; of a class, or some of one client.

    Raises:
      InputError: no examples, one that no client holds, or nothing would be left.
    """
    wanted = np.unique(_indices(examples))
    held = [clients.of(client) for client in range(clients.number)]
    missing = np.setdiff1d(wanted, np.concatenate(held))
    if len(missing):
        raise InputError(f"no client holds example {missing[0]}")
    gone = [part[np.isin(part, wanted)] for part in held]
    stays = [part[~np.isin(part, wanted)] for part in held]
    if not len(wanted) or not any(map(len, stays)):
        raise InputError("a request must name examples, and leave some to train on")
    return Request(*(_padded(parts, clients) for parts in (gone, stays)))


def _is_missing(group: Any) -> bool:
    """Tells whether a group is None, NaN, NaT or blank."""
    if isinstance(group, str | bytes):
        return not group.strip()
    try:
        return group is None or bool(group != group)
    except TypeError:  # as of pandas.NA
        return True


def _indices(given: ArrayLike) -> np.ndarray:
    """Returns int32[n] of indices, or of a mask over all examples."""
    found = np.asarray(given)
    if found.dtype == bool:
        found = np.flatnonzero(found)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise InputError(
            f"examples are whole numbers int[n], or a mask bool[N]; these are "
            f"{found.dtype}{list(found.shape)}"
        )
    if found.size and found.min() < 0:
        raise InputError(f"examples are numbered from 0; {found.min()} is none")
    return found.astype(np.int32)


def _padded(parts: Sequence[np.ndarray], like: Clients) -> Clients:
    width = like.indices.shape[1]
    rows = np.array(like.indices)
    for row, part in zip(rows, parts, strict=True):
        if len(part):
            row[:] = np.resize(part, width)
    sizes = np.array([len(part) for part in parts], np.int32)
    return Clients(jnp.asarray(rows), jnp.asarray(sizes))
