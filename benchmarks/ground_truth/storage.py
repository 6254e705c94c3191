"""Tables on disk: one Parquet file a benchmark, with its provenance and a checksum in the footer.

An accuracy is stored as a number of correctly classified images, an integer: of the group's ``images`` for a single
training, summed over the group's ``runs`` trainings in a ``mean`` column. So every published digit comes back, and
means can be checked against their parts. A fact that is not known is null.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
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
        """Values of a column, shape ``[rows]``; a numeric column with nulls becomes float64 with NaN."""
        values, missing = _decode(self.data.column(name))
        return values if missing is None else np.where(missing, np.nan, values)


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", compression_level=19, write_page_checksum=True)
        write_atomically(path, sink.getvalue().to_pybytes())
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path} ({reason}): choose a writable folder with space") from None
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
        intact = digest == footer["sha256"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} has a damaged or foreign footer: {_MEND}") from None
    if not intact:
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
        values, missing = _decode(table.column(name))
        digest.update(f"\n{name} {table.column(name).type} {len(values)}\n".encode())
        if missing is not None:
            digest.update(missing.tobytes())
            values = values[~missing]
        digest.update(values.tobytes())
    return digest.hexdigest()


def _decode(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray | None]:
    """Raw values and, where there are nulls, a mask of them.

    Read from Arrow's buffers, because ``to_numpy`` would import pandas: a quarter of a second and 50 MB.
    """
    array = column.combine_chunks()
    if pa.types.is_fixed_size_binary(array.type):
        dtype = np.dtype(f"V{array.type.byte_width}")
    elif pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        dtype = np.dtype(array.type.to_pandas_dtype())
    else:
        raise TypeError(f"columns are numbers or fixed-size bytes, not {array.type}")
    validity, data = array.buffers()
    span = slice(array.offset, array.offset + len(array))
    values = np.frombuffer(data, dtype)[span]
    if not array.null_count:
        return values, None
    return values, np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[span] == 0


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
        runs = _decode(table.column(group.runs))[0].astype(np.int64) if isinstance(group.runs, str) else group.runs
        most = group.images * (runs if isinstance(measure.reduction, Mean) else 1)
        counts, missing = _decode(table.column(name))
        wrong = (counts < 0) | (counts > most)
        if bool(np.any(wrong if missing is None else wrong & ~missing)):
            return f"{name} has counts outside 0 to its number of images"
    return None
