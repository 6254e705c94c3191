"""Ground truth: what NAS-Bench-201 and NAS-Bench-1Shot1 measured, from tables that ship with the package.

    table = load("nas-bench-201", tables=None)
    table.accuracy((3, 3, 3, 3, 3, 3), dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200, reduction=Mean())

Only the harness, analysis and ``benchmarks.proxies`` (which asks which graph an encoding is, never an accuracy) may
import this package. It needs neither torch nor pandas.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import UserError, one_of
from benchmarks.ground_truth.measures import (
    AllSeeds,
    BestOfRuns,
    Cost,
    Dataset,
    Mean,
    Measure,
    Reduction,
    Run,
    Seed,
    Split,
)
from benchmarks.ground_truth.nas_bench_1shot1 import NASBench1Shot1Table
from benchmarks.ground_truth.nas_bench_201 import NASBench201Table
from benchmarks.ground_truth.storage import read
from benchmarks.ground_truth.table import GroundTruth, Optimum, Population

TABLES = Path(__file__).parent / "tables"
"""The shipped tables."""
FILES = {"nas-bench-201": "nas-bench-201.parquet"} | {
    f"nas-bench-1shot1-s{space}": "nas-bench-1shot1.parquet" for space in (1, 2, 3)
}
"""File name of each space's table."""


def load(space: str, *, tables: Path | None) -> GroundTruth:
    """Read and verify the table of a space.

    Args:
        space: name of the space.
        tables: folder of the tables; None for those that ship with the package.

    Raises:
        UserError: unknown space; a missing, damaged, truncated or foreign file.
    """
    if space not in FILES:
        raise one_of("space", space, FILES)
    path = (TABLES if tables is None else tables) / FILES[space]
    if tables is not None and not path.is_file():
        raise UserError(
            f"{tables} has no {path.name}: import it there (python -m benchmarks.ground_truth import), or leave out "
            f"{space}"
        )
    stored = read(path)
    if space == "nas-bench-201":
        return NASBench201Table(stored)
    return NASBench1Shot1Table(stored, int(space[-1]))


__all__ = [
    "FILES",
    "TABLES",
    "AllSeeds",
    "BestOfRuns",
    "Cost",
    "Dataset",
    "GroundTruth",
    "Mean",
    "Measure",
    "NASBench1Shot1Table",
    "NASBench201Table",
    "Optimum",
    "Population",
    "Reduction",
    "Run",
    "Seed",
    "Split",
    "load",
]
