"""Tables on disk: one Parquet file a benchmark, with its provenance and a checksum in the footer.

An accuracy is stored as a number of correctly classified images, an integer: of the group's ``images`` for a single
training, summed over the group's ``runs`` trainings in a ``mean`` column. So every published digit comes back, and means
can be checked against their parts. A fact that is not known is null.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import UserError
from benchmarks.ground_truth.measures import Mean, Measure

SCHEMA_VERSION = 1
_FOOTER = b"balenas-bench ground truth"
_MEND = "reinstall the package, or build or import the table again (python -m benchmarks.ground_truth --help)"


@dataclass(frozen=True)
class Group:
    """What the accuracy columns of one data set, split and epoch budget have in common.

    Attributes:
        images: images in the split, the denominator of a single training's count.
        runs: trainings of each architecture, or the name of the integer column that says how many.
    """

    images: int
    runs: int | str


@dataclass(frozen=True)
class Column:
    """Where a column comes from.

    Attributes:
        meaning: what a value is, with its unit.
        source: who published it, and how it was derived.
        licence: licence of the source.
    """

    meaning: str
    source: str
    licence: str


@dataclass(frozen=True)
class Provenance:
    """All that a table says about itself.

    Attributes:
        benchmark: ``nas-bench-201`` or ``nas-bench-1shot1``.
        release: which release of the benchmark the numbers are.
        build: the command that made the table.
        groups: for every accuracy column's group (``cifar10_test_200``), its denominators.
        columns: for every column, where it comes from.
    """

    benchmark: str
    release: str
    build: str
    groups: Mapping[str, Group] = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTable:
    """A verified table in memory.

    Attributes:
        provenance: what the file says about itself.
        data: the columns.
        digest: SHA-256 over provenance and values in hex; equal digests mean equal facts.
        path: the file.
    """

    provenance: Provenance
    data: pa.Table
    digest: str
    path: Path

    def column(self, name: str) -> np.ndarray:
        """Values of a column as an array, shape ``[rows]``; a numeric column with nulls becomes float64 with NaN."""
        return np.asarray(self.data.column(name).combine_chunks().to_numpy(zero_copy_only=False))


def write(path: Path, columns: Mapping[str, np.ndarray | pa.Array], provenance: Provenance) -> StoredTable:
    """Check and write a table; at any moment ``path`` holds the old file, none, or the whole new one.

    Args:
        path: where to; the folder is created if need be.
        columns: equally long arrays in the order of the file; use a ``pyarrow.Array`` for nulls and bytes. Accuracy
            columns are integer counts as the module says.
        provenance: describes every column and every group of accuracy columns.

    Returns:
        The table, read back from the file.

    Raises:
        UserError: the folder cannot be written.
        ValueError: the columns contradict the provenance.
    """
    table = pa.table(dict(columns))
    if problem := _contradiction(table, provenance):
        raise ValueError(f"{path.name}: {problem}")
    footer = {
        "schema": SCHEMA_VERSION,
        "provenance": dataclasses.asdict(provenance),
        "sha256": _digest(table, provenance),
    }
    table = table.replace_schema_metadata({_FOOTER: json.dumps(footer, sort_keys=True).encode()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", compression_level=19, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): choose a writable folder with space"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return read(path)


def read(path: Path) -> StoredTable:
    """Read and verify a table.

    Raises:
        UserError: the file is missing, damaged, truncated, or not a table of ours; the message names it and the mend.
    """
    if not path.is_file():
        raise UserError(f"no ground-truth table {path}: {_MEND}")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            metadata = file.schema_arrow.metadata or {}
            table = file.read(use_threads=False).replace_schema_metadata(None) if _FOOTER in metadata else None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"{path} is damaged or truncated ({reason}): {_MEND}") from None
    if table is None:
        raise UserError(f"{path} is a Parquet file but not a ground-truth table of this suite: {_MEND}")
    try:
        footer = json.loads(metadata[_FOOTER])
        if footer["schema"] != SCHEMA_VERSION:
            raise UserError(f"{path} has table schema {footer['schema']}, this suite reads {SCHEMA_VERSION}: {_MEND}")
        provenance = _provenance(footer["provenance"])
        digest = _digest(table, provenance)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} has a damaged or foreign footer: {_MEND}") from None
    if digest != footer["sha256"]:
        raise UserError(f"{path} does not match its checksum, so it is damaged: {_MEND}")
    if problem := _contradiction(table, provenance):
        raise UserError(f"{path} has the wrong columns ({problem}): {_MEND}")
    return StoredTable(provenance, table, digest, path)


def _provenance(fields: dict[str, Any]) -> Provenance:
    groups = {name: Group(**group) for name, group in fields["groups"].items()}
    columns = {name: Column(**column) for name, column in fields["columns"].items()}
    return Provenance(**{**fields, "groups": groups, "columns": columns})


def _digest(table: pa.Table, provenance: Provenance) -> str:
    """SHA-256 over the provenance and, column by column in the order of their names, type, nulls and values."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(provenance), sort_keys=True).encode())
    for name in sorted(table.column_names):
        column = table.column(name).combine_chunks()
        digest.update(f"\n{name} {column.type} {len(column)}\n".encode())
        if column.null_count:
            digest.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False)).tobytes())
            column = column.drop_null()
        if pa.types.is_fixed_size_binary(column.type):
            width = column.type.byte_width
            digest.update(
                memoryview(column.buffers()[1])[column.offset * width : (column.offset + len(column)) * width]
            )
        else:
            digest.update(column.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


def _contradiction(table: pa.Table, provenance: Provenance) -> str | None:
    """What is wrong between columns and provenance, or None."""
    names = set(table.column_names)
    if names != set(provenance.columns) or len(names) != table.num_columns:
        return f"described are {sorted(provenance.columns)}, present are {table.column_names}"
    for name in table.column_names:
        measure = Measure.parse(name)
        if measure is None:
            continue
        if not pa.types.is_integer(table.column(name).type):
            return f"{name} must be an integer count of correct images"
        group = provenance.groups.get(measure.group)
        if group is None or (isinstance(group.runs, str) and group.runs not in names):
            return f"no images and runs are given for {measure.group}"
        runs = np.asarray(table.column(group.runs), np.int64) if isinstance(group.runs, str) else group.runs
        most = group.images * (runs if isinstance(measure.reduction, Mean) else 1)
        counts = table.column(name).to_numpy()
        if bool(np.any((counts < 0) | (counts > most))):
            return f"{name} has counts outside 0 to its number of images"
    return None
