"""NAS-Bench-1Shot1 (Zela et al., ICLR 2020): the graphs of NAS-Bench-101 that lie in three cell search spaces."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmarks.errors import UserError
from benchmarks.ground_truth.columns import Columns
from benchmarks.ground_truth.measures import Dataset, Mean, Measure, Split
from benchmarks.ground_truth.storage import StoredTable
from benchmarks.ground_truth.table import GroundTruth, as_matrix

if TYPE_CHECKING:
    from benchmarks.ground_truth.table import Many
    from benchmarks.spaces.nas_bench_1shot1 import NASBench1Shot1
    from benchmarks.spaces.space import Architecture

SPACES = (1, 2, 3)
IMAGES = 9_984
"""Validation and test images that NAS-Bench-101 counts: 39 batches of 256 out of 10,000."""


class NASBench1Shot1Table(GroundTruth):
    """One space of NAS-Bench-1Shot1: a row is a distinct graph of the space, sorted by module hash.

    Several encodings are the same graph; populations and expectations weigh each graph by its encodings.
    """

    headline: ClassVar[Mapping[str, Measure]] = {
        f"{Dataset.CIFAR10}_{split}": Measure(Dataset.CIFAR10, split, 108, Mean())
        for split in (Split.VALID, Split.TEST)
    }

    def __init__(self, stored: StoredTable, space: int) -> None:
        """Bind the table to space 1, 2 or 3. Raises ``UserError`` for a table without the space's columns."""
        encodings = f"encodings_s{space}"
        missing = {"hash", encodings} - set(stored.data.column_names)
        if missing:
            raise UserError(f"{stored.path} lacks the column {min(missing)}: build or import the table again")
        self._space_number = space
        super().__init__(Columns(stored, self.name, np.flatnonzero(stored.column(encodings))))
        self._weights = self._columns.values(encodings).astype(np.int64)
        # Hashing a graph takes far longer than the look-up, and a search asks for the same few again and again.
        self._remembered_row = lru_cache(maxsize=1 << 16)(self._find_row)

    @property
    def name(self) -> str:
        """For instance ``nas-bench-1shot1-s1``."""
        return f"nas-bench-1shot1-s{self._space_number}"

    @cached_property
    def space(self) -> NASBench1Shot1:
        """The space, which turns an encoding into a module hash (imports torch on first use)."""
        from benchmarks.spaces.nas_bench_1shot1 import NASBench1Shot1

        return NASBench1Shot1(self._space_number)

    @property
    def weights(self) -> np.ndarray:
        """How many encodings of the space are each graph, int64 ``[rows]``."""
        return self._weights

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """Module hash of every row, 32 hex digits each, ascending."""
        return tuple(raw.hex() for raw in self._columns.values("hash").tolist())

    @cached_property
    def _row_of_hash(self) -> dict[str, int]:
        return {module_hash: row for row, module_hash in enumerate(self.hashes)}

    def row_of_hash(self, module_hash: str) -> int:
        """Row of a graph by its NAS-Bench-101 module hash (hex). Raises ``UserError`` outside the space."""
        try:
            return self._row_of_hash[module_hash]
        except KeyError:
            raise UserError(f"no graph of {self.name} has the module hash {module_hash}") from None

    def row(self, architecture: Architecture) -> int:
        """Row of the graph that an encoding builds."""
        return self._remembered_row(architecture)

    def _find_row(self, architecture: Architecture) -> int:
        self.space.check(architecture)
        return self.row_of_hash(self.space.module_hash(architecture))

    def rows(self, architectures: Many) -> np.ndarray:
        """Rows of many encodings (integers ``[n, groups]``)."""
        given = as_matrix(architectures, len(self.space.groups), self.name)
        return np.fromiter((self.row(tuple(architecture)) for architecture in given.tolist()), np.int64, len(given))

    def key(self, row: int) -> str:
        """Module hash in hex."""
        return self.hashes[row]
