"""One run from spec to record: build the problem, search epoch by epoch, checkpoint, look up the ground truth.

Nothing that a method does ends the process: a search that diverges, raises or runs out of memory becomes a record with
its status and message. Killed at any moment, the same call continues from the last checkpoint to the same bits. What is
no fault of the run (a full disk, a request to stop, a run that another process took over) is raised and recorded
nowhere.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch
from threadpoolctl import threadpool_limits

from benchmarks import environment, ground_truth, images, spaces
from benchmarks.checkpoint import Checkpoint
from benchmarks.claims import Held
from benchmarks.errors import UserError
from benchmarks.files import CannotWrite
from benchmarks.logs import RunLog
from benchmarks.plan import Job
from benchmarks.seeds import Seeds
from benchmarks.spec import (
    Diverged,
    Method,
    RunRecord,
    RunSpec,
    SearchProblem,
    Status,
    Trace,
    check_trace,
    handed_on,
)
from benchmarks.store import Store
from methods import resolve
from methods.differentiable import DifferentiableSearch
from methods.together import train_epoch as train_together

Report = Callable[[int, int], None]
"""Called with (epoch, epochs) as epochs end."""


@dataclass(frozen=True)
class Settings:
    """What a run needs besides its spec. None of it changes a search; ``tables`` change what is looked up for it.

    Attributes:
        store: where the record and the checkpoint go.
        data_dir: folder of the image files, if the image set needs one.
        tables: folder of imported ground truth tables; None for the shipped ones.
        checkpoint_every: epochs between checkpoints.
        time_limit: seconds after which a run ends as ``timeout``; None for no limit.
        redo: do every run from the start, done ones too; the old record stays until the new one replaces it, and a
            finished one is kept below ``replaced`` if the new one has failed.
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
    report: Report,
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
    run = Run(job, settings, report, stop)
    if (earlier := run.earlier()) is not None:
        return earlier
    with run:
        run.begin()
        while not run.is_over:
            run.advance(run.method.train_epoch(run.epoch) if run.epoch else {})
    return run.record


def execute_together(
    jobs: Sequence[Job],
    settings: Settings,
    reports: Sequence[Report],
    stop: Callable[[], bool] = lambda: False,
) -> list[RunRecord]:
    """``execute`` for searches that differ in nothing but their seeds, trained in one batched supernet.

    Searches that were stopped at different epochs catch up first. One that fails, or that another process took over,
    leaves the others alone.
    """
    runs = [Run(job, settings, report, stop) for job, report in zip(jobs, reports, strict=True)]
    found = {run.spec.hash: earlier for run in runs if (earlier := run.earlier()) is not None}
    going = [run for run in runs if run.spec.hash not in found]
    for run in going:
        with run:
            run.begin()
    while going := [run for run in going if not run.is_over]:
        epoch = min(run.epoch for run in going)
        level = [run for run in going if run.epoch == epoch]
        traces: Sequence[Trace | Exception] = [{}] * len(level)
        if epoch:
            try:
                traces = train_together([cast(DifferentiableSearch, run.method) for run in level], epoch)
            except Exception as error:
                traces = [error] * len(level)
        stopped = None
        for run, trace in zip(level, traces, strict=True):
            try:
                with run:
                    if isinstance(trace, Exception):
                        raise trace
                    run.facts["trained_together"] = min(len(level), run.facts.get("trained_together", len(level)))
                    run.advance(trace)
            except Held:
                going.remove(run)
            except Stopped as reason:  # after the others wrote their checkpoints too
                stopped = reason
        if stopped:
            raise stopped
    return [found.get(run.spec.hash) or run.record for run in runs if run.spec.hash in found or run.is_over]


def fail(job: Job, settings: Settings, message: str) -> RunRecord:
    """Record that a run ends its process whenever it is tried."""
    facts = {**environment.facts(), "seconds_total": 0.0, "resumed": False}
    record = RunRecord(job.spec, Status.ERROR, message, (), facts)
    _keep(record, settings.store, RunLog(settings.store.log(job.spec)))
    return record


class Run:
    """A run under way. Used as a context, it turns what is raised inside into the end of the run and its record.

    What is no fault of the run passes through.

    Attributes:
        method: after ``begin``.
        epoch: the next one to search; 0 is the state before training.
        is_over: whether the record is made.
        record: what the store has, once it is over.
    """

    method: Method
    record: RunRecord

    def __init__(self, job: Job, settings: Settings, report: Report, stop: Callable[[], bool]) -> None:
        self.job, self.spec, self.settings, self.report, self.stop = job, job.spec, settings, report, stop
        self.log = RunLog(settings.store.log(self.spec))
        self.checkpoint = Checkpoint(settings.store, self.spec, self.log, redo=settings.redo)
        self.rows: list[Trace] = []
        self.is_over = False

    def earlier(self) -> RunRecord | None:
        """The record that makes the run needless, if the store has it."""
        store = self.settings.store
        store.sweep(self.spec)
        earlier = store.recover(self.spec, self.log.warn)
        if earlier is None or earlier.status is not Status.DONE or self.settings.redo:
            return None
        self.checkpoint.path.unlink(missing_ok=True)  # its run was killed between the record and this
        return earlier

    def begin(self) -> None:
        """Build the method, or restore it from its checkpoint."""
        torch.set_num_threads(1)
        threadpool_limits(1)  # the BLAS that compiled kernels call
        self.started = time.perf_counter()
        self.facts: dict[str, Any] = dict(environment.facts())
        self.log.begin(self.spec, self.facts["revision"])
        upstream = _upstream_row(self.job, self.settings.store)
        problem = _problem(self.spec, self.settings, upstream, self.facts)
        method_class, _ = resolve(self.spec.method)
        self.method, self.rows = self.checkpoint.restore(
            lambda: method_class(problem, method_class.Config(**self.spec.config)), self.facts
        )
        if not self.method.has_an_end:
            raise UserError(f"epochs of {self.spec.method} is {self.method.epochs}: choose a whole number, 0 or more")
        self.before = float(self.rows[-1]["seconds"] or 0) if self.rows else 0.0  # type: ignore[arg-type]

    @property
    def epoch(self) -> int:
        """See the class."""
        return len(self.rows)

    def advance(self, trace: Trace) -> None:
        """Measure what an epoch's training, whose trace this is, came to; keep it, and end the run after the last."""
        method, epoch, space = self.method, self.epoch, spaces.get(self.spec.space)
        trace = trace | method.measure(epoch)
        check_trace(trace, self.rows)
        architecture = method.architecture()
        seconds = self.before + time.perf_counter() - self.started
        counts: Trace = {f"count_{op}": n for op, n in space.operation_counts(architecture).items()}
        row: Trace = {"epoch": epoch, "architecture": space.encode(architecture), "seconds": seconds}
        self.rows.append(row | counts | trace)
        self.log.epoch(self.rows[-1], method.epochs)
        self.report(epoch, method.epochs)
        if epoch == method.epochs:
            self._end(Status.DONE, "")
            return
        time_is_up = self.settings.time_limit is not None and seconds > self.settings.time_limit
        asked_to_stop = self.stop()
        if time_is_up or asked_to_stop or epoch % self.settings.checkpoint_every == 0:
            self.checkpoint.save(method, self.rows, self.facts)
        if asked_to_stop:
            raise Stopped
        if time_is_up:
            raise _TimeIsUp

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        if isinstance(error, (Stopped, Held, CannotWrite)):
            self.log.line(f"stopped after epoch {len(self.rows) - 1}: {type(error).__name__} {error}")
            return False
        if isinstance(error, Diverged):
            self._end(Status.DIVERGED, str(error))
        elif isinstance(error, _TimeIsUp):
            self._end(Status.TIMEOUT, f"stopped after the time limit of {self.settings.time_limit:.0f} s")
        elif isinstance(error, UserError):
            self._end(Status.ERROR, str(error))
        elif isinstance(error, Exception):
            self._end(Status.ERROR, "".join(traceback.format_exception(error)))
        return isinstance(error, Exception)

    def _end(self, status: Status, message: str) -> None:
        self.facts |= {"seconds_total": time.perf_counter() - self.started, "resumed": self.checkpoint.resumed}
        rows = _with_ground_truth(self.spec, self.settings, self.rows, self.facts)
        self.record = RunRecord(self.spec, status, message, tuple(rows), self.facts)
        _keep(self.record, self.settings.store, self.log)
        self.is_over = True
        failed_again = self.settings.redo and self.rows and status is not Status.TIMEOUT
        if status is Status.DONE or failed_again:
            self.checkpoint.path.unlink(missing_ok=True)


def _keep(record: RunRecord, store: Store, log: RunLog) -> None:
    """Write the record and end the log. A finished run whose repetition failed is kept."""
    if record.status is not Status.DONE and (kept := store.keep_finished(record.spec)) is not None:
        log.warn(f"{record.spec.label} was finished and failed when done again; its earlier result is kept in {kept}")
    store.append(record)
    log.end(record)


def _problem(spec: RunSpec, settings: Settings, upstream: Trace | None, facts: dict[str, Any]) -> SearchProblem:
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


def _upstream_row(job: Job, store: Store) -> Trace | None:
    if job.upstream is None:
        return None
    record = store.get(job.upstream)
    if record is None or record.status is not Status.DONE:
        raise UserError(f"the run that {job.spec.label} starts from ({job.upstream.label}) is not done: run it first")
    return handed_on(record.final)


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
