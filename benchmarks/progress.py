"""What a command shows while it works: a line a finished run and, on a terminal, the runs under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from benchmarks.claims import Claims
from benchmarks.spec import RunRecord, Status


def line(record: RunRecord, number: int, total: int) -> str:
    """How a run ended, in one line of rich markup."""
    head = f"[dim]{number:>{len(str(total))}}/{total}[/dim] {escape(record.spec.label)}"
    if record.status is not Status.DONE:
        return f"{head}  [red]{record.status}[/red] {escape(record.last_line)}"
    accuracy = record.final.get("cifar10_test")
    found = f"{accuracy:.2f} %" if accuracy is not None else "not in the table"
    return f"{head}  CIFAR-10 test {found}  ({record.facts['seconds_total']:.1f} s)"


@contextmanager
def progress(console: Console, claims: Claims, records: Sequence[RunRecord], total: int) -> Iterator[None]:
    """Show running jobs, their epochs, the best accuracy so far and the time left, if the output is a terminal."""
    if not console.is_terminal:
        yield
        return
    started, stop = time.monotonic(), threading.Event()

    def view() -> Table:
        table = Table(box=None, show_header=False)
        for claim in claims.all().values():
            if not claim.owner.is_dead:
                epochs = f"epoch {claim.epoch}/{claim.epochs}" if claim.epochs else "starting"
                table.add_row("running", escape(claim.label), epochs, f"{time.time() - claim.since:.0f} s")
        done = len(records)
        best = max((float(r.final.get("cifar10_test") or 0) for r in records if r.rows), default=None)  # type: ignore[arg-type]
        pace = (time.monotonic() - started) / done if done else None
        left = f"{pace * (total - done) / 60:.1f} min left" if pace is not None else "time left unknown"
        table.add_row(f"{done}/{total}", f"best CIFAR-10 test so far {best:.2f} %" if best else "", left, "")
        return table

    with Live(view(), console=console, refresh_per_second=2, transient=True) as live:

        def refresh() -> None:
            while not stop.wait(0.5):
                live.update(view())

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
