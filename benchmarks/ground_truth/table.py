"""The query API of the tables. Nothing has a default: a question names data set, split, epochs and reduction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, overload

import numpy as np

from benchmarks.errors import UserError, one_of
from benchmarks.ground_truth.columns import Columns
from benchmarks.ground_truth.measures import AllSeeds, Cost, Dataset, Measure, Reduction, Split

if TYPE_CHECKING:
    from benchmarks.spaces.space import Architecture

    Many = np.ndarray | Sequence[Architecture]


@dataclass(frozen=True)
class Optimum:
    """The highest accuracy of a whole space.

    Attributes:
        value: in %.
        rows: the table rows that reach it, ascending; on NAS-Bench-201 these are official indices.
        keys: the same architectures by name: six operation digits on NAS-Bench-201, the module hash in hex on 1Shot1.
    """

    value: float
    rows: tuple[int, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Population:
    """Moments over all encodings of a space, each equally likely: the exact expectation of one uniform draw.

    Attributes:
        mean: in %.
        sd: in percentage points; of the whole population, so the divisor is its size (ddof 0).
        encodings: size of the population.
    """

    mean: float
    sd: float
    encodings: int


class GroundTruth(ABC):
    """The accuracies and costs of every architecture of one space.

    A tuple of decisions asks for one architecture and gets a ``float``, or None where the table knows that it does not
    know. An integer array ``[n, groups]`` or a sequence of tuples asks for many and gets a float64 array ``[n]``, with
    NaN where the value is missing. What the table has no column for raises ``UserError`` and says what it holds.
    """

    headline: ClassVar[Mapping[str, Measure]]
    """The accuracies that a result row records, by the name they have there."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._percent = columns.percent

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the space."""

    @property
    @abstractmethod
    def weights(self) -> np.ndarray:
        """How many encodings each row stands for, int64 ``[rows]``."""

    @abstractmethod
    def row(self, architecture: Architecture) -> int:
        """Table row of an architecture. Raises ``UserError`` for what is none."""

    @abstractmethod
    def rows(self, architectures: Many) -> np.ndarray:
        """Table rows of many architectures, integers ``[n]``."""

    @abstractmethod
    def key(self, row: int) -> str:
        """Name of the architecture in a row."""

    def __len__(self) -> int:
        """Number of rows: architectures on NAS-Bench-201, distinct graphs on NAS-Bench-1Shot1."""
        return len(self._columns)

    @property
    def benchmark(self) -> str:
        """Name of the benchmark that the facts are from."""
        return self._columns.stored.provenance.benchmark

    @property
    def release(self) -> str:
        """Release of the benchmark."""
        return self._columns.stored.provenance.release

    @property
    def digest(self) -> str:
        """SHA-256 of the table's content, to be recorded beside every number taken from it."""
        return self._columns.stored.digest

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every accuracy column that the table has."""
        return self._columns.measures

    @overload
    def accuracy(
        self, architectures: Architecture, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction
    ) -> float | None: ...
    @overload
    def accuracy(
        self, architectures: Many, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction
    ) -> np.ndarray: ...
    @overload
    def accuracy(
        self, architectures: Architecture, *, dataset: Dataset, split: Split, epochs: int, reduction: AllSeeds
    ) -> dict[int, float]: ...
    @overload
    def accuracy(
        self, architectures: Many, *, dataset: Dataset, split: Split, epochs: int, reduction: AllSeeds
    ) -> np.ndarray: ...

    def accuracy(
        self,
        architectures: Architecture | Many,
        *,
        dataset: Dataset,
        split: Split,
        epochs: int,
        reduction: Reduction | AllSeeds,
    ) -> float | np.ndarray | dict[int, float] | None:
        """Accuracy in %.

        Args:
            architectures: one architecture (tuple), or many (integer array ``[n, groups]`` or sequence of tuples).
            dataset: image set.
            split: which images of it.
            epochs: length of the training.
            reduction: which trainings, and how they become one number.

        Returns:
            One architecture: the value, or None where it is missing. Many: float64 ``[n]``, NaN where missing. With
            ``AllSeeds``, one architecture: the values by seed (by repeat on NAS-Bench-101); many: float64
            ``[n, seeds]`` with the columns of ``seeds``, NaN only for seeds that an architecture was not trained with.

        Raises:
            UserError: no such architecture or column; ``AllSeeds`` where not every trained seed is held.
        """
        if isinstance(reduction, AllSeeds):
            if not isinstance(architectures, tuple):
                return self._columns.every_training(self.rows(architectures), dataset, split, epochs)
            row = np.array([self.row(architectures)])
            values = self._columns.every_training(row, dataset, split, epochs)[0]
            seeds = self.seeds(dataset=dataset, split=split, epochs=epochs)
            return {seed: float(value) for seed, value in zip(seeds, values, strict=True) if value == value}
        column = self._percent(dataset, split, epochs, reduction)
        if isinstance(architectures, tuple):
            return _known(column, self.row(architectures))
        return np.asarray(column[self.rows(architectures)])

    def column(self, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> np.ndarray:
        """``accuracy`` of every row: read-only float64 ``[rows]`` in %, NaN where missing."""
        return self._percent(dataset, split, epochs, reduction)

    def seeds(self, *, dataset: Dataset, split: Split, epochs: int) -> tuple[int, ...]:
        """The seeds (repeats on NAS-Bench-101) that have a column, ascending; some rows may lack some of them."""
        return tuple(single.number for single in self._columns.singles(dataset, split, epochs))

    def accuracies(self, architecture: Architecture) -> dict[str, float | None]:
        """The headline accuracies in %, None where missing."""
        row = self.row(architecture)
        return {name: _known(column, row) for name, column in self._headline_columns.items()}

    def regrets(self, architecture: Architecture) -> dict[str, float | None]:
        """Optimum minus accuracy in percentage points for each headline accuracy; None where either is not known."""
        accuracies, optima = self.accuracies(architecture), self._headline_optima
        return {
            name: best - accuracy if accuracy is not None and (best := optima[name]) is not None else None
            for name, accuracy in accuracies.items()
        }

    def optimum(self, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> Optimum:
        """The highest accuracy and all that reach it. Raises ``UserError`` where some values are missing."""
        values = self._columns.complete(dataset, split, epochs, reduction)
        rows = tuple(map(int, np.flatnonzero(values == values.max())))
        return Optimum(float(values.max()), rows, tuple(map(self.key, rows)))

    def population(self, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> Population:
        """Mean and sd over all encodings. Raises ``UserError`` where some values are missing."""
        values = self._columns.complete(dataset, split, epochs, reduction)
        mean = float(np.average(values, weights=self.weights))
        variance = float(np.average((values - mean) ** 2, weights=self.weights))
        return Population(mean, variance**0.5, int(self.weights.sum()))

    @overload
    def cost(self, architectures: Architecture, cost: Cost, dataset: Dataset) -> float | None: ...
    @overload
    def cost(self, architectures: Many, cost: Cost, dataset: Dataset) -> np.ndarray: ...

    def cost(self, architectures: Architecture | Many, cost: Cost, dataset: Dataset) -> float | np.ndarray | None:
        """Parameters, FLOPs (both as plain numbers, not millions) or latency (s) of the data set's full network."""
        if cost not in tuple(Cost):
            raise one_of("cost", cost, Cost)
        return self._quantity(architectures, f"{cost}_{dataset}")

    @overload
    def training_seconds(
        self, architectures: Architecture, *, dataset: Dataset, split: Split, epochs: int
    ) -> float | None: ...
    @overload
    def training_seconds(self, architectures: Many, *, dataset: Dataset, split: Split, epochs: int) -> np.ndarray: ...

    def training_seconds(
        self, architectures: Architecture | Many, *, dataset: Dataset, split: Split, epochs: int
    ) -> float | np.ndarray | None:
        """Seconds of the one training that the accuracy on ``split`` comes from, on the benchmark's hardware."""
        return self._quantity(architectures, f"time_{self._training(dataset, split)}_{epochs}")

    def _training(self, dataset: Dataset, split: Split) -> str:  # noqa: ARG002 - where splits are trained apart
        """Name of the training that gives the accuracy on a split."""
        return dataset

    def _quantity(self, architectures: Architecture | Many, name: str) -> float | np.ndarray | None:
        values = self._columns.quantity(name)
        if isinstance(architectures, tuple):
            return _known(values, self.row(architectures))
        return np.asarray(values[self.rows(architectures)], np.float64)

    @cached_property
    def _headline_columns(self) -> dict[str, np.ndarray]:
        return {name: self._percent(m.dataset, m.split, m.epochs, m.reduction) for name, m in self.headline.items()}

    @cached_property
    def _headline_optima(self) -> dict[str, float | None]:
        columns = self._headline_columns.items()
        return {name: float(c.max()) if bool(np.isfinite(c).all()) else None for name, c in columns}


def as_matrix(architectures: Many, groups: int, space: str) -> np.ndarray:
    """Many architectures as integers ``[n, groups]``. Raises ``UserError`` for another shape or type."""
    try:
        matrix = np.asarray(architectures)
    except ValueError:
        raise UserError(f"architectures of {space} must all have {groups} decisions") from None
    if matrix.size == 0:
        return np.empty((0, groups), np.int64)
    if matrix.ndim != 2 or matrix.shape[1] != groups or matrix.dtype.kind not in "iu":
        raise UserError(
            f"expected integers of shape [n, {groups}] for {space}, got {matrix.dtype} of shape {list(matrix.shape)}"
        )
    return matrix


def _known(values: np.ndarray, row: int) -> float | None:
    value: float = values.item(row)
    return value if value == value else None
