"""Who is doing which run: one claim file a run, so that commands on one results folder share the work.

A claim names its owner by machine, process number and the moment that process started, so a number that the system
gave to another process is not taken for the owner. On the owner's machine a claim is stale when that process is gone.
From another machine nothing is known but the file: its owner touches it every few seconds, and who sees it untouched
for long enough *by a clock of their own that never jumps* may evict it. Reading, judging and replacing a claim happen
under one file lock, so that of two who find the same stale claim one gets it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from benchmarks.files import CannotWrite, locked, save
from benchmarks.spec import RunSpec

BEAT = 10.0
"""Seconds between touches of a claim by its owner."""
STALE_AFTER = 120.0
"""Seconds without a touch after which the claim of another machine may be evicted."""


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: name of its machine, to be read by people.
        machine: host, boot and process namespace, within which a process number means something.
        pid: process number.
        born: when the process started, in ticks since boot; empty where the system does not tell.
    """

    host: str
    machine: str
    pid: int
    born: str

    @classmethod
    def this(cls) -> Owner:
        """The calling process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _born(os.getpid()) or "")

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be gone. False for processes of other machines, of which nothing is known."""
        return self.is_here and _born(self.pid) != self.born

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True)
class Claim:
    """What a claim file says.

    Attributes:
        label: the run, for people.
        owner: the process that does it.
        token: tells two claims of one process apart.
        epoch: epochs done.
        epochs: epochs in all, 0 while it starts.
        since: wall-clock seconds at which the run was begun or continued, for people.
    """

    label: str
    owner: Owner = field(default_factory=Owner.this)
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    epoch: int = 0
    epochs: int = 0
    since: float = field(default_factory=lambda: time.time())


class Held(Exception):
    """Another process is doing the run."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim)
        self.claim = claim


@dataclass(frozen=True)
class Claims:
    """The claims of a results folder.

    Attributes:
        folder: where the files are; made on the first claim.
    """

    folder: Path

    def path(self, spec: RunSpec) -> Path:
        """Where the claim on a run is, if there is one."""
        return self.folder / f"{spec.hash}.json"

    def get(self, spec: RunSpec) -> Claim | None:
        """The claim on a run, whether its owner lives or not. A damaged file claims nothing."""
        return _read(self.path(spec))

    def touched(self, spec: RunSpec) -> int | None:
        """Changes whenever the owner shows that it lives; None where there is no claim."""
        try:
            return self.path(spec).stat().st_mtime_ns
        except OSError:
            return None

    def all(self) -> dict[str, Claim]:
        """Claims by spec hash."""
        found = {path.stem: _read(path) for path in sorted(self.folder.glob("*.json"))}
        return {spec_hash: claim for spec_hash, claim in found.items() if claim is not None}

    @contextmanager
    def hold(self, spec: RunSpec, *, evict: str = "") -> Iterator[Callable[[int, int], None]]:
        """Claim a run for the block.

        Args:
            spec: the run.
            evict: token of a claim that was seen untouched for ``STALE_AFTER`` seconds.

        Yields:
            A function to be called with (epoch, epochs) as epochs end. It raises ``Held`` where the claim was evicted
            meanwhile, as may happen to a machine that slept.

        Raises:
            Held: another process has the run.
            CannotWrite: the folder cannot be written.
        """
        path, mine = self.path(spec), Claim(spec.label)

        def put(claim: Claim) -> None:
            save(path, json.dumps(asdict(claim)).encode())

        with locked(self.folder):
            other = _read(path)
            if other is not None and not other.owner.is_dead and other.token != evict:
                raise Held(other)
            put(mine)

        def report(epoch: int, epochs: int) -> None:
            with locked(self.folder):
                now = _read(path)
                if now is not None and now.token != mine.token:
                    raise Held(now)
                put(replace(mine, epoch=epoch, epochs=epochs))

        released = threading.Event()

        def touch() -> None:
            while not released.wait(BEAT):
                now = _read(path)
                if now is not None and now.token == mine.token:
                    with suppress(OSError):
                        os.utime(path)

        threading.Thread(target=touch, daemon=True).start()
        try:
            yield report
        finally:
            released.set()
            with suppress(OSError, CannotWrite), locked(self.folder):
                now = _read(path)
                if now is not None and now.token == mine.token:
                    path.unlink()


@dataclass(frozen=True)
class Permit:
    """A command's leave for its workers to go on, as a file, so that it reaches workers on any machine.

    Taken away, or its command gone, every worker finishes its epoch, writes a checkpoint and stops. Taking away works
    on a full disk, where leaving a note would not.

    Attributes:
        path: the file.
        owner: the command.
    """

    path: Path
    owner: Owner

    @classmethod
    @contextmanager
    def given(cls, folder: Path) -> Iterator[Permit]:
        """A permit for the block, under ``folder``. Permits of commands that are gone are swept up."""
        permit = cls(folder / f"{secrets.token_hex(8)}.json", Owner.this())
        with locked(folder):
            for path in folder.glob("*.json"):
                with suppress(OSError, ValueError, TypeError):
                    if Owner(**json.loads(path.read_bytes())).is_dead:
                        path.unlink()
            save(permit.path, json.dumps(asdict(permit.owner)).encode())
        try:
            yield permit
        finally:
            permit.withdraw()

    def withdraw(self) -> None:
        """Ask the workers to stop."""
        with suppress(OSError):
            self.path.unlink()

    @property
    def is_withdrawn(self) -> bool:
        """Whether to stop."""
        return not self.path.exists() or self.owner.is_dead


def _read(path: Path) -> Claim | None:
    try:
        fields = json.loads(path.read_bytes())
        return Claim(**{**fields, "owner": Owner(**fields["owner"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


@cache
def _machine() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    return " ".join(parts)


def _born(pid: int) -> str | None:
    """When a process started, in ticks since boot, which no change of the clock moves; None where there is none."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # a zombie works no more
