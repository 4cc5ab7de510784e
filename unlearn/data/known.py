"""Data that are deployed, read again: files may be gone since, and others have come.

What was deployed is told by id and content. Files that came later change nothing: one
that does not fit is left out.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unlearn.data import arrays
from unlearn.data.cache import cached
from unlearn.data.dataset import Dataset, make_dataset
from unlearn.data.identical import content_hashes
from unlearn.data.images import EIGHT, Decoded, Told, read_file, remarks
from unlearn.data.listing import Files
from unlearn.data.order import plain, shown
from unlearn.data.threads import in_order
from unlearn.errors import InputError, counted

ENDS, PROBED = 8, 2**20  # lowest and highest values tried, and pixels to try them on


class Known(NamedTuple):
    """What a deployment has recorded of its examples, by id as `plain` writes it."""

    hashes: Mapping[str, str]  # of the content, as `content_hashes` has them
    classes: Mapping[str, str]  # the name of the class

    def digest(self) -> str:
        """Returns a hash of all that is recorded."""
        entries = ((id, hash, self.classes[id]) for id, hash in self.hashes.items())
        return hashlib.sha256(
            repr(sorted(entries)).encode(errors="replace")
        ).hexdigest()


def make_known(
    ids: np.ndarray, hashes: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> Known:
    """Makes the record of examples.

    Args:
      ids: whole numbers or text, [N].
      hashes: of their content, [N].
      labels: int[N], in [0, K).
      class_names: K of them.
    """
    keys = [plain(str(one)) for one in ids.tolist()]
    classes = [class_names[label] for label in labels.tolist()]
    return Known(
        dict(zip(keys, hashes.tolist(), strict=True)),
        dict(zip(keys, classes, strict=True)),
    )


# Files


class _Form(NamedTuple):
    """What all images of a data set share."""

    size: tuple[int, int]
    depth: str
    channels: int


def read_again(
    name: str,
    root: Path,
    class_names: Sequence[str],
    splits: Iterable[Files],
    notes: Sequence[str],
    known: Known,
    image_size: tuple[int, int] | None = None,
    cache_dir: str | None = None,
    resident: bool | None = True,
) -> Dataset:
    """Loads the files of a data set that is deployed, all of them as one split.

    The size, depth and channels are those of the files that are as deployed. Files that
    have others, or cannot be read, are left out, and a note says so. Files are decoded
    twice up to the first one with 8 bits that is as deployed.

    Args:
      root: the folder of the data set.
      splits: the files that are there, deployed or not.
      image_size, cache_dir, resident: see `data.load`.

    Raises:
      InputError: no file is left.
    """
    files = _joined(splits, class_names, known)

    def make(spool):
        return _decode(name, class_names, files, notes, image_size, known, spool)

    details = repr((class_names, files[1:], notes, known.digest()))
    more = image_size, cache_dir, details, resident
    return cached(make, name, root, files.paths, *more)


def _joined(splits: Iterable[Files], names: Sequence[str], known: Known) -> Files:
    """Joins splits; of files of one id the first of the deployed class stays."""
    rows: dict[str, tuple] = {}
    sure: set[str] = set()
    for files in splits:
        for id, row in zip(files.ids, zip(*files, strict=True), strict=True):
            key, label = plain(id), row[2]
            as_deployed = plain(known.classes.get(key, "")) == plain(names[label])
            if key not in rows or (as_deployed and key not in sure):
                rows[key] = row
            if as_deployed:
                sure.add(key)
    return Files(*([row[i] for row in rows.values()] for i in range(4)))


def _decode(name, class_names, files, notes, image_size, known, spool) -> Dataset:
    form = _form(name, files, image_size, known)
    refused, misfits = {}, {}
    kept: dict[str, Told] = {}
    spool.expect(len(files.paths))
    for id, image in _read_all(zip(files.ids, files.paths, strict=True), image_size):
        if isinstance(image, str):
            refused[id] = image
        elif why := _misfit(image, form):
            misfits[id] = why
        else:
            kept[id] = image.told
            spool.add(np.broadcast_to(image.pixels, (*form.size, form.channels)))
    if not kept:
        raise _nothing_left(name)
    refused |= misfits
    (images,) = spool.parts([len(kept)])
    more = []
    if form.depth != EIGHT:
        past = _out_of_range(dict(zip(kept, images, strict=True)), known)
        images = images[[id not in past for id in kept]]
        kept = {id: told for id, told in kept.items() if id not in past}
        refused |= past
        made, more = arrays.to_bytes(name, {"train": images}, stretch=True)
        images = made["train"]
    labels = dict(zip(files.ids, files.labels, strict=True))
    return make_dataset(
        name,
        (images, np.array([labels[id] for id in kept])),
        class_names=class_names,
        ids=np.array(list(kept)),
        notes=[*notes, *_left_out(refused), *remarks([*kept.values()]), *more],
        draw=False,
    )


def _read_all(
    files: Iterable[tuple[str, Path]], image_size: tuple[int, int] | None
) -> Iterator[tuple[str, Decoded | str]]:
    """Yields the id of each file and its image, or why it cannot be read."""

    def read(file):
        id, path = file
        try:
            return id, read_file(path, image_size)
        except InputError as error:
            return id, str(error)

    return in_order(read, files)


def _form(name, files: Files, image_size, known: Known) -> _Form:
    """Returns the form of a file that is as deployed, else of most, deployed if any.

    Of colour images of which the grey ones are left, these were stored as colour.

    Raises:
      InputError: no file can be read.
    """
    deployed, others = [], []
    for id, path in zip(files.ids, files.paths, strict=True):
        (deployed if plain(id) in known.hashes else others).append((id, path))
    for some in (deployed, others):
        forms = []
        for id, image in _read_all(some, image_size):
            if isinstance(image, str):
                continue
            form = _as_deployed(image, known.hashes.get(plain(id)))
            if form:
                return form
            size, channels = image.pixels.shape[:2], image.pixels.shape[-1]
            forms.append(_Form(size, image.told.depth, channels))
        if forms:
            return _most_common(forms)
    raise _nothing_left(name)


def _nothing_left(name) -> InputError:
    return InputError(
        f"{name}: no image is left that can be read: put back what was deployed"
    )


def _as_deployed(image: Decoded, hash: str | None) -> _Form | None:
    """Returns the form in which an image is what was recorded; None if in none."""
    if image.told.depth != EIGHT:
        return None  # how its values are scaled, others say
    own = image.pixels.shape[-1]
    for channels in (own, 3) if own == 1 else (own,):
        pixels = np.repeat(image.pixels, channels // own, -1)
        if content_hashes(pixels[None])[0] == hash:
            return _Form(pixels.shape[:2], image.told.depth, channels)
    return None


def _most_common(forms: Sequence[_Form]) -> _Form:
    (most, _), *_ = Counter(form[:2] for form in forms).most_common(1)
    return _Form(*most, max(form.channels for form in forms if form[:2] == most))


def _misfit(image: Decoded, form: _Form) -> str:
    """Says why an image does not fit; "" if it does."""
    (height, width), own = image.pixels.shape[:2], image.pixels.shape[-1]
    if (height, width) != form.size:
        return f"{height}x{width}, not {form.size[0]}x{form.size[1]}"
    if image.told.depth != form.depth:
        return f"{image.told.depth} a pixel, not {form.depth}"
    return "in colour, not grey" if own > form.channels else ""


class _Range(NamedTuple):
    """Between which values images lie, and one of them that is not whole, if any is."""

    low: float
    high: float
    broken: float  # else `low`


def _out_of_range(images: Mapping[str, np.ndarray], known: Known) -> dict[str, str]:
    """Finds images that would change how values of all are scaled to bytes.

    They are new, or were deployed and hold something else now. Which they are is told
    by the range with which most of the deployed images are what they were.
    """
    ranges = {id: _range(pixels) for id, pixels in images.items()}
    before = {id: range for id, range in ranges.items() if plain(id) in known.hashes}
    if not before:
        return {}
    best = _around(before.values())
    changed = _changed(images, list(before), best, known)
    most = max(4, PROBED // max(images[id].size for id in before))
    probes = changed[:: -(-len(changed) // most) or 1]
    off = len(probes)
    lows = sorted({one.low for one in before.values()})[:ENDS]
    highs = sorted({one.high for one in before.values()}, reverse=True)[:ENDS]
    pairs = itertools.product(range(len(lows)), range(len(highs))) if off else ()
    for i, j in sorted(pairs, key=sum)[1:]:
        within = {
            id: one
            for id, one in before.items()
            if lows[i] <= one.low and one.high <= highs[j]
        }
        inside = [id for id in probes if id in within]
        if len(probes) - len(inside) >= off:
            continue
        around = _around(within.values())
        still = len(_changed(images, inside, around, known))
        if still + len(probes) - len(inside) < off:
            off, best = still + len(probes) - len(inside), around
    whole = best.broken == best.low == np.rint(best.low)
    return {
        id: "values past those that were deployed"
        for id, one in ranges.items()
        if one.low < best.low
        or one.high > best.high
        or (whole and one.broken != np.rint(one.broken))
    }


def _range(pixels: np.ndarray) -> _Range:
    broken = pixels[pixels != np.rint(pixels)]
    low, high = pixels.min().item(), pixels.max().item()
    return _Range(low, high, broken[0].item() if broken.size else low)


def _around(ranges: Iterable[_Range]) -> _Range:
    ranges = list(ranges)
    low, high = min(x.low for x in ranges), max(x.high for x in ranges)
    broken = (x.broken for x in ranges if x.broken != np.rint(x.broken))
    return _Range(low, high, next(broken, low))


def _changed(
    images: Mapping[str, np.ndarray], ids: Iterable[str], within: _Range, known: Known
) -> list[str]:
    """Returns the ids of those that are not as deployed if scaled by a range."""
    if within.low == within.high:
        return []
    changed = []
    for id in ids:
        both = {"its": images[id][None], "all": np.array([within], images[id].dtype)}
        made = arrays.to_bytes("this image", both, stretch=True)[0]["its"]
        if content_hashes(made)[0] != known.hashes[plain(id)]:
            changed.append(id)
    return changed


def _left_out(refused: Mapping[str, str]) -> list[str]:
    if not refused:
        return []
    id, why = next(iter(refused.items()))
    return [
        f"not used: {counted(len(refused), 'image')} not as the deployed ones are, "
        f"such as {shown(id)} ({why})"
    ]


# Numbers for labels


def named_again(dataset: Dataset, names: Sequence[str], known: Known) -> Dataset:
    """Names classes that are named by their numbers as the deployment does.

    Whether numbers count from 0 or from 1 is told by the examples that are left: more
    of them have the class that was deployed. A number past the names, as erased
    examples may have, is a class of its own.

    Args:
      names: of the classes, in the order of their numbers.

    Raises:
      InputError: as many examples tell the one as the other.
    """
    labels = np.concatenate([dataset.train_labels, dataset.test_labels]).tolist()
    ids = [*dataset.train_ids.tolist(), *dataset.test_ids.tolist()]
    before = [known.classes.get(plain(str(one))) for one in ids]
    counted_from, same = [], []
    for first in (0, 1):
        found = tuple(_named(int(n) - first, names) for n in dataset.class_names)
        pairs = zip(before, labels, strict=True)
        counted_from.append(found)
        same.append(
            sum(c is not None and plain(c) == plain(found[n]) for c, n in pairs)
        )
    if same[0] == same[1] and same[0]:
        raise InputError(
            f"{dataset.name}: it is in doubt whether labels count from 0 or from 1: "
            "put back the labels that were deployed"
        )
    return dataset._replace(class_names=counted_from[int(same[1] > same[0])])


def _named(number: int, names: Sequence[str]) -> str:
    return names[number] if 0 <= number < len(names) else f"label {number}"
