"""Opens the containers of official pickles: ``torch.save`` in its old and its new form, and bzip2."""

from __future__ import annotations

import bz2
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from benchmarks.ground_truth.importers.pickles import Fold, PickleReader

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of a file by ``torch.save`` before PyTorch 1.6."""
_OLD_TORCH = b"\x80\x02\x8a\n" + _TORCH_MAGIC.to_bytes(10, "little") + b"."


def kind_of(path: Path) -> str | None:
    """``torch``, ``torch zip`` or ``bzip2`` by the first bytes of a file, None for anything else."""
    with path.open("rb") as file:
        start = file.read(len(_OLD_TORCH))
    if start == _OLD_TORCH:
        return "torch"
    if start.startswith(b"BZh"):
        return "bzip2"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return "torch zip" if _data_name(archive) else None
    return None


def load(path: Path, kind: str, fold: Fold, advance: Callable[[int], object]) -> Any:
    """The pickled object in a file.

    Args:
        path: the file.
        kind: what ``kind_of`` says.
        fold: see ``PickleReader.load``.
        advance: told the number of bytes after each piece of the file was read.

    Raises:
        ValueError: damaged, truncated or hostile; in a few words.
    """
    with path.open("rb") as file:
        counted = _Counted(file, advance)
        try:
            if kind == "bzip2":
                return _only(PickleReader(bz2.BZ2File(counted)), fold)
            if kind == "torch zip":
                with zipfile.ZipFile(path) as archive, archive.open(_data_name(archive) or "") as member:
                    return _only(PickleReader(_Counted(member, advance)), fold)
            reader = PickleReader(counted)
            for _ in ("magic number", "protocol", "system"):
                reader.load()
            data = reader.load(fold)
            reader.load()  # the names of stored tensors: there in every whole file
            return data
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ValueError(str(error)) from None


def loads(data: bytes, fold: Fold) -> Any:
    """The pickled object in bzip2-compressed bytes. Raises ``ValueError`` as ``load``."""
    return _only(PickleReader(bz2.BZ2File(io.BytesIO(data))), fold)


def _only(reader: PickleReader, fold: Fold) -> Any:
    data = reader.load(fold)
    if not reader.at_end():
        raise ValueError("something follows its end")
    return data


def _data_name(archive: zipfile.ZipFile) -> str | None:
    return next((name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"), None)


class _Counted(io.RawIOBase):
    """A file that says how much of it was read."""

    def __init__(self, file: IO[bytes], advance: Callable[[int], object]) -> None:
        self._file, self._advance = file, advance

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data
