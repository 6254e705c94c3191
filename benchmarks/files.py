"""Writing files so that nothing is ever half written."""

from __future__ import annotations

import os
from pathlib import Path

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


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The error in one line."""
    reason = error.strerror or error
    return CannotWrite(f"cannot write {path} ({reason}): free space there or choose another folder, and run again")
