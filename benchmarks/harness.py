"""One run from spec to record: build the problem, search epoch by epoch, checkpoint, look up the ground truth.

Nothing that a method does ends the process: a search that diverges, raises or runs out of memory becomes a record with
its status and message. Killed at any moment, the same call continues from the last checkpoint to the same bits. What is
no fault of the run (a full disk, a request to stop, a run that another process took over) is raised and recorded
nowhere.
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
from benchmarks.claims import Held
from benchmarks.errors import UserError
from benchmarks.files import CannotWrite, save
from benchmarks.logs import RunLog
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
        redo: do runs again that are done; the old record stays until the new one replaces it.
    """

    store: Store
    data_dir: Path | None = None
    tables: Path | None = None
    checkpoint_every: int = 1
    time_limit: float | None = None
    redo: bool = False


class Stopped(Exception):
    """The run was asked to stop and wrote a checkpoint."""


class _TimeIsUp(Exception):
    pass


def execute(
    job: Job,
    settings: Settings,
    report: Callable[[int, int], None],
    stop: Callable[[], bool] = lambda: False,
) -> RunRecord:
    """Do a run, or return the record that the store already has.

    Args:
        job: the spec, and the spec of its upstream run if the method has one; that run must be in the store.
        settings: where things are.
        report: called with (epoch, epochs) as epochs end.
        stop: asked after every epoch whether to stop there.

    Returns:
        The record, which is in the store. Failed runs are tried again, done ones never, unless ``settings.redo``.

    Raises:
        Stopped: ``stop`` said so; a checkpoint is kept.
        Held: another process took the run over.
        CannotWrite: the store cannot be written.
    """
    spec, store = job.spec, settings.store
    log = RunLog(store.log(spec))
    store.sweep(spec)
    checkpoint = Checkpoint(store, spec, log)
    earlier = store.recover(spec, log.warn)
    if earlier is not None and earlier.status is Status.DONE and not settings.redo:
        checkpoint.path.unlink(missing_ok=True)  # its run was killed between the record and this
        return earlier
    torch.set_num_threads(1)
    threadpool_limits(1)  # the BLAS that compiled kernels call
    rows: list[Trace] = []
    started, status, message = time.perf_counter(), Status.DONE, ""
    facts: dict[str, Any] = dict(environment.facts())
    log.begin(spec, facts["revision"])
    try:
        problem = _problem(spec, settings, _upstream_row(job, store), facts)
        _search(problem, checkpoint, settings, rows, started, report, stop)
    except (Stopped, Held, CannotWrite) as reason:
        log.line(f"stopped after epoch {len(rows) - 1}: {type(reason).__name__} {reason}")
        raise
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
    log.end(record)
    if status is Status.DONE:
        checkpoint.path.unlink(missing_ok=True)
    return record


def fail(job: Job, settings: Settings, message: str) -> RunRecord:
    """Record that a run ends its process whenever it is tried."""
    facts = {**environment.facts(), "seconds_total": 0.0, "resumed": False}
    record = RunRecord(job.spec, Status.ERROR, message, (), facts)
    settings.store.append(record)
    RunLog(settings.store.log(job.spec)).end(record)
    return record


def _search(
    problem: SearchProblem,
    checkpoint: Checkpoint,
    settings: Settings,
    rows: list[Trace],
    started: float,
    report: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> None:
    """Fill ``rows`` with the trace of every epoch."""
    method_class, _ = resolve(checkpoint.spec.method)

    def build() -> Method:
        return method_class(problem, method_class.Config(**checkpoint.spec.config))

    method, earlier = checkpoint.restore(build)
    rows += earlier
    before = float(rows[-1]["seconds"] or 0) if rows else 0.0  # type: ignore[arg-type]
    for epoch in range(len(rows), method.epochs + 1):
        trace = method.train_epoch(epoch) if epoch else {}
        trace |= method.measure(epoch)
        architecture = method.architecture()
        seconds = before + time.perf_counter() - started
        counts: Trace = {f"count_{op}": n for op, n in problem.space.operation_counts(architecture).items()}
        row: Trace = {"epoch": epoch, "architecture": problem.space.encode(architecture), "seconds": seconds}
        rows.append(row | counts | trace)
        checkpoint.log.epoch(rows[-1], method.epochs)
        report(epoch, method.epochs)
        if epoch < method.epochs:
            time_is_up = settings.time_limit is not None and seconds > settings.time_limit
            asked_to_stop = stop()
            if time_is_up or asked_to_stop or epoch % settings.checkpoint_every == 0:
                checkpoint.save(method, rows)
            if asked_to_stop:
                raise Stopped
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
    return SearchProblem(spaces.get(spec.space), split, budget, seeds, upstream, spec.compute)


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


def _to_this_gpu(storage: Any, location: str) -> Any:
    """What lay on a GPU comes to the one of this process, which may have another number; the rest stays."""
    return storage.cuda() if location.startswith("cuda") else storage


class Checkpoint:
    """The state of an unfinished run: a SHA-256, then tensors and plain values whose loading cannot run code."""

    def __init__(self, store: Store, spec: RunSpec, log: RunLog) -> None:
        self.store, self.spec, self.log = store, spec, log
        self.path = store.checkpoint(spec)
        self.resumed = False

    def save(self, method: Method, rows: list[Trace]) -> None:
        """Write the state after the last of ``rows``. Raises ``CannotWrite``."""
        buffer = io.BytesIO()
        torch.save({"spec": self.spec.hash, "rows": json.dumps(rows), "state": method.state_dict()}, buffer)
        save(self.path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())

    def restore(self, build: Callable[[], Method]) -> tuple[Method, list[Trace]]:
        """The method as it was when saved and the rows so far; a new one and [] where there is nothing to continue.

        A file that is damaged, belongs to another run or does not fit the method is moved aside.
        """
        method = build()
        if not self.path.exists():
            return method, []
        try:
            rows = self._load(method)
        except MemoryError:
            raise
        except Exception as error:  # torch.load and a user's load_state_dict may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            self.store.set_aside(self.path, f"checkpoint {self.path} cannot be continued ({reason})", self.log.warn)
            return build(), []
        self.resumed = True
        self.log.line(f"continues after epoch {len(rows) - 1}")
        return method, rows

    def _load(self, method: Method) -> list[Trace]:
        data = self.path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise ValueError("it does not match its checksum")
        saved = torch.load(io.BytesIO(data[32:]), map_location=_to_this_gpu, weights_only=True)
        if saved["spec"] != self.spec.hash:
            raise ValueError("it belongs to another run")
        rows: list[Trace] = json.loads(saved["rows"])
        method.load_state_dict(saved["state"])
        return rows
