"""Many runs: chains of jobs on workers, work shared with other commands, clean stops, deaths survived.

The same function does a chain of runs wherever it runs (``benchmarks.workers``). What it needs from elsewhere comes
through the results folder: claims tell which runs other processes are doing, the permit whether to go on.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from benchmarks import claims, harness
from benchmarks.claims import Claims, Held, Permit
from benchmarks.errors import UserError
from benchmarks.files import CannotWrite
from benchmarks.plan import Job, Plan
from benchmarks.progress import line, progress
from benchmarks.spec import RunRecord, Status
from benchmarks.store import DamagedFile, Stamp
from benchmarks.workers import Processes, Workers

POLL = 0.5
"""Seconds between looks at the claims of other commands."""

# Seeded blocks borrow torch's global generator, so runs in threads of one process would draw each other's numbers.
_ONE_RUN_A_PROCESS = threading.Lock()


class Terminated(Exception):
    """The command was asked to stop by SIGTERM and did so before all was done."""


@dataclass(frozen=True)
class Task:
    """A chain, and what the command knows of it.

    Attributes:
        jobs: the chain.
        stamps: of each job's file when the command started. A file written since is another process's answer.
        evict: token of a claim on the first job that was found stale.
    """

    jobs: tuple[Job, ...]
    stamps: tuple[Stamp | None, ...]
    evict: str = ""

    def after(self, number: int) -> Task:
        """The task without its first jobs."""
        return Task(self.jobs[number:], self.stamps[number:])


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        records: of the jobs that ended.
        is_held: whether another process is doing the next job, so that the chain ends here.
        fault: why the store cannot be written, if that is why it ends here.
    """

    records: tuple[RunRecord, ...]
    is_held: bool = False
    fault: str = ""


def run(plan: Plan, settings: harness.Settings, *, workers: Workers, console: Console) -> list[RunRecord]:
    """Execute a plan.

    A run that another process is doing is waited for, and its record taken as it ends; if that process dies, the run
    is done here. Runs under way when a worker process died are tried again one at a time; one that ends its process
    again is recorded as failed.

    Args:
        plan: what to run; what the store holds is not done again.
        settings: where things are.
        workers: who does it.
        console: where progress is drawn (only if it is a terminal) and finished runs are listed.

    Returns:
        The records of all jobs, in the order of their ending.

    Raises:
        KeyboardInterrupt: the workers were ended; finished runs and checkpoints are kept.
        Terminated: on SIGTERM, after every run under way ended its epoch and wrote a checkpoint.
        CannotWrite: the store cannot be written; finished runs are kept.
    """
    store, total = settings.store, len(plan.jobs)
    tasks = [Task(jobs, tuple(store.stamp(job.spec) for job in jobs)) for jobs in plan.chains]
    with Permit.given(store.folder / "commands") as permit, _withdrawn_on_sigterm(permit):
        command = _Command(settings, workers, permit, console, total)
        with progress(console, command.claims, command.records, total):
            try:
                command.search_together(plan)
                command.work_through(tasks)
            except KeyboardInterrupt:
                permit.withdraw()
                workers.kill()
                raise
    if command.fault:
        raise CannotWrite(command.fault)
    if len(command.records) < total:
        raise Terminated
    return command.records


class _Command:
    """One call of ``run``."""

    def __init__(
        self, settings: harness.Settings, workers: Workers, permit: Permit, console: Console, total: int
    ) -> None:
        self.settings, self.workers, self.permit, self.console, self.total = settings, workers, permit, console, total
        self.claims = _claims(settings)
        self.records: list[RunRecord] = []
        self.held: list[Task] = []
        self.fault = ""
        self.work = partial(_run_chain, settings=settings, permit=permit)
        self.awaited: set[str] = set()
        self.touches: dict[str, tuple[int | None, float]] = {}

    def work_through(self, tasks: list[Task]) -> None:
        """Pass after pass until nothing is left, or the permit is withdrawn."""
        todo, fruitless = tasks, 0
        while (todo or self.held) and not self.permit.is_withdrawn:
            dead, before = [], len(self.records)
            for task, outcome in self.workers.map(self.work, self.unsettled(todo or self.wait())):
                if outcome is None:
                    dead.append(task)
                else:
                    self.take(task, outcome)
            todo = [] if self.permit.is_withdrawn else [task for task in dead if not self.tried_alone(task)]
            fruitless = fruitless + 1 if todo and len(self.records) == before else 0
            if fruitless == 3:
                raise UserError("worker processes die before they begin anything: try --jobs 1 to see why")

    def search_together(self, plan: Plan) -> None:
        """Do the searches whose seeds share a supernet, in this process, as far as no other command holds them.

        ``work_through`` reads their records, and does what was left.
        """
        for jobs in plan.together:
            mine: list[Job] = []
            reports: list[harness.Report] = []
            with ExitStack() as held, _ONE_RUN_A_PROCESS:
                for job in jobs:
                    with suppress(Held):
                        reports.append(held.enter_context(self.claims.hold(job.spec)))
                        mine.append(job)
                try:
                    harness.execute_together(mine, self.settings, reports, lambda: self.permit.is_withdrawn)
                except harness.Stopped:
                    return
                except CannotWrite as error:
                    self.fault = str(error)
                    self.permit.withdraw()
                    return

    def unsettled(self, tasks: list[Task]) -> list[Task]:
        """The tasks with something to do. The others are only to be read, for which no process need be started."""
        left = [task for task in tasks if _unsettled(task, self.settings) is not None]
        for task in tasks:
            if task not in left:
                self.take(task, self.work(task))
        return left

    def take(self, task: Task, outcome: Outcome) -> None:
        """Note what became of a task."""
        for record in outcome.records:
            self.records.append(record)
            self.console.print(line(record, len(self.records), self.total), highlight=False)
        if outcome.is_held:
            self.held.append(task.after(len(outcome.records)))
        if outcome.fault:
            self.fault = outcome.fault
            self.permit.withdraw()

    def tried_alone(self, task: Task) -> bool:
        """Find out whether a run ended its process or only shared its fate. False: the task is to be tried again."""
        job = _unsettled(task, self.settings)
        claim = self.claims.get(job.spec) if job is not None else None
        if job is None or claim is None or not (claim.owner.is_dead or self.workers.retries):
            return False  # it had not begun
        if not self.workers.retries:
            text = f"a process died during {job.spec.label}: trying it alone"
            self.console.print(text, highlight=False, markup=False)
            ((_, outcome),) = Processes(1).map(self.work, [task])
            if outcome is not None:
                self.take(task, outcome)
                return True
        job = _unsettled(task, self.settings)
        if job is not None and not self.permit.is_withdrawn:
            with suppress(Held), self.claims.hold(job.spec, evict=claim.token):
                harness.fail(job, self.settings, "its process died each time: killed from outside, or out of memory")
        return False  # what was recorded is read, and what follows in the chain is done

    def wait(self) -> list[Task]:
        """Wait until runs of other commands are free: ended, given up, or their owners dead. Returns their tasks."""
        owners = {str(c.owner) for task in self.held if (c := self.claims.get(task.jobs[0].spec))}
        if owners - self.awaited:
            text = f"waiting for {len(self.held)} chains held by {', '.join(sorted(owners))} (Ctrl-C leaves them to it)"
            self.console.print(text, highlight=False, markup=False)
        self.awaited |= owners
        while not self.permit.is_withdrawn:
            looks = [(task, self.freed(task)) for task in self.held]
            if any(freed for _, freed in looks):
                self.held = [task for task, freed in looks if freed is None]
                return [freed for _, freed in looks if freed is not None]
            time.sleep(POLL)
        return []

    def freed(self, task: Task) -> Task | None:
        """The task if nobody does it any more, with the token to evict of an owner on another machine."""
        spec = task.jobs[0].spec
        claim, touched, now = self.claims.get(spec), self.claims.touched(spec), time.monotonic()
        if claim is None or claim.owner.is_dead:
            return task
        before, since = self.touches.get(spec.hash, (None, now))
        if claim.owner.is_here or before != touched:
            self.touches[spec.hash] = (touched, now)
            return None
        return replace(task, evict=claim.token) if now - since > claims.STALE_AFTER else None


def _claims(settings: harness.Settings) -> Claims:
    return Claims(settings.store.folder / "claims")


def _run_chain(task: Task, settings: harness.Settings, permit: Permit) -> Outcome:
    """Run a chain in order. A job whose upstream failed fails with a line that says so."""
    records: list[RunRecord] = []
    with _ONE_RUN_A_PROCESS:
        try:
            for job, stamp in zip(task.jobs, task.stamps, strict=True):
                record = _settled(job, stamp, settings)
                if record is None:
                    if permit.is_withdrawn:
                        raise harness.Stopped
                    evict = "" if records else task.evict
                    record = _run_one(job, stamp, evict, settings, permit)
                records.append(record)
        except harness.Stopped:
            return Outcome(tuple(records))
        except Held:
            return Outcome(tuple(records), is_held=True)
        except CannotWrite as error:
            return Outcome(tuple(records), fault=str(error))
    return Outcome(tuple(records))


def _run_one(job: Job, stamp: Stamp | None, evict: str, settings: harness.Settings, permit: Permit) -> RunRecord:
    with _claims(settings).hold(job.spec, evict=evict) as report:
        # Another command may have ended it between the look into the store and the claim.
        record = _settled(job, stamp, settings)
        return record or harness.execute(job, settings, report, lambda: permit.is_withdrawn)


def _settled(job: Job, stamp: Stamp | None, settings: harness.Settings) -> RunRecord | None:
    """The record, if the run need not be done: it is done, or another process ended it while this command ran."""
    try:
        record = settings.store.get(job.spec)
    except DamagedFile:
        return None
    if record is None or settings.store.stamp(job.spec) != stamp:
        return record
    return record if record.status is Status.DONE and not settings.redo else None


def _unsettled(task: Task, settings: harness.Settings) -> Job | None:
    """The first job of the task that is to be done."""
    pairs = zip(task.jobs, task.stamps, strict=True)
    return next((job for job, stamp in pairs if _settled(job, stamp, settings) is None), None)


@contextmanager
def _withdrawn_on_sigterm(permit: Permit) -> Iterator[None]:
    """Make the first SIGTERM withdraw the permit. The second ends the process as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def withdraw(number: int, frame: object) -> None:  # noqa: ARG001
        permit.withdraw()
        signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, withdraw)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
