"""NAS-Bench-201 (Dong and Yang, ICLR 2020; TPAMI 2021 as NATS-Bench): 15,625 cells on three image sets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmarks.errors import UserError
from benchmarks.ground_truth.columns import Columns
from benchmarks.ground_truth.measures import Dataset, Mean, Measure, Split
from benchmarks.ground_truth.storage import StoredTable
from benchmarks.ground_truth.table import GroundTruth, as_matrix
from benchmarks.nas_bench_201_order import ARCHITECTURES, EDGES, OPERATIONS, RADIX, official_order

if TYPE_CHECKING:
    from benchmarks.ground_truth.table import Many
    from benchmarks.spaces.space import Architecture


def operation_codes(operations: np.ndarray) -> np.ndarray:
    """Six operation digits as one decimal number, int32 ``[n]``, from operations ``[n, 6]``."""
    return (operations @ 10 ** np.arange(EDGES - 1, -1, -1)).astype(np.int32)


class NASBench201Table(GroundTruth):
    """NAS-Bench-201; a table row is an official index."""

    headline: ClassVar[Mapping[str, Measure]] = {
        f"{dataset}_{split}": Measure(dataset, split, 200, Mean())
        for dataset in Dataset
        for split in (Split.VALID, Split.TEST)
    }

    def __init__(self, stored: StoredTable) -> None:
        super().__init__(Columns(stored, self.name))
        order = official_order()
        if "operations" not in stored.data.column_names or not np.array_equal(
            stored.column("operations"), operation_codes(order)
        ):
            raise UserError(
                f"{stored.path} does not list the {ARCHITECTURES:,} architectures of NAS-Bench-201 in the order of the "
                "official index: build or import the table again"
            )
        self._order = order.astype(np.int8)
        self._order.flags.writeable = False
        self._row_at = np.empty(ARCHITECTURES, np.int32)
        self._row_at[order @ RADIX] = np.arange(ARCHITECTURES, dtype=np.int32)

    @property
    def name(self) -> str:
        """``nas-bench-201``."""
        return "nas-bench-201"

    @property
    def architectures(self) -> np.ndarray:
        """Every architecture in the order of the official index, int8 ``[15625, 6]``."""
        return self._order

    @cached_property
    def weights(self) -> np.ndarray:
        """Ones: every architecture has one encoding."""
        return np.ones(ARCHITECTURES, np.int64)

    @cached_property
    def _row_of(self) -> dict[Architecture, int]:
        return {operations: row for row, operations in enumerate(map(tuple, self._order.tolist()))}

    def row(self, architecture: Architecture) -> int:
        """Official index of an architecture (six operation numbers)."""
        try:
            return self._row_of[architecture]
        except (KeyError, TypeError):
            raise UserError(
                f"{architecture!r} is no architecture of nas-bench-201: give a tuple of six operations 0 to 4"
            ) from None

    def rows(self, architectures: Many) -> np.ndarray:
        """Official indices of many architectures (integers ``[n, 6]``, 0 to 4)."""
        given = as_matrix(architectures, EDGES, self.name)
        if given.size and (given.min() < 0 or given.max() >= OPERATIONS):
            raise UserError(f"operations of nas-bench-201 are 0 to 4, got {given.min()} to {given.max()}")
        return np.asarray(self._row_at[given @ RADIX])

    def key(self, row: int) -> str:
        """Six operation digits."""
        return "".join(map(str, self._order[row]))

    def _training(self, dataset: Dataset, split: Split) -> str:
        # CIFAR-10 alone has a second training, on half of the images, that the validation accuracy is of.
        return "cifar10-valid" if (dataset, split) == (Dataset.CIFAR10, Split.VALID) else dataset
