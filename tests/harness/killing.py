"""A driver that imports the suite once, then forks processes that do what ``benchmarks.run`` does and kills them.

python -m tests.harness.killing FOLDER KILLS METHOD ...

The driver does the plan once undisturbed (``FOLDER/whole``) and once in children (``FOLDER/killed``) that SIGKILL ends:
at a random moment, or just before or just after a random file operation, where half-written files would come from. A
child that is not killed soon enough finishes the plan. While there were too few kills, the next seed is begun. All
moments are drawn from a fixed seed. Prints the seeds done and the number of kills.

Every checkpoint's state is noted as a digest of all digits, under ``FOLDER/states-*``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import check, files, harness, run
from benchmarks.spec import Method, Trace


def note_states(file: Path) -> None:
    """Append (run, epoch, digest of the state) to a file at every checkpoint of this process."""
    save = harness.Checkpoint.save

    def noting(self: harness.Checkpoint, method: Method, rows: list[Trace], facts: dict[str, Any]) -> None:
        digest = hashlib.sha256(check._state(method).encode()).hexdigest()
        with file.open("a") as notes:
            notes.write(json.dumps([self.spec.label, rows[-1]["epoch"], digest]) + "\n")
        save(self, method, rows, facts)

    harness.Checkpoint.save = noting  # type: ignore[method-assign]


def die_at(operation: int) -> None:
    """Make this process kill itself around its n-th file operation: even n before the n/2-th fsync, odd n after it."""
    count = 0
    fsync = os.fsync

    def counting(descriptor: int) -> None:
        nonlocal count
        if count == operation:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)
        if count + 1 == operation:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 2

    files.os.fsync = counting


def in_child(work: Callable[..., int], *arguments: object) -> int:
    """Fork. Returns the child's number."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os._exit(work(*arguments))
        os._exit(99)
    return child


def wait_or_kill(child: int, seconds: float) -> int:
    """Wait for a child and end it by SIGKILL if that takes too long. Returns its wait status."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(0.002)


def main(folder: Path, kills: int, methods: list[str]) -> None:
    rng = random.Random(20211)
    arguments = ["--methods", *methods, "--spaces", "nas-bench-201", "--tier", "smoke", "--jobs", "1"]

    def command(name: str, seed: int, operation: int | None = None) -> int:
        sys.stdout = sys.stderr
        note_states(folder / f"states-{name}")
        if operation is not None:
            die_at(operation)
        return run.main([*arguments, "--seeds", f"{seed},", "--output", str(folder / name)])

    run.main([*arguments, "--seeds", "99,", "--output", str(folder / "warm")])  # so that children find all loaded
    killed = seed = 0
    while killed < kills:
        assert wait_or_kill(in_child(command, "whole", seed), 60) == 0
        status = signal.SIGKILL
        while status == signal.SIGKILL:
            if rng.random() < 0.5:
                status = wait_or_kill(in_child(command, "killed", seed), rng.uniform(0.02, 0.8))
            else:
                status = wait_or_kill(in_child(command, "killed", seed, rng.randrange(20)), 60)
            killed += status == signal.SIGKILL
        assert status == 0, status
        seed += 1
    print(json.dumps({"seeds": seed, "kills": killed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
