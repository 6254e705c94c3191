"""Writing files so that nothing is ever half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from benchmarks.errors import UserError


class CannotWrite(UserError):
    """The disk is full, over its quota, or read-only. No run's fault, so it becomes no run's record."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write so that at any moment the path holds the old bytes or the new: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: Path, data: bytes) -> None:
    """``write_atomically`` into a folder that is made if need be. Raises ``CannotWrite``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise cannot_write(path, error) from None


def prepare(folder: Path) -> None:
    """Make a folder that will be written to, before time is spent. Raises ``CannotWrite``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "read-only")
    except OSError as error:
        raise cannot_write(folder, error) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder if need be and hold its lock, which the system frees when its holder dies.

    For folders that are only written to under this lock: what is half written there was left by a killed process, and
    is removed. Raises ``CannotWrite``.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        for temporary in folder.glob(".*.tmp"):
            temporary.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error in one line."""
    reason = error.strerror or error
    return CannotWrite(f"cannot write {path} ({reason}): free space there or choose another folder, and run again")
