"""A small data set in CIFAR-10's official layout: real pickles, 100 training and 20 test images."""

from __future__ import annotations

import hashlib
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.images.cifar10 import BATCHES, CLASSES, FOLDER, META, Release

ROWS = 20


def pickled_by_python2(images: np.ndarray, labels: list[int], *, column_major: bool = False) -> bytes:
    """Protocol 2 as Python 2 wrote it: str keys, and the pixels as one str. Labels below 256."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    pixels = images.tobytes(order="F" if column_major else "C")
    return (
        b"\x80\x02}(" + text(b"batch_label") + text(b"training batch 1 of 5")
        + text(b"labels") + b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
        + text(b"data") + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        + b"(K\x01" + number(images.shape[0]) + number(images.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN" + number(-1) * 2
        + b"K\x00tb"
        + (b"\x88" if column_major else b"\x89") + b"T" + struct.pack("<i", len(pixels)) + pixels + b"tb"
        + b"u."
    )  # fmt: skip


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class SmallCifar:
    """Where the small set lies and what is in it."""

    parent: Path
    folder: Path
    release: Release
    images: np.ndarray
    labels: np.ndarray

    def rewrite(self, name: str, **changes: object) -> None:
        """Save a batch again with some entries replaced."""
        path = self.folder / name
        batch = pickle.loads(path.read_bytes(), encoding="bytes")
        batch.update({key.encode(): value for key, value in changes.items()})
        path.write_bytes(pickle.dumps(batch, protocol=2))


@pytest.fixture(scope="session")
def python2_pickle():
    return pickled_by_python2


@pytest.fixture
def small_cifar(tmp_path: Path) -> SmallCifar:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(BATCHES) * ROWS, 3072), dtype=np.uint8)
    train, test = np.arange(5 * ROWS) % 10, np.arange(ROWS) % 10
    labels = np.concatenate([rng.permutation(train), rng.permutation(test)])
    folder = tmp_path / "data" / FOLDER
    folder.mkdir(parents=True)
    for i, name in enumerate(BATCHES):
        part = slice(i * ROWS, (i + 1) * ROWS)
        (folder / name).write_bytes(pickled_by_python2(images[part], labels[part].tolist()))
    meta = {b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3072}
    (folder / META).write_bytes(pickle.dumps(meta, protocol=2))
    release = Release(
        url="http://127.0.0.1:9/cifar-10-python.tar.gz",  # the discard port: nobody listens
        archive_md5="",
        md5={name: md5((folder / name).read_bytes()) for name in (*BATCHES, META)},
        batch_images=ROWS,
    )
    return SmallCifar(folder.parent, folder, release, images.reshape(-1, 3, 32, 32), labels)
