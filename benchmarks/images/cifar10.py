"""CIFAR-10 from a folder in the official layout.

A. Krizhevsky, Learning multiple layers of features from tiny images, 2009; https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.images import unpickling
from benchmarks.images.image_set import ImageSet, digest

FOLDER = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
BATCHES = (*TRAIN_BATCHES, TEST_BATCH)
META = "batches.meta"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

VERIFIED = "official checksums verified"
UNVERIFIED = "unverified copy"


@dataclass(frozen=True)
class Release:
    """What a distribution of the data set consists of.

    Attributes:
        url: of the archive, a gzipped tar with the folder ``FOLDER``.
        archive_md5: of the archive.
        md5: of each file in the folder.
        batch_images: images in each of the six batches.
    """

    url: str
    archive_md5: str
    md5: Mapping[str, str]
    batch_images: int = 10_000


OFFICIAL = Release(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",  # the page of the data set prints this one
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)


def md5(data: bytes) -> str:
    """MD5 in hex: it identifies the official files, it does not protect from forgery."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def find_folder(data_dir: Path) -> Path:
    """The folder with the batches: ``data_dir`` itself or its subfolder ``cifar-10-batches-py``.

    Raises:
        UserError: neither holds a batch.
    """
    for folder in (data_dir, data_dir / FOLDER):
        if any((folder / name).is_file() for name in BATCHES):
            return folder
    raise UserError(
        f"no CIFAR-10 in {data_dir}: name with --data-dir or BALENAS_DATA_DIR the folder that holds {FOLDER}, "
        "or run `python -m benchmarks.images download`"
    )


def load_cifar10(data_dir: Path, release: Release = OFFICIAL) -> ImageSet:
    """50,000 training and 10,000 test images of 32 x 32 pixels, in the order of the batches.

    Its provenance is ``VERIFIED`` if every batch is the official file, else ``UNVERIFIED``.

    Args:
        data_dir: the folder ``cifar-10-batches-py`` or its parent.
        release: what the files are compared with.

    Raises:
        UserError: no such folder; a batch that is missing, truncated, hostile or of the wrong shape; wrong class counts
            or class names; or some batches official and others not, which means that a file was damaged.
    """
    folder = find_folder(data_dir)
    missing = [name for name in BATCHES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"CIFAR-10 in {folder} lacks {', '.join(missing)}: complete it or download it again")
    _check_class_names(folder / META)

    rows = release.batch_images
    images = np.empty((len(BATCHES) * rows, 3, 32, 32), dtype=np.uint8)
    labels = np.empty(len(images), dtype=np.int64)
    altered = []
    for i, name in enumerate(BATCHES):
        raw = _read(folder / name)
        part = slice(i * rows, (i + 1) * rows)
        images[part], labels[part] = _decode(raw, folder / name, rows)
        if md5(raw) != release.md5[name]:
            altered.append(name)
    if 0 < len(altered) < len(BATCHES):
        raise UserError(
            f"CIFAR-10 in {folder} is the official release except for {', '.join(altered)}: "
            "the rest does not match its checksum; download it again"
        )
    train = len(TRAIN_BATCHES) * rows
    _check_balance(labels[:train], "training", folder)
    _check_balance(labels[train:], "test", folder)

    all_images, all_labels = torch.from_numpy(images), torch.from_numpy(labels)
    return ImageSet(
        name="cifar10",
        images=all_images[:train],
        labels=all_labels[:train],
        classes=CLASSES,
        provenance=UNVERIFIED if altered else VERIFIED,
        sha256=digest(all_images[:train], all_labels[:train]),
        test_images=all_images[train:],
        test_labels=all_labels[train:],
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check the folder's permissions") from None


def _decode(raw: bytes, path: Path, rows: int) -> tuple[NDArray[np.uint8], Sequence[int]]:
    """Images ``[rows, 3, 32, 32]`` and labels of one batch."""
    try:
        batch = unpickling.loads(raw)
    except ValueError as error:
        raise UserError(f"{path} is damaged or no CIFAR-10 batch ({error}): download it again") from None
    pixels, labels = batch.get("data"), batch.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.shape != (rows, 3072):
        found = "x".join(map(str, pixels.shape)) if isinstance(pixels, np.ndarray) else "none"
        raise UserError(f"{path} is no CIFAR-10 batch: expected {rows}x3072 bytes of pixels, found {found}")
    if (
        not isinstance(labels, list)
        or len(labels) != rows
        or not all(type(label) is int and 0 <= label < len(CLASSES) for label in labels)
    ):
        raise UserError(f"{path} is no CIFAR-10 batch: expected {rows} labels from 0 to {len(CLASSES) - 1}")
    return pixels.reshape(rows, 3, 32, 32), labels


def _check_class_names(path: Path) -> None:
    """Labels mean the usual classes; a copy without the file of names passes, since nothing contradicts it."""
    if not path.is_file():
        return
    try:
        names = unpickling.loads(_read(path)).get("label_names")
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): download it again or remove it") from None
    names = [name.decode(errors="replace") if isinstance(name, bytes) else name for name in names or ()]
    if names != list(CLASSES):
        raise UserError(f"{path} names other classes than CIFAR-10 has: expected {', '.join(CLASSES)} in this order")


def _check_balance(labels: NDArray[np.int64], split: str, folder: Path) -> None:
    counts = np.bincount(labels, minlength=len(CLASSES))
    expected = len(labels) // len(CLASSES)
    if (counts != expected).any():
        raise UserError(
            f"CIFAR-10 in {folder} has {counts.min():,} to {counts.max():,} {split} images a class "
            f"instead of {expected:,}: it is not the data set; download it again"
        )
