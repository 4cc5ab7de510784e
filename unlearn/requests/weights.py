"""Weights of a version: what is given away."""

import os
import shutil
from pathlib import Path

from unlearn import store
from unlearn.models.weights import save_weights
from unlearn.problem import Variables
from unlearn.store.files import partial_path


def save(path: Path, variables: Variables) -> None:
    """Writes weights in the format of the suffix, whole or not at all.

    Raises:
      InputError: an unknown suffix, or the file cannot be written.
    """
    partial = partial_path(path)
    try:
        partial.mkdir(parents=True)
        save_weights(partial / path.name, variables)
        os.replace(partial / path.name, path)
    except OSError as error:
        raise store.cannot_write(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
