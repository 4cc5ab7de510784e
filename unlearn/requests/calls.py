"""What functions on a deployment are called with, beside their own arguments."""

from typing import NamedTuple

from unlearn.report.progress import Progress
from unlearn.report.request_page import Spell, python_call


class Call(NamedTuple):
    """Where the data lie, who is told, and how reports spell commands."""

    progress: Progress
    data_dir: str | None = None  # of prepared data sets; None: as deployed
    data: str = ""  # where the data lie now, such as `folder:PATH`, if they were moved
    spell: Spell = python_call

    def say(self, text: str) -> None:
        self.progress.say(text)


def make_call(
    progress: Progress | None,
    data_dir: str | None = None,
    data: str = "",
    spell: Spell = python_call,
) -> Call:
    """Returns a `Call`; by default it tells standard output."""
    return Call(progress or Progress(), data_dir, data, spell)
