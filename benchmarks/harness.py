"""One run from spec to record: build the problem, search epoch by epoch, checkpoint, look up the ground truth.

Nothing that a method does ends the process: a search that diverges, raises or runs out of memory becomes a record with
its status and message. Killed at any moment, the same call continues from the last checkpoint to the same bits.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks import environment, ground_truth, images, spaces
from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.plan import Job
from benchmarks.seeds import Seeds
from benchmarks.spec import Diverged, Method, RunRecord, RunSpec, SearchProblem, Status, Trace, Value
from benchmarks.store import Store
from methods import resolve


@dataclass(frozen=True)
class Settings:
    """What a run needs besides its spec; none of it changes a result.

    Attributes:
        store: where the record and the checkpoint go.
        data_dir: folder of the image files, if the image set needs one.
        tables: folder of imported ground truth tables; None for the shipped ones.
        checkpoint_every: epochs between checkpoints.
        time_limit: seconds after which a run ends as ``timeout``; None for no limit.
    """

    store: Store
    data_dir: Path | None = None
    tables: Path | None = None
    checkpoint_every: int = 1
    time_limit: float | None = None


class _TimeIsUp(Exception):
    pass


def execute(job: Job, settings: Settings, report: Callable[[int, int], None]) -> RunRecord:
    """Do a run, or return the record that the store already has.

    Args:
        job: the spec, and the spec of its upstream run if the method has one; that run must be in the store.
        settings: where things are.
        report: called with (epoch, epochs) as epochs end.

    Returns:
        The record, which is in the store. Failed runs are tried again, done ones never.
    """
    spec, store = job.spec, settings.store
    earlier = store.get(spec)
    if earlier is not None and earlier.status is Status.DONE:
        return earlier
    torch.set_num_threads(1)
    threadpool_limits(1)  # the BLAS that compiled kernels call
    checkpoint = Checkpoint(store.folder / "checkpoints" / f"{spec.hash}.pt", spec)
    rows: list[Trace] = []
    started, status, message = time.perf_counter(), Status.DONE, ""
    facts: dict[str, Any] = dict(environment.facts())
    try:
        problem = _problem(spec, settings, _upstream_row(job, store), facts)
        _search(problem, spec, checkpoint, settings, rows, started, report)
    except Diverged as reason:
        status, message = Status.DIVERGED, str(reason)
    except _TimeIsUp:
        status, message = Status.TIMEOUT, f"stopped after the time limit of {settings.time_limit:.0f} s"
    except UserError as error:
        status, message = Status.ERROR, str(error)
    except (Exception, MemoryError):
        status, message = Status.ERROR, traceback.format_exc()
    facts |= {"seconds_total": time.perf_counter() - started, "resumed": checkpoint.resumed}
    record = RunRecord(spec, status, message, tuple(_with_ground_truth(spec, settings, rows, facts)), facts)
    store.append(record)
    if status is Status.DONE:
        checkpoint.path.unlink(missing_ok=True)
    return record


def _search(
    problem: SearchProblem,
    spec: RunSpec,
    checkpoint: Checkpoint,
    settings: Settings,
    rows: list[Trace],
    started: float,
    report: Callable[[int, int], None],
) -> None:
    """Fill ``rows`` with the trace of every epoch."""
    method_class, _ = resolve(spec.method)
    method: Method = method_class(problem, method_class.Config(**spec.config))
    rows += checkpoint.restore(method)
    before = float(rows[-1]["seconds"] or 0) if rows else 0.0  # type: ignore[arg-type]
    for epoch in range(len(rows), method.epochs + 1):
        trace = method.train_epoch(epoch) if epoch else {}
        trace |= method.measure(epoch)
        architecture = method.architecture()
        seconds = before + time.perf_counter() - started
        counts: Trace = {f"count_{op}": n for op, n in problem.space.operation_counts(architecture).items()}
        row: Trace = {"epoch": epoch, "architecture": problem.space.encode(architecture), "seconds": seconds}
        rows.append(row | counts | trace)
        report(epoch, method.epochs)
        if epoch < method.epochs:
            time_is_up = settings.time_limit is not None and seconds > settings.time_limit
            if time_is_up or epoch % settings.checkpoint_every == 0:
                checkpoint.save(method, rows)
            if time_is_up:
                raise _TimeIsUp


def _problem(
    spec: RunSpec, settings: Settings, upstream: dict[str, Value] | None, facts: dict[str, Any]
) -> SearchProblem:
    budget = spec.budget
    seeds = Seeds(spec.seed, spec.space, budget.data, spec.method)
    image_set = images.load(budget.data, settings.data_dir)
    if image_set.sha256 != spec.images:
        raise UserError(f"the images of {budget.data} changed since the run was planned: plan it again")
    split = images.search_split(
        image_set,
        train=budget.train_images,
        valid=budget.valid_images,
        size=budget.image_size,
        generator=seeds.generator("split"),
    )
    facts |= {"images_provenance": image_set.provenance, "images_sha256": image_set.sha256}
    return SearchProblem(spaces.get(spec.space), split, budget, seeds, upstream)


def _upstream_row(job: Job, store: Store) -> dict[str, Value] | None:
    if job.upstream is None:
        return None
    record = store.get(job.upstream)
    if record is None or record.status is not Status.DONE:
        raise UserError(f"the run that {job.spec.label} starts from ({job.upstream.label}) is not done: run it first")
    return dict(record.final)


def _with_ground_truth(spec: RunSpec, settings: Settings, rows: list[Trace], facts: dict[str, Any]) -> list[Trace]:
    """Add accuracies (%) and regrets (points) of every epoch's architecture; None where the table has none."""
    table = ground_truth.load(spec.space, tables=settings.tables)
    facts |= {"ground_truth": table.benchmark, "ground_truth_digest": table.digest}
    space = spaces.get(spec.space)
    out: list[Trace] = []
    for row in rows:
        architecture = space.decode(str(row["architecture"]))
        regrets = {f"regret_{name}": value for name, value in table.regrets(architecture).items()}
        out.append(row | dict(table.accuracies(architecture)) | regrets)
    return out


class Checkpoint:
    """The state of an unfinished run: a SHA-256, then tensors and plain values whose loading cannot run code."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self.path = path
        self.spec = spec
        self.resumed = False

    def save(self, method: Method, rows: list[Trace]) -> None:
        """Write the state after the last of ``rows``."""
        buffer = io.BytesIO()
        torch.save({"spec": self.spec.hash, "rows": json.dumps(rows), "state": method.state_dict()}, buffer)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())

    def restore(self, method: Method) -> list[Trace]:
        """Load the state into ``method`` and return the rows so far; [] where there is nothing to continue.

        A damaged file is moved aside before the method is touched, and the run starts anew.
        """
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            self.path.replace(self.path.with_suffix(".damaged"))
            return []
        saved = torch.load(io.BytesIO(data[32:]), weights_only=True)
        method.load_state_dict(saved["state"])
        self.resumed = True
        rows: list[Trace] = json.loads(saved["rows"])
        return rows
