"""Where work runs: in this process, in processes of this machine (loky), or on a cluster (dask.distributed).

All three hand back each task with its result as it ends, in any order; a task whose process died comes back with None.
This module imports nothing heavy, so that a new worker process ignores Ctrl-C from its first moments on.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from benchmarks.errors import UserError

CONNECT = 30
"""Seconds to wait for a scheduler's answer."""
LISTEN = 0.2
"""Seconds between looks for Ctrl-C."""

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers(ABC):
    """Something that works through tasks."""

    retries: ClassVar[bool] = False
    """Whether a task whose process died was already tried again elsewhere before it comes back with None."""

    @abstractmethod
    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | None]]:
        """Each task with its result. What ``work`` raises is raised here."""

    def kill(self) -> None:  # noqa: B027 - nothing to kill by default
        """Give up what is running."""

    def close(self) -> None:  # noqa: B027 - nothing to close by default
        """Let go of what is needed no more."""


class Here(Workers):
    """This process, one task after the other."""

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | None]]:
        """See ``Workers``."""
        for task in tasks:
            yield task, work(task)


class Processes(Workers):
    """Processes of this machine.

    Args:
        jobs: how many.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.begun = False

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | None]]:
        """See ``Workers``. When one process dies, loky ends them all."""
        from joblib.externals.loky import get_reusable_executor
        from joblib.externals.loky.process_executor import BrokenProcessPool

        tasks = list(tasks)
        if not tasks:
            return
        executor = get_reusable_executor(max_workers=self.jobs, timeout=60, initializer=begin_process)
        self.begun = True
        yield from _collect(executor, work, tasks, BrokenProcessPool)

    def kill(self) -> None:
        """End the processes at once."""
        from joblib.externals.loky import get_reusable_executor

        # Without `reuse`, loky waits for what these processes are doing and hands out new ones.
        if self.begun:
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)

    def close(self) -> None:
        """End them once they are idle: joblib, used later in this process, would take the pool for one of its own."""
        from joblib.externals.loky import get_reusable_executor

        if self.begun:
            get_reusable_executor(reuse=True).shutdown()


class Cluster(Workers):
    """The workers of a dask scheduler, which gives the tasks of a dead worker to another.

    Args:
        address: of the scheduler, such as ``tcp://node7:8786``.

    Raises:
        UserError: dask is not installed, nothing answers there, or a worker has several threads.
    """

    retries = True

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise UserError("--dask-scheduler needs dask: pip install 'balenas-bench[cluster]'") from None
        try:
            self.client = Client(address, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"no dask scheduler answers at {address} ({reason}): start one with `dask scheduler`"
            ) from None
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["nthreads"] != 1 for worker in workers):
            self.client.close()
            raise UserError(f"a worker of {address} has several threads: start workers with --nthreads 1")
        self._executor: Executor = self.client.get_executor(pure=False)

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | None]]:
        """See ``Workers``."""
        from distributed import KilledWorker

        yield from _collect(self._executor, work, tasks, KilledWorker)

    def kill(self) -> None:
        """Take back what has not begun."""
        self._executor.shutdown(wait=False)

    def close(self) -> None:
        """Leave the cluster."""
        self.client.close()


def _collect(
    executor: Executor, work: Callable[[Task], Result], tasks: Iterable[Task], died: type[Exception]
) -> Iterator[tuple[Task, Result | None]]:
    with _interrupts_wait() as check:
        futures = {executor.submit(work, task): task for task in tasks}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=LISTEN, return_when=FIRST_COMPLETED)
            check()
            for future in done:
                error = future.exception()
                if error is not None and not isinstance(error, died):
                    raise error
                yield futures[future], None if error is not None else future.result()
                check()


@contextmanager
def _interrupts_wait() -> Iterator[Callable[[], None]]:
    """Inside the block Ctrl-C raises ``KeyboardInterrupt`` where the yielded function is called; a second one at once.

    Raised anywhere, it could leave a lock of a future locked, for which the pool's own thread would wait for ever.
    """
    asked = threading.Event()

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield check  # where it is ignored, as in the background, it stays so
        return

    def ask(number: int, frame: object) -> None:  # noqa: ARG001
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def begin_process() -> None:
    """Set a worker process up: Ctrl-C and SIGTERM reach the whole group, but what they mean the parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    take_device(_number())


def take_device(number: int) -> int | None:
    """Make a GPU the default of this process, worker after worker in turn.

    Args:
        number: the worker's, from 1.

    Returns:
        The GPU, or None where there is none.
    """
    import torch

    devices = torch.cuda.device_count()
    if not devices:
        return None
    device = (number - 1) % devices
    torch.cuda.set_device(device)
    return device


def _number() -> int:
    name: Any = multiprocessing.current_process().name  # LokyProcess-3
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 1
