"""Published numbers: what the paper prints, cell by cell, with its protocol, its source and how it is checked.

``results/published/*.toml`` holds tables: columns, rows of values, and for each row one of four checks.

    exact             a fact of the benchmark tables, computed again (``fact``)
    replay            a known architecture, looked up again (``architecture``)
    statistical       a mean over searches, compared with ours (``margin`` of equivalence in points)
    not testable here with the reason

Where the table contradicts the paper, a ``correction`` gives the value that must come out, and why.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

FOLDER = Path(__file__).resolve().parent.parent / "results" / "published"
_NO_TABLES = {"sources.toml", "claims.toml", "contradictions.toml"}


class Check(StrEnum):
    """How a published number is checked."""

    EXACT = "exact"
    REPLAY = "replay"
    STATISTICAL = "statistical"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Correction:
    """A cell that is known to differ from the benchmark's table.

    Attributes:
        value: what the table says.
        reason: why the paper says otherwise.
    """

    value: float
    reason: str


@dataclass(frozen=True)
class Column:
    """A column of a published table.

    Attributes:
        label: its heading.
        dataset: image set, '' where there is none.
        split: ``valid`` or ``test``, '' where there is none.
        margin: difference in points that counts as equivalent, if a statistical check is possible.
    """

    label: str
    dataset: str = ""
    split: str = ""
    margin: float | None = None

    @property
    def measure(self) -> str:
        """Name of the column in the results store, e.g. ``cifar10_test``."""
        return f"{self.dataset}_{self.split}"


@dataclass(frozen=True)
class Cell:
    """One published number with all that is known about it.

    Attributes:
        paper: who printed it.
        table: where.
        row: label of the row.
        column: column.
        space: search space.
        quantity: what it is, e.g. ``accuracy``.
        unit: its unit.
        decimals: digits that are printed.
        value: the number.
        sd: printed spread, None where none is.
        runs: searches it is a mean of; None where not stated, 0 for a property of the space.
        protocol: how it was obtained.
        origin: where the paper has it from.
        check: how it is checked.
        reason: why it cannot be checked, for ``NOT_TESTABLE``.
        fact: which fact of the tables it is, for ``EXACT``.
        architecture: which architecture it is, for ``REPLAY``, as the space's string.
        correction: what the table says instead.
    """

    paper: str
    table: str
    row: str
    column: Column
    space: str
    quantity: str
    unit: str
    decimals: int
    value: float
    sd: float | None
    runs: int | None
    protocol: str
    origin: str
    check: Check
    reason: str
    fact: str
    architecture: str
    correction: Correction | None

    @property
    def expected(self) -> float:
        """What the tables must give: the published value, or its correction."""
        return self.value if self.correction is None else self.correction.value

    def __str__(self) -> str:
        return f"{self.paper}, {self.table}, {self.row}, {self.column.label}"


@dataclass(frozen=True)
class Row:
    """A row of a published table.

    Attributes:
        label: as printed, without the citation.
        methods: our names of the method; empty for what is none.
        draws: samples that were chosen from, where the table varies them.
        cells: one a column.
    """

    label: str
    methods: tuple[str, ...]
    draws: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PublishedTable:
    """A table, or the numbers of one passage of the text."""

    paper: str
    name: str
    space: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def row(self, label: str) -> Row:
        """The row of that label. Raises ``KeyError``."""
        for row in self.rows:
            if row.label == label:
                return row
        raise KeyError(label)


@cache
def tables(folder: Path = FOLDER) -> tuple[PublishedTable, ...]:
    """Every published table. Raises ``UserError`` that names file, table and row for a malformed entry."""
    sources = read(folder, "sources.toml")
    found: list[PublishedTable] = []
    for path in sorted(folder.glob("*.toml")):
        if path.name in _NO_TABLES:
            continue
        for table in read(folder, path.name)["table"]:
            where = f"{path.name}, {table.get('name', 'a table without a name')}"
            try:
                found.append(_table(table, sources))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{where}: {error} is missing or wrong; see analysis/published.py") from None
    return tuple(found)


def cells(folder: Path = FOLDER) -> Iterator[Cell]:
    """Every published number."""
    for table in tables(folder):
        for row in table.rows:
            yield from row.cells


def find(name: str, *, space: str | None = None, folder: Path = FOLDER) -> PublishedTable:
    """The first table of that name (and space). Raises ``KeyError``."""
    for table in tables(folder):
        if table.name == name and space in (None, table.space):
            return table
    raise KeyError(name)


def read(folder: Path, name: str) -> dict[str, Any]:
    """A TOML file of the folder. Raises ``UserError`` where it is missing or not TOML."""
    try:
        with (folder / name).open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read published numbers {folder / name} ({error}): restore the file") from None


def _table(entry: Mapping[str, Any], sources: Mapping[str, Any]) -> PublishedTable:
    columns = tuple(Column(**column) for column in entry["columns"])
    rows = tuple(_row(entry, row, columns, sources[entry["paper"]]["name"]) for row in entry["row"])
    return PublishedTable(sources[entry["paper"]]["name"], entry["name"], entry["space"], columns, rows)


def _row(table: Mapping[str, Any], row: Mapping[str, Any], columns: Sequence[Column], paper: str) -> Row:
    check = Check(row["check"])
    needed = {Check.EXACT: "fact", Check.REPLAY: "architecture", Check.NOT_TESTABLE: "reason"}.get(check)
    if needed is not None and not row.get(needed):
        raise KeyError(f"{needed} of row {row['label']}")
    corrections = {c["column"]: Correction(float(c["value"]), c["reason"]) for c in row.get("correction", ())}
    if unknown := set(corrections) - {column.label for column in columns}:
        raise ValueError(f"correction of {unknown} in row {row['label']}")
    sds = row.get("sds", [math.nan] * len(columns))
    cells = tuple(
        Cell(
            paper=paper,
            table=table["name"],
            row=row["label"],
            column=column,
            space=table["space"],
            quantity=table["quantity"],
            unit=table["unit"],
            decimals=table.get("decimals", 2),
            value=float(value),
            sd=None if math.isnan(sd) else float(sd),
            runs=row.get("runs", table.get("runs")),
            protocol=table["protocol"],
            origin=row.get("origin", ""),
            check=check,
            reason=row.get("reason", ""),
            fact=row.get("fact", ""),
            architecture=row.get("architecture", ""),
            correction=corrections.get(column.label),
        )
        for column, value, sd in zip(columns, row["values"], sds, strict=True)
        if not math.isnan(value)
    )
    return Row(row["label"], tuple(row.get("methods", ())), row.get("draws"), cells)
