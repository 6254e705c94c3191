"""Images for searches: whole data sets as uint8 tensors in memory, and batched augmentation on them."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.errors import one_of
from benchmarks.images.batches import Augmentation, Batch, epoch_batches, probe
from benchmarks.images.cifar10 import load_cifar10
from benchmarks.images.digits import load_digits
from benchmarks.images.image_set import ImageSet, SearchImages, check_split, search_split

NAMES = ("digits", "cifar10")
DATA_DIR_VARIABLE = "BALENAS_DATA_DIR"


def data_directory(data_dir: str | Path | None = None) -> Path:
    """Where data sets are: ``data_dir``, else the environment variable BALENAS_DATA_DIR, else ``data`` right here."""
    return Path(data_dir or os.environ.get(DATA_DIR_VARIABLE) or "data").expanduser()


def load(name: str, data_dir: str | Path | None = None) -> ImageSet:
    """The image set of that name.

    Args:
        name: ``digits`` (ships with scikit-learn) or ``cifar10`` (read from a folder in the official layout).
        data_dir: the folder ``cifar-10-batches-py`` or its parent; None for ``data_directory()``. Unused by digits.

    Raises:
        UserError: an unknown name, or files that are missing, damaged or something else.
    """
    if name == "digits":
        return load_digits()
    if name == "cifar10":
        return load_cifar10(data_directory(data_dir))
    raise one_of("image set", name, NAMES)


__all__ = [
    "DATA_DIR_VARIABLE",
    "NAMES",
    "Augmentation",
    "Batch",
    "ImageSet",
    "SearchImages",
    "check_split",
    "data_directory",
    "epoch_batches",
    "load",
    "probe",
    "search_split",
]
