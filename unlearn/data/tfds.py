"""Image classification sets of tensorflow-datasets, without TensorFlow.

A folder that was prepared as array_record is read as it is. Otherwise the official
builder prepares one; the few TensorFlow functions that it calls for that, to open files
and to encode images, have stand-ins in `tf_stand_in`.
"""

import contextlib
import difflib
import importlib
import importlib.util
import json
import os
import re
import sys
import threading
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from unlearn.data import tf_stand_in
from unlearn.data.cache import cached
from unlearn.data.dataset import Dataset, make_dataset
from unlearn.data.images import MODES, decode
from unlearn.data.labels import BLANK
from unlearn.data.spool import Spool
from unlearn.data.tfds_ids import IDS, choose_ids
from unlearn.data.threads import in_order
from unlearn.errors import InputError, counted, typed_line

NAME = re.compile(
    r"(?P<base>\w+)(/(?P<config>[\w.+-]+))?(:(?P<version>\d+\.\d+\.\d+))?"
)
OWN_NAMES = ("digits", "synthetic", "npz:PATH", "folder:PATH", "table:PATH")
OWN_BUILDERS = {"ham10000": "unlearn.data.ham10000"}
GROUPS = {"ham10000": "lesion_id"}  # the feature that says what belongs together
SUPER_CLASSES = {"cifar20": ("cifar100", "coarse_label", "label")}
"""Sets by another label: that set, the feature that is the label, the second label."""

CHUNK = 256  # examples read at once
PATIENCE = 6  # seconds a download server may take to answer


def load(
    name: str,
    data_dir: str | None = None,
    image_size: tuple[int, int] | None = None,
    cache_dir: str | None = None,
    resident: bool | None = True,
) -> Dataset:
    """Loads `NAME`, `NAME/CONFIG` or `NAME:VERSION`; prepares it if it is not there.

    The test split is `test`, else `validation`, whichever has labels first, else a
    fixed fifth of `train`. Ids: see `tfds_ids.choose_ids`.

    Raises:
      InputError: no such name; neither data nor network; the data is damaged, or no
        images with a class each.
    """
    root = root_folder(data_dir)
    if not NAME.fullmatch(name):
        raise _unknown(name, root)
    folder = find(name, root) or prepare(stored_as(name), root)
    return cached(
        lambda spool: read(name, folder, image_size, spool),
        name,
        folder,
        [file for file in folder.iterdir() if file.is_file()],
        image_size,
        cache_dir,
        details=name if stored_as(name) != name else "",
        resident=resident,
    )


def root_folder(data_dir: str | None) -> Path:
    """Returns where prepared sets lie; see `data.load`."""
    return Path(
        data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()


def find(name: str, root: Path) -> Path | None:
    """Finds the prepared folder, of the newest version if the name leaves it open."""
    name = stored_as(name)
    base, config, version = NAME.fullmatch(name).group("base", "config", "version")
    folder = root / base
    config = config or _default_config(name, folder / ".config" / "metadata.json")
    if config:
        folder /= config
    versions = {
        tuple(map(int, path.name.split("."))): path
        for path in folder.glob("*.*.*")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and path.is_dir()
    }
    if version:
        return versions.get(tuple(map(int, version.split("."))))
    return versions[max(versions)] if versions else None


def _default_config(name, file: Path) -> str | None:
    try:
        metadata = json.loads(file.read_text())
    except OSError:
        return None
    except ValueError:
        metadata = None
    config = metadata.get("default_config_name") if isinstance(metadata, dict) else 0
    if not isinstance(config, str | None):
        raise InputError(
            f"{name}: {file} is damaged, so it does not say which configuration is "
            f"meant: write {name.partition(':')[0]}/CONFIG, or delete that file"
        )
    return config


def stored_as(name: str) -> str:
    """Returns the name that tensorflow-datasets knows a set by."""
    base = NAME.fullmatch(name).group("base")
    return SUPER_CLASSES[base][0] + name[len(base) :] if base in SUPER_CLASSES else name


# Reading


def read(
    name: str, folder: Path, image_size: tuple[int, int] | None, spool: Spool
) -> Dataset:
    """Decodes a prepared folder; see `load`."""
    tfds = _import()
    with _damage_as_input_error(name, folder):
        builder = tfds.builder_from_directory(folder)
    file_format = builder.info.file_format.value
    if file_format != "array_record":
        raise InputError(
            f"{name}: {folder} is in {file_format} format, which needs TensorFlow; use "
            "another data_dir to have it prepared as array_record"
        )
    image_key, label_key = _keys(name, tfds, builder.info)
    base = NAME.fullmatch(name).group("base")
    _, label_key, second_key = SUPER_CLASSES.get(base, (None, label_key, None))
    features = builder.info.features
    class_names = features[label_key].names
    group_key = GROUPS.get(builder.name)
    others = [key for key in (*IDS, group_key, second_key) if key in features]
    with _damage_as_input_error(name, folder):
        used, notes = _splits(name, builder, label_key, image_key)
        sources = {split: _source(builder, split, image_key) for split in used}
        counts = [len(source) for source in sources.values()]
        spool.expect(sum(counts))
        form = features[image_key].shape[-1], image_size
        keys = image_key, label_key, others
        parts = [
            _read_split(name, source, split, form, keys, spool)
            for split, source in sources.items()
        ]
    columns = [found for _, found in parts]
    ids, more = choose_ids(name, columns)
    return make_dataset(
        name,
        *zip(spool.parts(counts), [labels for labels, _ in parts], strict=True),
        class_names=class_names,
        groups=columns[0].get(group_key),
        ids=ids[0] if ids else None,
        test_ids=ids[1] if len(ids) > 1 else None,
        notes=[*notes, *more],
        subclasses=[found[second_key] for found in columns] if second_key else (),
        subclass_names=features[second_key].names if second_key else None,
    )


@contextlib.contextmanager
def _damage_as_input_error(name, folder):
    try:
        yield
    except (InputError, MemoryError):  # that says nothing of the files
        raise
    except Exception as error:  # every layer below has its own types
        raise InputError(
            f"{name}: cannot read {folder} ({typed_line(error)}); if it is damaged, "
            "delete this folder to have it prepared again"
        ) from error


def _keys(name, tfds, info):
    keys = info.supervised_keys or ()
    keys = keys if len(keys) == 2 else ("image", "label")
    features = dict(info.features.items())
    expected = (tfds.features.Image, tfds.features.ClassLabel)
    for key, kind in zip(keys, expected, strict=True):
        if not isinstance(key, str) or not isinstance(features.get(key), kind):
            raise InputError(
                f"{name}: not a set of images with a class each; it has "
                f"{', '.join(features)}"
            )
    image = features[keys[0]]
    if image.np_dtype != np.uint8 or image.shape[-1] not in MODES:
        raise InputError(
            f"{name}: its images are {image.np_dtype} with {image.shape[-1]} channels; "
            "only uint8 with 1, 3 or 4 can be used"
        )
    return keys


def _splits(name, builder, label_key, image_key):
    """Returns the names of the splits that are used, and notes on the others."""
    splits = builder.info.splits
    if "train" not in splits:
        raise InputError(f"{name}: has no train split; it has {', '.join(splits)}")
    used, notes, blank = ["train"], [], []
    for split in ("test", "validation"):
        if len(used) == 1 and split in splits:
            labelled = _has_labels(_source(builder, split, image_key), label_key)
            (used if labelled else blank).append(split)
    for split, info in splits.items():
        images = counted(info.num_examples, "image")
        if split in blank:
            notes.append(f"not used: {split}, {images} without labels")
        elif split not in used:
            notes.append(f"not used: {split}, {images}")
        elif split == "validation":
            notes.append(f"test split: validation, {images}")
    return used, notes


def _source(builder, split, image_key):
    """Opens a split, whose images stay encoded."""
    import tensorflow_datasets as tfds

    decoders = {image_key: tfds.decode.SkipDecoding()}
    return builder.as_data_source(split=split, decoders=decoders)


def _has_labels(source, label_key) -> bool:
    """Says whether any label, or an empty split, is other than -1."""
    rows = (source.__getitems__([row])[0] for row in range(len(source)))
    return not len(source) or any(row[label_key] != BLANK for row in rows)


def _read_split(name, source, split, form, keys, spool):
    """Adds images to a spool; returns int64[N] and lists of other features.

    Args:
      form: the channels that images have, and their size if they are to be resized.
      keys: the features of images and of labels, and the others.
    """
    image_key, label_key, others = keys
    if not len(source):
        raise InputError(f"{name}: the {split} split is empty")
    labels = np.empty(len(source), np.int64)
    columns = {key: [] for key in others}

    def read(numbered):
        row, example = numbered
        try:
            return decode(example.pop(image_key), *form), example
        except InputError as error:
            raise InputError(
                f"{name}: cannot read image {row} of the {split} split ({error}): "
                "save the others as files and give folder:PATH"
            ) from error

    for row, (image, example) in enumerate(in_order(read, _examples(source))):
        if image.shape != (spool.shape or image.shape):
            raise InputError(f"{name}: its images differ in size; give an image_size")
        spool.add(image)
        labels[row] = example[label_key]
        for key, values in columns.items():
            values.append(example[key])
    return labels, columns


def _examples(source):
    """Yields the examples of a split with their numbers."""
    for start in range(0, len(source), CHUNK):
        rows = range(start, min(start + CHUNK, len(source)))
        yield from zip(rows, source.__getitems__(list(rows)), strict=True)


# Preparing


def prepare(name: str, root: Path) -> Path:
    """Downloads a set and prepares it in `root`; returns the prepared folder."""
    tfds = _import()
    base = NAME.fullmatch(name).group("base")
    if base in OWN_BUILDERS:  # importing it registers it
        module = importlib.import_module(OWN_BUILDERS[base])
        module.check_download(root / "downloads" / "manual")
    try:
        configs = tfds.builder_cls(base).builder_configs
    except Exception as error:
        raise _unknown(name, root) from error
    try:
        builder = tfds.builder(name, data_dir=root)
    except Exception as error:  # an unknown configuration or version
        known = f"; configurations: {', '.join(configs)}" if configs else ""
        raise InputError(
            f"cannot use data set {name}: {typed_line(error)}{known}"
        ) from error
    _keys(name, tfds, builder.info)
    url = next(iter(_missing_downloads(builder, root)), None)
    if url and not _answers(url):
        raise InputError(
            f"{name} is not in {root} and {urlparse(url).hostname} does not answer: "
            "point TFDS_DATA_DIR (or data_dir) at a folder that has it, run once with "
            f"a network, or use {', '.join(OWN_NAMES)}"
        )
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        with tf_stand_in.standing_in(), contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(
                download_config=config, file_format="array_record"
            )
    except InputError:
        raise
    except Exception as error:  # every builder has its own
        raise InputError(
            f"{name} could not be prepared in {root} ({typed_line(error)}); prepare it "
            "elsewhere as array_record and point TFDS_DATA_DIR there"
        ) from error
    return Path(builder.data_dir)


def _import():
    try:
        import tensorflow_datasets

        return tensorflow_datasets
    except ImportError as error:
        raise InputError(
            f"this data set needs the package {error.name}: pip install {error.name}"
        ) from error


ARCHIVES = {
    "tinyimagenet": "folder:DIR/tiny-imagenet-200",
    "mufac": "table:DIR, with its CSV files and images in DIR",
    "mucac": "table:DIR, with its CSV files and images in DIR",
}
"""Sets that are no builder's, by small letters, and how they are named."""


def _unknown(name, root):
    """Makes the error for a name that is no data set; imports nothing for it."""
    names = {name.partition(":")[0] for name in OWN_NAMES}
    names |= {*OWN_BUILDERS, *SUPER_CLASSES}
    spec = importlib.util.find_spec("tensorflow_datasets")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        names |= {path.stem for path in (package / "url_checksums").glob("*.txt")}
        names |= {path.name for path in (package / "datasets").glob("[a-z]*")}
    if root.is_dir():
        names |= {path.name for path in root.iterdir() if path.is_dir()}
    base = re.split("[/:]", name)[0]
    archive = ARCHIVES.get(re.sub("[^a-z]", "", base.lower()))
    if archive:
        advice = f"give its unpacked archive, as {archive}"
    elif Path(name).expanduser().exists():
        advice = f"for a path write folder:{name} or npz:{name}"
    else:
        near = difflib.get_close_matches(base, names, n=3)
        advice = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "use "
            + ", ".join(OWN_NAMES + ("a name of tensorflow-datasets, such as mnist",))
        )
    return InputError(f"unknown data set {name!r}: {advice}")


def _missing_downloads(builder, root):
    """Yields the http addresses that the builder knows and that `root` lacks."""
    from tensorflow_datasets.core.download import resource

    for url, info in (builder.url_infos or {}).items():  # None if by hand
        file = resource.get_dl_fname(url, info.checksum)
        places = (root / "downloads" / builder.name / file, root / "downloads" / file)
        if url.startswith("http") and not any(place.exists() for place in places):
            yield url


def _answers(url: str) -> bool:
    """Asks a server whether it answers; in a thread: a look-up has no time-out."""
    import requests

    answers = []

    def ask():
        with (
            contextlib.suppress(requests.RequestException),
            requests.get(url, stream=True, timeout=PATIENCE) as response,
        ):
            answers.append(response.status_code < 500)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return any(answers)
