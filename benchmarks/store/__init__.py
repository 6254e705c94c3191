"""The results store: one Parquet file a run, written atomically, checked when read.

    <folder>/<tier>/<space>/<method>/seed-<n>-<hash>.parquet     a run
    <folder>/checkpoints/  claims/  commands/  logs/  plans/  damaged/  replaced/    while and beside running

A file holds a row an epoch; its footer holds the spec, the status, the run-level facts, the schema version and a
checksum of the rows. Readers of older schema versions stay here, and a fixture in the tests proves them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import UserError
from benchmarks.files import cannot_write, locked, prepare, save
from benchmarks.spec import RunRecord, RunSpec, Status, Value

SCHEMA_VERSION = 1
DEFAULT = Path("results/runs")
"""The store of commands that name none."""
_FOOTER = b"balenas-bench"
_MARKER = "RESULTS-STORE.json"
_LONGEST_NAME = 120  # of the 255 bytes that file systems give, less what stands around it in a log's name


Stamp = tuple[int, int]
"""Tells one writing of a file from the next: its number in the file system and its time in ns."""


class DamagedFile(UserError):
    """A result file that cannot be read as one."""


class NewerFile(UserError):
    """A result file of a later version of the suite. It is sound, so it is never moved aside."""


@dataclass(frozen=True)
class Store:
    """A folder of runs.

    Attributes:
        folder: created on first write; it must be empty, new, or a store.
    """

    folder: Path

    def check(self) -> None:
        """Raise ``UserError`` where ``open`` would for a file or a foreign folder. Writes nothing."""
        marker = self.folder / _MARKER
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"output {self.folder} is a file: name a new folder or an existing results folder")
        # Listed before the marker is looked for: another command may be making the store.
        foreign = self.folder.is_dir() and not all(map(_is_beginning, list(self.folder.iterdir())))
        if foreign and not marker.exists():
            raise UserError(
                f"output {self.folder} holds files that are not ours: name a new folder or a results folder"
            )

    def open(self) -> Store:
        """Create the folder if need be and mark it as a store. Raises ``UserError``, which may be ``CannotWrite``."""
        self.check()
        marker = self.folder / _MARKER
        prepare(self.folder)
        if not marker.exists():
            with locked(self.folder):
                save(marker, json.dumps({"schema_version": SCHEMA_VERSION}).encode() + b"\n")
        return self

    def must_exist(self) -> None:
        """Raise ``UserError`` where there is no such folder, or it is no store."""
        if not (self.folder / _MARKER).exists() and next(iter(self.files()), None) is None:
            below = sorted(str(path.parent) for path in self.folder.glob(f"*/{_MARKER}"))
            mend = f"did you mean {' or '.join(below)}?" if below else "name one that python -m benchmarks.run wrote"
            raise UserError(f"no results folder {self.folder}: {mend}")

    def path(self, spec: RunSpec) -> Path:
        """Where the run's file is, or will be."""
        folder = self.folder / spec.budget.tier / spec.space / _name(spec.method)
        return folder / f"seed-{spec.seed}-{spec.hash[:12]}.parquet"

    def checkpoint(self, spec: RunSpec) -> Path:
        """Where the state of the unfinished run is."""
        return self.folder / "checkpoints" / f"{spec.hash}.pt"

    def log(self, spec: RunSpec) -> Path:
        """Where the run's log is."""
        name = f"{_name(spec.method)}-{spec.space}-{spec.budget.tier}-seed-{spec.seed}-{spec.hash[:12]}.log"
        return self.folder / "logs" / name

    def get(self, spec: RunSpec) -> RunRecord | None:
        """The record of exactly this spec, or None. A damaged file raises ``DamagedFile``."""
        path = self.path(spec)
        if not path.exists():
            return None
        record = read(path)
        return record if record.spec.hash == spec.hash else None

    def recover(self, spec: RunSpec, warn: Callable[[str], None]) -> RunRecord | None:
        """``get``, but a damaged file is moved aside with a line to ``warn`` and counts as none.

        Only for who holds the claim on the run: nobody else may be writing the file.
        """
        try:
            return self.get(spec)
        except DamagedFile as error:
            self.set_aside(self.path(spec), str(error), warn)
            return None

    def set_aside(self, path: Path, reason: str, warn: Callable[[str], None]) -> None:
        """Move a damaged file of this store into its folder ``damaged``, under a name that is free."""
        folder = self.folder / "damaged"
        target, number = folder / path.name, 1
        try:
            folder.mkdir(exist_ok=True)
            while target.exists():
                number += 1
                target = folder / f"{path.name}.{number}"
            path.replace(target)
        except OSError as error:
            raise cannot_write(target, error) from None
        warn(f"{reason.partition(': move')[0]}; moved to {target}, and what it held is done again")

    def keep_finished(self, spec: RunSpec) -> Path | None:
        """Copy the run's file, if it is a finished one, to the same path below ``replaced``, for a failed one comes."""
        path = self.path(spec)
        with suppress(DamagedFile):
            record = self.get(spec)
            if record is not None and record.status is Status.DONE:
                target = self.folder / "replaced" / path.relative_to(self.folder)
                save(target, path.read_bytes())
                return target
        return None

    def sweep(self, spec: RunSpec) -> None:
        """Remove what a killed process left half written of this run. Only for who holds the claim on it."""
        for path in (self.path(spec), self.checkpoint(spec)):
            for temporary in path.parent.glob(f".{path.name}.*.tmp"):
                temporary.unlink(missing_ok=True)

    def stamp(self, spec: RunSpec) -> Stamp | None:
        """Changes when the run is written again; None where it is not in the store."""
        try:
            status = self.path(spec).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def append(self, record: RunRecord) -> Path:
        """Write the record, replacing an earlier one of the same spec. Raises ``CannotWrite``."""
        path = self.path(record.spec)
        save(path, encode(record))
        return path

    def files(self) -> list[Path]:
        """All run files in a stable order."""
        return sorted(self.folder.glob("*/*/*/seed-*.parquet"))

    def records(self) -> Iterator[RunRecord]:
        """All runs. A damaged file raises ``DamagedFile``."""
        return map(read, self.files())

    def scan(self) -> Iterator[tuple[Path, RunRecord | UserError]]:
        """All files, each with its run or with what is wrong with it."""
        for path in self.files():
            try:
                yield path, read(path)
            except UserError as error:
                yield path, error

    def remember(self, specs: Sequence[RunSpec]) -> None:
        """Keep what a command set out to do, so that ``benchmarks.status`` can tell what is missing."""
        text = "".join(sorted(f"{spec.to_json()}\n" for spec in specs))
        path = self.folder / "plans" / f"{hashlib.sha256(text.encode()).hexdigest()}.jsonl"
        with locked(path.parent):
            if not path.exists():
                save(path, text.encode())

    def planned(self) -> dict[str, RunSpec]:
        """What commands set out to do, by spec hash. A damaged plan is left out: a plan is no result."""
        found: dict[str, RunSpec] = {}
        for path in sorted(self.folder.glob("plans/*.jsonl")):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == path.stem:
                with suppress(TypeError):  # of a version whose budgets had other fields
                    found |= {spec.hash: spec for spec in map(RunSpec.from_json, data.decode().splitlines())}
        return found


def encode(record: RunRecord) -> bytes:
    """The bytes of a run file."""
    keys = dict.fromkeys(key for row in record.rows for key in row)
    table = pa.table({key: [row.get(key) for row in record.rows] for key in keys})
    content = {
        "spec": json.loads(record.spec.to_json()),
        "status": record.status.value,
        "message": record.message,
        "facts": dict(record.facts),
    }
    footer = {"schema_version": SCHEMA_VERSION, "content": content, "sha256": _digest(content, table)}
    table = table.replace_schema_metadata({_FOOTER: json.dumps(footer, sort_keys=True).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def read(path: Path) -> RunRecord:
    """Read and verify a run file. Raises ``DamagedFile`` or ``NewerFile`` with one line."""
    try:
        table = pq.ParquetFile(path).read()
        footer = json.loads((table.schema.metadata or {})[_FOOTER])
        version, content = int(footer["schema_version"]), footer["content"]
        if version > SCHEMA_VERSION:
            raise NewerFile(f"{path} has schema version {version}, newer than {SCHEMA_VERSION}: update the suite")
        intact = footer["sha256"] == _digest(content, table)
        spec = RunSpec.from_json(json.dumps(content["spec"]))
        status = Status(content["status"])
    except PermissionError:
        raise UserError(f"{path} may not be read: mend its permissions") from None
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DamagedFile(f"{path} is not a readable run file ({reason}): move it away and run again") from None
    if not intact:
        raise DamagedFile(f"{path} does not match its checksum: move it away and run again")
    return RunRecord(spec, status, content["message"], tuple(table.to_pylist()), content["facts"])


def frame(folders: Sequence[Path], *, final: bool = True) -> pd.DataFrame:
    """The runs of several stores as one frame, for analysis.

    Args:
        folders: store folders; a missing one raises ``UserError``.
        final: the last epoch of each run only; else a row an epoch.

    Returns:
        The trace columns, preceded by ``method, space, seed, tier, data, images, numerics, status, message, spec_hash,
        upstream`` and followed by the budget (``budget.*``), the config (``config.*``), the way of computing
        (``compute.*``) and the facts (``facts.*``). The same run in two folders counts once, and as finished where one
        of them has it finished. Failed runs have their last row, if any, and their status.
    """
    seen: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        Store(folder).must_exist()
        for record in Store(folder).records():
            keys = {
                "method": record.spec.method,
                "space": record.spec.space,
                "seed": record.spec.seed,
                "tier": record.spec.budget.tier,
                "data": record.spec.budget.data,
                "images": record.spec.images,
                "numerics": record.spec.numerics,
                "status": record.status.value,
                "message": record.message,
                "spec_hash": record.spec.hash,
                "upstream": record.spec.upstream,
            }
            tail = {f"budget.{k}": v for k, v in asdict(record.spec.budget).items()}
            tail |= {f"config.{k}": v for k, v in record.spec.config.items()}
            tail |= {f"compute.{k}": v for k, v in asdict(record.spec.compute).items()}
            tail |= {f"facts.{k}": v for k, v in record.facts.items() if not isinstance(v, Mapping | list)}
            rows: Sequence[Mapping[str, Value]] = record.rows[-1:] if final else record.rows
            found = [keys | dict(row) | keys | tail for row in rows or ({},)]
            held = seen.setdefault(record.spec.hash, found)
            if held[0]["status"] != Status.DONE.value == record.status.value:
                seen[record.spec.hash] = found
    return pd.DataFrame([row for rows in seen.values() for row in rows])


def _name(method: str) -> str:
    """A method as the name of one folder: what a file system could stumble over encoded, and what is long cut."""
    name = quote(method.replace(":", "."), safe="@=,+")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{hashlib.sha256(method.encode()).hexdigest()[:12]}"
    return name


def _is_beginning(path: Path) -> bool:
    """Whether a file is what a process leaves that was killed while it made a store."""
    return path.name == ".lock" or path.match(f".{_MARKER}.*.tmp")


def _digest(content: Mapping[str, Any], table: pa.Table) -> str:
    """SHA-256 over what a file says: spec, status, facts and every value of the rows."""
    text = json.dumps([content, table.column_names, table.to_pylist()], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
