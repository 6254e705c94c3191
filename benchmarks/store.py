"""The results store: one Parquet file a run, written atomically, checked when read.

    <folder>/<tier>/<space>/<method>/seed-<n>-<hash>.parquet

A file holds a row an epoch; its footer holds the spec, the status, the run-level facts, the schema version and a
checksum of the rows. Readers of older schema versions stay here, and a fixture in the tests proves them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.spec import RunRecord, RunSpec, Status, Value

SCHEMA_VERSION = 1
_FOOTER = b"balenas-bench"
_MARKER = "RESULTS-STORE.json"


class DamagedFile(UserError):
    """A result file that cannot be read as one."""


@dataclass(frozen=True)
class Store:
    """A folder of runs.

    Attributes:
        folder: created on first write; it must be empty, new, or a store.
    """

    folder: Path

    def open(self) -> Store:
        """Create the folder if need be and mark it as a store. Raises ``UserError`` for a foreign or unwritable one."""
        marker = self.folder / _MARKER
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"output {self.folder} is a file: name a new folder or an existing results folder")
        if self.folder.is_dir() and not marker.exists() and any(self.folder.iterdir()):
            raise UserError(
                f"output {self.folder} holds files that are not ours: name a new folder or a results folder"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                write_atomically(marker, json.dumps({"schema_version": SCHEMA_VERSION}).encode() + b"\n")
            elif not os.access(self.folder, os.W_OK):
                raise PermissionError(13, "read-only")
        except OSError as error:
            raise UserError(
                f"cannot write to output {self.folder} ({error.strerror}): choose a writable folder"
            ) from None
        return self

    def path(self, spec: RunSpec) -> Path:
        """Where the run's file is, or will be."""
        method = spec.method.replace(":", ".")
        return self.folder / spec.budget.tier / spec.space / method / f"seed-{spec.seed}-{spec.hash[:12]}.parquet"

    def get(self, spec: RunSpec) -> RunRecord | None:
        """The record of exactly this spec, or None."""
        path = self.path(spec)
        if not path.exists():
            return None
        record = read(path)
        return record if record.spec.hash == spec.hash else None

    def append(self, record: RunRecord) -> Path:
        """Write the record, replacing an earlier one of the same spec."""
        path = self.path(record.spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode(record))
        return path

    def files(self) -> list[Path]:
        """All run files in a stable order."""
        return sorted(self.folder.rglob("seed-*.parquet"))

    def records(self) -> Iterator[RunRecord]:
        """All runs. A damaged file raises ``DamagedFile``."""
        return map(read, self.files())


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
    """Read and verify a run file. Raises ``DamagedFile`` with one line."""
    try:
        table = pq.ParquetFile(path).read()
        footer = json.loads((table.schema.metadata or {})[_FOOTER])
        version, content = footer["schema_version"], footer["content"]
        intact = footer["sha256"] == _digest(content, table)
        spec = RunSpec.from_json(json.dumps(content["spec"]))
        status = Status(content["status"])
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DamagedFile(f"{path} is not a readable run file ({reason}): move it away and run again") from None
    if version > SCHEMA_VERSION:
        raise DamagedFile(f"{path} has schema version {version}, newer than {SCHEMA_VERSION}: update the suite")
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
        upstream`` and followed by the budget (``budget.*``), the config (``config.*``) and the facts (``facts.*``). The
        same run in two folders counts once. Failed runs have their last row, if any, and their status.
    """
    seen: dict[str, list[dict[str, Any]]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"no results folder {folder}: run python -m benchmarks.run first, or name one with --results"
            )
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
            tail |= {f"facts.{k}": v for k, v in record.facts.items() if not isinstance(v, Mapping | list)}
            rows: Sequence[Mapping[str, Value]] = record.rows[-1:] if final else record.rows
            seen.setdefault(record.spec.hash, [keys | dict(row) | tail for row in rows or ({},)])
    return pd.DataFrame([row for rows in seen.values() for row in rows])


def _digest(content: Mapping[str, Any], table: pa.Table) -> str:
    """SHA-256 over what a file says: spec, status, facts and every value of the rows."""
    text = json.dumps([content, table.column_names, table.to_pylist()], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
