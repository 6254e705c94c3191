"""What is recorded of an official file: its name, size and checksums."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import UserError

COMMAND = "python -m benchmarks.ground_truth import"
_PIECE = 1 << 22
_NAMED_MD5 = re.compile(r"(?:NAS-Bench-201-v1_[01]|NATS-tss-v1_0)-([0-9a-f]{5,6})\.(?:pth|pickle\.pbz2)")
_PUBLISHED_SHA256 = {
    "nasbench_only108.tfrecord": "4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
    "nasbench_full.tfrecord": "3d64db8180fb1b0207212f9032205064312b6907a3bbc81eabea10db2f5c7e9c",
}
"""From the README of google-research/nasbench."""


@dataclass(frozen=True)
class Official:
    """A file or folder as it was read.

    Attributes:
        name: its name, without folders.
        size: bytes.
        sha256: in hex; of a folder, over the names and checksums of its files.
        md5: in hex; None for a folder.
    """

    name: str
    size: int
    sha256: str
    md5: str | None = None

    @property
    def text(self) -> str:
        """One line for provenance."""
        return f"{self.name}, {self.size:,} bytes, sha256 {self.sha256}"

    @property
    def verdict(self) -> str:
        """Whether this is the official file, by the checksum that its publisher gives or puts into its name."""
        if self.sha256 in _PUBLISHED_SHA256.values():
            return "its SHA-256 is the published one"
        named = _NAMED_MD5.fullmatch(self.name)
        if named and self.md5 and self.md5.startswith(named[1]):
            return f"its MD5 begins with {named[1]}, as its official name says"
        if named or self.name in _PUBLISHED_SHA256:
            return "WARNING: its checksum is not that of the official file of this name"
        return "no checksum of it is published: an unverified copy"


def fingerprint(path: Path, advance: Callable[[int], object]) -> Official:
    """Checksums of a file; ``advance`` is told the bytes read."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
            advance(len(piece))
    return Official(path.name, size, sha256.hexdigest(), md5.hexdigest())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or foreign file raises into a ``UserError`` of one line."""
    try:
        yield
    except KeyError as error:
        raise _damaged(path, f"a record in it lacks {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, reason: object) -> UserError:
    return UserError(
        f"cannot import {path}: {' '.join(str(reason).split())}; it is damaged, truncated or foreign, so nothing was "
        "written: get the file again"
    )
