"""How a results folder stands: ``python -m benchmarks.status DIR``. Changes nothing; exit code 0, or 2 for no folder.

What is missing is told from the plans of the commands that wrote to the folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.claims import STALE_AFTER, Claim, Claims
from benchmarks.errors import UserError, exit_code
from benchmarks.spec import RunSpec, Status
from benchmarks.store import DEFAULT, Store

STATES = ("done", "running", "failed", "missing")
Key = tuple[str, str, str]
"""Tier, space, method."""


@dataclass(frozen=True)
class Survey:
    """What is in a folder.

    Attributes:
        counts: runs of each tier, space and method by state; a failed or missing run that is being done is running.
        running: claims of living owners.
        continued: missing and failed runs of which there is a checkpoint.
        damaged: a line for every file that cannot be read.
        failures: label, status and last line of message of failed runs.
    """

    counts: dict[Key, Counter[str]]
    running: list[Claim]
    continued: int
    damaged: list[str]
    failures: list[tuple[str, str, str]]


def survey(store: Store) -> Survey:
    """Look through a folder. Raises ``UserError`` if there is none."""
    store.must_exist()
    claims = Claims(store.folder / "claims")
    alive = {name: claim for name, claim in claims.all().items() if _is_alive(claim, claims.folder / f"{name}.json")}
    states: dict[str, str] = {}
    specs: dict[str, RunSpec] = store.planned()
    damaged, failures = [], []
    for _, record in store.scan():
        if isinstance(record, UserError):
            damaged.append(str(record))
            continue
        specs[record.spec.hash] = record.spec
        states[record.spec.hash] = "done" if record.status is Status.DONE else "failed"
        if record.status is not Status.DONE:
            failures.append((record.spec.label, record.status.value, record.last_line))
    counts: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    continued = 0
    for name, spec in specs.items():
        state = states.get(name, "missing")
        if state != "done" and name in alive:
            state = "running"
        counts[spec.budget.tier, spec.space, spec.method][state] += 1
        continued += state in ("missing", "failed") and store.checkpoint(spec).exists()
    return Survey(dict(sorted(counts.items())), list(alive.values()), continued, damaged, failures)


def _is_alive(claim: Claim, path: Path) -> bool:
    if claim.owner.is_here:
        return not claim.owner.is_dead
    try:
        return time.time() - path.stat().st_mtime < STALE_AFTER
    except OSError:
        return False


def show(found: Survey, console: Console) -> None:
    """Print a survey."""
    table = Table("tier", "space", "method", *STATES)
    for key, states in found.counts.items():
        table.add_row(*map(escape, key), *(str(states[state] or "") for state in STATES))
    total: Counter[str] = sum(found.counts.values(), Counter())
    table.add_section()
    table.add_row("all", "", "", *(str(total[state]) for state in STATES))
    console.print(table)
    for claim in found.running:
        epochs = f"epoch {claim.epoch}/{claim.epochs}" if claim.epochs else "starting"
        minutes = (time.time() - claim.since) / 60
        text = f"running: {claim.label}, {epochs}, {minutes:.1f} min, on {claim.owner}"
        console.print(text, highlight=False, markup=False)
    for label, status, line in found.failures:
        console.print(f"[red]{status}[/red]: {escape(f'{label}: {line}')}", highlight=False)
    for line in found.damaged:
        console.print(f"[red]damaged[/red]: {escape(line)}", highlight=False)
    if found.continued:
        console.print(f"{found.continued} runs that are not done go on from a checkpoint", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.status", description=__doc__)
    parser.add_argument("store", nargs="?", type=Path, default=DEFAULT, metavar="DIR", help=f"default {DEFAULT}")
    options = parser.parse_args(arguments)
    return exit_code(lambda: show(survey(Store(options.store)), Console()))


if __name__ == "__main__":
    sys.exit(main())
