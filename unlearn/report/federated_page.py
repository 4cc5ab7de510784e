"""The page of federations that a client left: `federated.html`, one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn.report.page import as_image, environment
from unlearn.store import write_text


def write(
    folder: Path,
    *,
    about: Sequence[str],
    settings: Sequence[Mapping],
    columns: Sequence[Mapping],
    figures: Sequence[str],
) -> None:
    """Writes the page into a folder that has the figures.

    Args:
      about: lines on what was done.
      settings: each with `title`, `about`, `rows` of texts and names of `figures`.
      columns: of the tables after the first: `title` and `what` it is.
      figures: of all settings together.

    Raises:
      InputError: a figure is missing.
    """
    names = [*figures, *(name for one in settings for name in one["figures"])]
    images = {name: as_image(folder / name) for name in names}
    template = environment().get_template("federated.html")
    text = template.render(
        about=about, settings=settings, columns=columns, figures=figures, images=images
    )
    write_text(folder / "federated.html", text)
