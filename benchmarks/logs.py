"""One readable log file a run: when it began, a line an epoch, how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claims import Owner
from benchmarks.spec import RunRecord, RunSpec, Value


@dataclass(frozen=True)
class RunLog:
    """Appends to a file; a run that is continued goes on in the same one.

    A log that cannot be written stops nothing: a disk that is full is noticed by what must be written.

    Attributes:
        path: the file.
    """

    path: Path

    def line(self, text: str) -> None:
        """A line with the time of day before it."""
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def warn(self, text: str) -> None:
        """A line for the file and for whoever watches."""
        self.line(f"warning: {text}")
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def begin(self, spec: RunSpec, revision: str | None) -> None:
        """The run and the process that does it."""
        self.line(f"start {spec.label}, {spec.budget.tier} tier, spec {spec.hash}, revision {revision}, {Owner.this()}")

    def epoch(self, row: Mapping[str, Value], epochs: int) -> None:
        """What an epoch gave: every number of its row but the counts."""
        numbers = {k: v for k, v in row.items() if isinstance(v, float | int) and not k.startswith("count_")}
        shown = " ".join(f"{k}={v:.5g}" for k, v in numbers.items() if k != "epoch")
        self.line(f"epoch {row['epoch']}/{epochs} {row['architecture']} {shown}")

    def end(self, record: RunRecord) -> None:
        """Status, seconds and, for a failed run, the whole message."""
        self.line(f"{record.status} after {record.facts['seconds_total']:.1f} s {record.message}".rstrip())
