"""The state of an unfinished run on disk: written whole or not at all, and loaded without running what it holds."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks import environment
from benchmarks.files import save
from benchmarks.logs import RunLog
from benchmarks.spec import Method, RunSpec, Trace
from benchmarks.store import Store


class Checkpoint:
    """The state of an unfinished run: a SHA-256, then tensors and plain values whose loading cannot run code."""

    def __init__(self, store: Store, spec: RunSpec, log: RunLog, *, redo: bool = False) -> None:
        self.store, self.spec, self.log, self.redo = store, spec, log, redo
        self.path = store.checkpoint(spec)
        self.resumed = False

    def save(self, method: Method, rows: list[Trace], facts: Mapping[str, Any]) -> None:
        """Write the state after the last of ``rows``, and the facts of the run so far. Raises ``CannotWrite``."""
        beside = {"spec": self.spec.hash, "rows": json.dumps(rows), "facts": json.dumps(facts), "redo": self.redo}
        save(self.path, pack({**beside, "state": method.state_dict()}))

    def restore(self, build: Callable[[], Method], facts: dict[str, Any]) -> tuple[Method, list[Trace]]:
        """The method as it was when saved and the rows so far; a new one and [] where there is nothing to continue.

        A file that is damaged, belongs to another run or does not fit the method is moved aside. With ``redo`` a run
        goes on only from where such a repetition was interrupted.

        Args:
            build: makes a new method.
            facts: of this process; where those of the earlier ones differ, both are kept.
        """
        method = build()
        if not self.path.exists():
            return method, []
        try:
            saved = unpack(self.path.read_bytes())
            if self.redo and not saved.get("redo"):
                self.log.line("starts over, as --redo asks")
                return method, []
            rows = self._load(saved, method)
            earlier: dict[str, Any] = json.loads(saved.get("facts", "{}"))
        except MemoryError:
            raise
        except Exception as error:  # torch.load and a user's load_state_dict may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            self.store.set_aside(self.path, f"checkpoint {self.path} cannot be continued ({reason})", self.log.warn)
            return build(), []
        self.resumed = True
        if differing := [key for key in earlier.keys() & facts.keys() if earlier[key] != facts[key]]:
            self.log.warn(
                f"{self.spec.label} began on another {', '.join(sorted(differing))}: see the facts of its record"
            )
        facts |= environment.joined(earlier, facts)
        self.log.line(f"continues after epoch {len(rows) - 1}")
        return method, rows

    def _load(self, saved: Mapping[str, Any], method: Method) -> list[Trace]:
        if saved["spec"] != self.spec.hash:
            raise ValueError("it belongs to another run")
        rows: list[Trace] = json.loads(saved["rows"])
        method.load_state_dict(saved["state"])
        return rows


def pack(content: Mapping[str, Any]) -> bytes:
    """Tensors and plain values as a file holds them."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def unpack(data: bytes) -> Any:
    """What ``pack`` was given. Raises ``ValueError`` for damage, and what ``torch.load`` raises for other objects."""
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise ValueError("it does not match its checksum")
    return torch.load(io.BytesIO(data[32:]), map_location=_to_this_gpu, weights_only=True)


def _to_this_gpu(storage: Any, location: str) -> Any:
    """What lay on a GPU comes to the one of this process, which may have another number; the rest stays."""
    return storage.cuda() if location.startswith("cuda") else storage
