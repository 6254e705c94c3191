"""Runs of several machines into one store: everything is read and compared before anything is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.spec import RunRecord
from benchmarks.store import Store


class Conflict(UserError):
    """Two records of one run that say different things."""


def merge(into: Store, sources: Sequence[Store]) -> int:
    """Add the runs of other stores.

    Cut short, a merge leaves whole files only, and the same call completes it.

    Args:
        into: gets the runs; it may be new.
        sources: are left as they are.

    Returns:
        How many runs were added; those that ``into`` has already are not counted.

    Raises:
        Conflict: a run is there twice and its records differ in more than times and machine. Nothing was written,
            unless a command wrote the run to ``into`` meanwhile: the message then says how many runs were added.
        DamagedFile: some file cannot be read. Nothing was written, unless a command is writing to ``into``.
        UserError: a source is no folder, or ``into`` is a foreign one.
    """
    known: dict[str, tuple[Path, RunRecord]] = {}
    new: list[RunRecord] = []
    for store in (into, *sources):
        if store is not into:
            store.must_exist()
        for record in store.records():
            folder, other = known.setdefault(record.spec.hash, (store.folder, record))
            if other is record:
                if store is not into:
                    new.append(record)
            elif (part := difference(other, record)) is not None:
                raise Conflict(
                    f"{record.spec.label} differs in {part} between {folder} and {store.folder}: "
                    "remove one of the two; nothing was merged"
                )
    into.open()
    added = 0
    for record in new:
        meanwhile = into.get(record.spec)  # a command may have ended the run since all was read
        if meanwhile is None:
            into.append(record)
            added += 1
        elif (part := difference(meanwhile, record)) is not None:
            raise Conflict(
                f"{record.spec.label} differs in {part} from what a command wrote to {into.folder} meanwhile: remove "
                f"one of the two; {added} runs were added"
            )
    return added


def difference(a: RunRecord, b: RunRecord) -> str | None:
    """Where two records of one run differ, times and facts about the machine left out; None where they agree."""
    if a.status is not b.status or a.message != b.message:
        return f"status ({a.status} and {b.status})"
    if len(a.rows) != len(b.rows):
        return f"length ({len(a.rows)} and {len(b.rows)} epochs)"
    for row, other in zip(a.rows, b.rows, strict=True):
        for key in dict.fromkeys((*row, *other)):
            # As text, so that NaN equals itself and every digit counts.
            if not key.startswith("seconds") and _text(row.get(key)) != _text(other.get(key)):
                return f"{key} at epoch {row['epoch']}"
    return None


def _text(value: Any) -> str:
    return json.dumps(value)
