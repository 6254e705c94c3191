"""Many runs: chains of jobs on worker processes, progress through small files, clean stops."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
from joblib.externals.loky import get_reusable_executor
from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmarks import harness
from benchmarks.files import write_atomically
from benchmarks.plan import Job, Plan
from benchmarks.spec import RunRecord, Status


def run(plan: Plan, settings: harness.Settings, *, jobs: int, console: Console) -> list[RunRecord]:
    """Execute a plan.

    Args:
        plan: what to run; jobs that the store holds are passed over by the harness.
        settings: where things are.
        jobs: worker processes; 1 runs in this one.
        console: where progress is drawn (only if it is a terminal) and finished runs are listed.

    Returns:
        The records of all jobs that ended, in the order of their ending.

    Raises:
        KeyboardInterrupt: after the workers were stopped; finished runs and checkpoints are kept.
    """
    heartbeats = settings.store.folder / "progress"
    heartbeats.mkdir(parents=True, exist_ok=True)
    records: list[RunRecord] = []
    total = len(plan.jobs)
    # A generator hands each chain back as it ends, in any order, so that progress is seen and Ctrl-C loses nothing.
    pool = joblib.Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    tasks = (joblib.delayed(_run_chain)(chain, settings, heartbeats, jobs > 1) for chain in plan.chains)
    try:
        with _progress(console, heartbeats, records, total):
            for chain_records in pool(tasks):
                for record in chain_records:
                    records.append(record)
                    console.print(_line(record, len(records), total), highlight=False)
    except KeyboardInterrupt:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)
        raise
    finally:
        for file in heartbeats.glob("*.json"):
            file.unlink(missing_ok=True)
    return records


def _run_chain(
    chain: tuple[Job, ...], settings: harness.Settings, heartbeats: Path, in_worker: bool
) -> list[RunRecord]:
    """Run a chain in order. A job whose upstream failed fails with a line that says so."""
    if in_worker:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent stops the workers.
    return [_run_one(job, settings, heartbeats) for job in chain]


def _run_one(job: Job, settings: harness.Settings, heartbeats: Path) -> RunRecord:
    file = heartbeats / f"{job.spec.hash}.json"
    started = time.time()

    def beat(epoch: int, epochs: int) -> None:
        state = {"label": job.spec.label, "epoch": epoch, "epochs": epochs, "started": started}
        write_atomically(file, json.dumps(state).encode())

    beat(0, 0)
    try:
        return harness.execute(job, settings, beat)
    finally:
        file.unlink(missing_ok=True)


def _line(record: RunRecord, number: int, total: int) -> str:
    head = f"[dim]{number:>{len(str(total))}}/{total}[/dim] {record.spec.label}"
    if record.status is not Status.DONE:
        last = record.message.strip().splitlines()[-1] if record.message else ""
        return f"{head}  [red]{record.status}[/red] {last}"
    accuracy = record.final.get("cifar10_test")
    return f"{head}  CIFAR-10 test {accuracy:.2f} %  ({record.facts['seconds_total']:.1f} s)"


@contextmanager
def _progress(console: Console, heartbeats: Path, records: list[RunRecord], total: int) -> Iterator[None]:
    """Show running jobs, their epochs, the best accuracy so far and the time left, if the output is a terminal."""
    if not console.is_terminal:
        yield
        return
    started, stop = time.time(), threading.Event()

    def view() -> Table:
        table = Table(box=None, show_header=False)
        for file in sorted(heartbeats.glob("*.json")):
            try:
                state = json.loads(file.read_text())
            except (OSError, ValueError):
                continue  # it ended between the listing and the reading
            epochs = f"epoch {state['epoch']}/{state['epochs']}" if state["epochs"] else "starting"
            table.add_row("running", state["label"], epochs, f"{time.time() - state['started']:.0f} s")
        done = len(records)
        best = max((float(r.final.get("cifar10_test") or 0) for r in records if r.rows), default=None)  # type: ignore[arg-type]
        left = f"{(time.time() - started) / done * (total - done) / 60:.1f} min left" if done else "time left unknown"
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
