"""The file of what ``benchmarks.mechanism`` measures: a row a measurement, what it was made with in the footer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.errors import UserError

COLUMNS = ("search", "epoch", "architecture", "quantity", "width", "edge", "operation", "value", "error")
Row = tuple[Any, ...]
_FOOTER = b"balenas-bench mechanism"


def encoded(rows: Sequence[Row], about: dict[str, Any]) -> bytes:
    """Rows of ``COLUMNS`` as a Parquet file with ``about`` in its footer."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("search", "architecture", "quantity", "width", "operation"):
        frame[name] = frame[name].astype("category")
    frame["edge"] = frame["edge"].astype("Int8")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FOOTER: json.dumps(about).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return cast(bytes, sink.getvalue().to_pybytes())


def read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The measurements of a file and what they were made with. Raises ``UserError`` for any other file."""
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[_FOOTER])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no measurements of the mechanism ({type(error).__name__}): make it with "
            "python -m benchmarks.mechanism"
        ) from None
    return table.to_pandas(), about
