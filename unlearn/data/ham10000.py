"""HAM10000, dermatoscopic images of skin lesions: a builder for tensorflow-datasets.

    7 classes, 10,015 images of 7,470 lesions; the JPEG files are kept as they are

The download is made by hand (`INSTRUCTIONS`). There is no official split: `held_out`
makes one that keeps all images of a lesion together. Tschandl, Rosendahl and Kittler,
"The HAM10000 dataset", Scientific Data 2018, https://doi.org/10.1038/sdata.2018.161.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from unlearn.data.images import decode
from unlearn.errors import InputError, counted, typed_line

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
METADATA = "HAM10000_metadata.csv"
COLUMNS = ("image_id", "lesion_id", "dx")
HOMEPAGE = "https://doi.org/10.7910/DVN/DBW86T"
INSTRUCTIONS = f"""\
Download the two archives of images and the metadata from Harvard Dataverse
({HOMEPAGE}), unpack the archives into folders of their names, and put
{FOLDERS[0]}/, {FOLDERS[1]}/ and {METADATA}
into <data_dir>/downloads/manual/."""


class Example(NamedTuple):
    image_id: str
    lesion_id: str
    label: str
    path: Path


class Ham10000(tfds.core.GeneratorBasedBuilder):
    """Images of 7 kinds of pigmented lesions, split by lesion."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Lesion-grouped, stratified 80/20 split."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=Ham10000.__doc__,
            homepage=HOMEPAGE,
            license="CC BY-NC-SA 4.0",
            supervised_keys=("image", "label"),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3), encoding_format="jpeg"
                    ),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                    "image_id": tfds.features.Text(),
                    "lesion_id": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        examples = read_metadata(Path(dl_manager.manual_dir))
        test = held_out([e.lesion_id for e in examples], [e.label for e in examples])
        splits = {"train": [], "test": []}
        for example, is_test in zip(examples, test, strict=True):
            splits["test" if is_test else "train"].append(example)
        return {name: self._generate_examples(part) for name, part in splits.items()}

    def _generate_examples(self, examples):
        for example in examples:
            yield (
                example.image_id,
                {
                    "image": read_image(example.path),
                    "label": example.label,
                    "image_id": example.image_id,
                    "lesion_id": example.lesion_id,
                },
            )


def held_out(
    lesion_ids: Sequence[str], labels: Sequence[str], share: float = 0.2
) -> np.ndarray:
    """Marks, bool[N], the images of a fixed random `share` of each class' lesions."""
    rng, chosen = np.random.default_rng(0), []
    lesions, first = np.unique(lesion_ids, return_index=True)
    label_of = np.asarray(labels)[first]
    for label in np.unique(label_of):
        members = rng.permutation(lesions[label_of == label])
        chosen.append(members[: round(share * len(members))])
    return np.isin(lesion_ids, np.concatenate(chosen))


def check_download(manual: Path) -> None:
    """Checks that the files are in `manual`.

    Raises:
      InputError: they are not; it says what to do.
    """
    missing = [name for name in (*FOLDERS, METADATA) if not (manual / name).exists()]
    if missing:
        raise InputError(
            f"ham10000 needs a download by hand: get it from {HOMEPAGE}, unpack the "
            f"two archives of images, and put {FOLDERS[0]}/, {FOLDERS[1]}/ and "
            f"{METADATA} into {manual} (not there: {', '.join(missing)})"
        )


def read_metadata(manual: Path) -> list[Example]:
    """Reads the rows of the metadata, by image_id, each with the file of its image.

    Raises:
      InputError: files are missing, twice there or without a line, or the table is not
        what it should be.
    """
    check_download(manual)
    files = _images(manual)
    table, examples = manual / METADATA, {}
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"cannot read {table} ({typed_line(error)})") from error
    for line, row in rows:
        values = [row.get(column) or "" for column in COLUMNS]
        if not all(values):
            raise InputError(
                f"{table}: line {line} lacks one of {', '.join(COLUMNS)}; it must be "
                "comma-separated, with a line of names"
            )
        image_id, lesion_id, label = values
        if label not in CLASSES:
            raise InputError(
                f"{table}: line {line} has dx {label!r}; known are {', '.join(CLASSES)}"
            )
        if image_id in examples:
            raise InputError(f"{table}: {image_id} occurs twice")
        if image_id not in files:
            raise InputError(
                f"{table}: there is no {image_id}.jpg in {FOLDERS[0]} or {FOLDERS[1]}; "
                "unpack both archives there"
            )
        examples[image_id] = Example(image_id, lesion_id, label, files[image_id])
    if not examples:
        raise InputError(f"{table} has no rows")
    if left := sorted(set(files) - set(examples)):
        raise InputError(
            f"{table}: {counted(len(left), 'image')} without a line, such as "
            f"{left[0]}.jpg in {files[left[0]].parent.name}: complete the table by "
            "another download, or move such images away"
        )
    return [examples[image_id] for image_id in sorted(examples)]


def _images(manual: Path) -> dict[str, Path]:
    """Finds the file of each image, by its id."""
    files: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted((manual / folder).glob("*.jpg")):
            if path.name.startswith("."):  # of an operating system
                continue
            if path.stem in files:
                raise InputError(
                    f"ham10000: {path.name} is in {FOLDERS[0]} and in {FOLDERS[1]} of "
                    f"{manual}: move away the one that does not belong there"
                )
            files[path.stem] = path
    return files


def read_image(path: Path) -> bytes:
    """Reads the bytes of a JPEG file, and checks that they can be decoded.

    Raises:
      InputError: they cannot.
    """
    try:
        content = path.read_bytes()
        decode(content, 3)
    except Exception as error:  # Pillow raises a dozen types
        raise InputError(
            f"ham10000: cannot read the image {path} ({typed_line(error)}); "
            "unpack or download it again"
        ) from error
    return content
