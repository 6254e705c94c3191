"""The query API of the tables. Nothing has a default: a question names data set, split, epochs and reduction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, overload

import numpy as np

from benchmarks.errors import UserError, one_of
from benchmarks.ground_truth.measures import (
    AllSeeds,
    Cost,
    Dataset,
    Mean,
    Measure,
    Reduction,
    Run,
    Seed,
    Single,
    Split,
    group_name,
)
from benchmarks.ground_truth.storage import StoredTable

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

    def __init__(self, stored: StoredTable, rows: np.ndarray | None = None) -> None:
        self._stored = stored
        self._subset = rows
        self._percent: dict[tuple[Dataset, Split, int, Reduction], np.ndarray] = {}
        self._groups: dict[str, list[Reduction]] = {}
        for name in stored.data.column_names:
            if measure := Measure.parse(name):
                self._groups.setdefault(measure.group, []).append(measure.reduction)

    # What a space says about itself

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

    # What every table says

    def __len__(self) -> int:
        """Number of rows: architectures on NAS-Bench-201, distinct graphs on NAS-Bench-1Shot1."""
        return self._stored.data.num_rows if self._subset is None else len(self._subset)

    @property
    def benchmark(self) -> str:
        """Name of the benchmark that the facts are from."""
        return self._stored.provenance.benchmark

    @property
    def release(self) -> str:
        """Release of the benchmark."""
        return self._stored.provenance.release

    @property
    def digest(self) -> str:
        """SHA-256 of the table's content, to be recorded beside every number taken from it."""
        return self._stored.digest

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every accuracy column, in the order of the file."""
        return tuple(filter(None, map(Measure.parse, self._stored.data.column_names)))

    # Accuracies

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
                return self._every_seed(self.rows(architectures), dataset, split, epochs)
            values = self._every_seed(np.array([self.row(architectures)]), dataset, split, epochs)[0]
            seeds = self.seeds(dataset=dataset, split=split, epochs=epochs)
            return {seed: float(value) for seed, value in zip(seeds, values, strict=True) if value == value}
        column = self._percent.get((dataset, split, epochs, reduction))
        if column is None:
            column = self.column(dataset=dataset, split=split, epochs=epochs, reduction=reduction)
        if isinstance(architectures, tuple):
            value: float = column.item(self.row(architectures))
            return value if value == value else None
        return np.asarray(column[self.rows(architectures)])

    def column(self, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> np.ndarray:
        """``accuracy`` of every row: read-only float64 ``[rows]`` in %, NaN where missing."""
        key = (dataset, split, epochs, reduction)
        if key not in self._percent:
            self._require(*key)
            group = self._stored.provenance.groups[group_name(dataset, split, epochs)]
            counts = self._values(Measure(*key).column)
            trainings = self._trainings(group.runs) if isinstance(reduction, Mean) else 1
            percent = 100.0 * counts / (group.images * trainings)
            percent.flags.writeable = False
            self._percent[key] = percent
        return self._percent[key]

    def seeds(self, *, dataset: Dataset, split: Split, epochs: int) -> tuple[int, ...]:
        """The seeds (repeats on NAS-Bench-101) with a column of their own, ascending; for some rows only, maybe."""
        return tuple(r.number for r in self._singles(dataset, split, epochs))

    def accuracies(self, architecture: Architecture) -> dict[str, float | None]:
        """The headline accuracies in %, None where missing."""
        row = self.row(architecture)
        return {name: _known(self._headline_column(m), row) for name, m in self.headline.items()}

    def regrets(self, architecture: Architecture) -> dict[str, float | None]:
        """Optimum minus accuracy in percentage points for each headline accuracy; None where either is not known."""
        best = self._headline_optima
        found = self.accuracies(architecture)
        return {n: b - a if (a := found[n]) is not None and (b := best[n]) is not None else None for n in found}

    # Whole spaces

    def optimum(self, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> Optimum:
        """The highest accuracy and all that reach it. Raises ``UserError`` where some values are missing."""
        values = self._complete(dataset, split, epochs, reduction)
        rows = tuple(int(r) for r in np.flatnonzero(values == values.max()))
        return Optimum(float(values.max()), rows, tuple(map(self.key, rows)))

    def population(self, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> Population:
        """Mean and sd over all encodings. Raises ``UserError`` where some values are missing."""
        values = self._complete(dataset, split, epochs, reduction)
        mean = float(np.average(values, weights=self.weights))
        variance = float(np.average((values - mean) ** 2, weights=self.weights))
        return Population(mean, variance**0.5, int(self.weights.sum()))

    # Costs

    @overload
    def cost(self, architectures: Architecture, cost: Cost, dataset: Dataset) -> float | None: ...
    @overload
    def cost(self, architectures: Many, cost: Cost, dataset: Dataset) -> np.ndarray: ...

    def cost(self, architectures: Architecture | Many, cost: Cost, dataset: Dataset) -> float | np.ndarray | None:
        """Parameters, FLOPs (both absolute numbers) or latency (s) of the full network for the data set."""
        if cost not in tuple(Cost):
            raise one_of("cost", cost, Cost)
        return self._lookup(architectures, f"{cost}_{dataset}")

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
        return self._lookup(architectures, f"time_{self._training(dataset, split)}_{epochs}")

    # Internals

    def _training(self, dataset: Dataset, split: Split) -> str:  # noqa: ARG002 - where splits are trained apart
        """Name of the training that gives the accuracy on a split."""
        return dataset

    def _values(self, name: str) -> np.ndarray:
        values = self._stored.column(name)
        return values if self._subset is None else values[self._subset]

    def _trainings(self, runs: int | str) -> np.ndarray | int:
        return self._values(runs).astype(np.int64) if isinstance(runs, str) else runs

    def _lookup(self, architectures: Architecture | Many, name: str) -> float | np.ndarray | None:
        if name not in self._stored.data.column_names:
            held = [c for c in self._stored.data.column_names if c.startswith((*Cost, "time_"))]
            raise UserError(f"the {self.name} table holds no {name}: it holds {', '.join(held)}")
        values = self._values(name)
        if isinstance(architectures, tuple):
            return _known(values, self.row(architectures))
        return np.asarray(values[self.rows(architectures)], np.float64)

    def _require(self, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> None:
        """Raise unless the table has the column."""
        held = self._groups.get(group_name(dataset, split, epochs))
        if held is not None and reduction in held:
            return
        asked = f"the {self.name} table holds no {dataset} {split} accuracy at {epochs} epochs"
        if held is not None:
            raise UserError(f"{asked} as {reduction.label!r}: held are {', '.join(r.label for r in held)}")
        near = [g for g in self._groups if g.startswith(f"{dataset}_{split}_")] or list(self._groups)
        lists = (f"{group} ({', '.join(r.label for r in self._groups[group])})" for group in near)
        raise UserError(f"{asked}: held are {'; '.join(lists)}")

    def _complete(self, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> np.ndarray:
        values = self.column(dataset=dataset, split=split, epochs=epochs, reduction=reduction)
        known = int(np.isfinite(values).sum())
        if known < len(values):
            raise UserError(
                f"the {self.name} table knows {dataset} {split} at {epochs} epochs ({reduction.label}) of {known:,} of "
                f"{len(values):,} rows: a figure for the whole space needs all of them, import the official file"
            )
        return values

    def _singles(self, dataset: Dataset, split: Split, epochs: int) -> list[Single]:
        name = group_name(dataset, split, epochs)
        if name not in self._groups:
            self._require(dataset, split, epochs, Mean())
        singles = [r for r in self._groups[name] if isinstance(r, Seed | Run)]
        return sorted(singles, key=lambda r: r.number)

    def _every_seed(self, rows: np.ndarray, dataset: Dataset, split: Split, epochs: int) -> np.ndarray:
        singles = self._singles(dataset, split, epochs)
        name = group_name(dataset, split, epochs)
        columns = [self.column(dataset=dataset, split=split, epochs=epochs, reduction=r)[rows] for r in singles]
        values = np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))
        trained = np.broadcast_to(self._trainings(self._stored.provenance.groups[name].runs), len(self))[rows]
        held = np.isfinite(values)
        lacking = int((held.sum(axis=1) < trained).sum())
        if lacking:
            counts = (f"{r.label} for {n:,}" for r, n in zip(singles, held.sum(axis=0), strict=True) if n)
            raise UserError(
                f"the {self.name} table does not hold every trained seed of {name} for {lacking:,} of {len(rows):,} "
                f"architectures asked for: held are {', '.join(counts) or 'none of them singly'}; "
                f"ask for one reduction of {', '.join(r.label for r in self._groups[name])}"
            )
        return values

    def _headline_column(self, measure: Measure) -> np.ndarray:
        return self.column(
            dataset=measure.dataset, split=measure.split, epochs=measure.epochs, reduction=measure.reduction
        )

    @cached_property
    def _headline_optima(self) -> dict[str, float | None]:
        columns = {name: self._headline_column(measure) for name, measure in self.headline.items()}
        return {n: float(c.max()) if bool(np.isfinite(c).all()) else None for n, c in columns.items()}


def _known(values: np.ndarray, row: int) -> float | None:
    value: float = values.item(row)
    return value if value == value else None
