"""The columns of a table, restricted to the rows of one space: counts become percentages, and absence is explained."""

from __future__ import annotations

import numpy as np

from benchmarks.errors import UserError
from benchmarks.ground_truth.measures import (
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
from benchmarks.ground_truth.storage import Group, StoredTable


class Columns:
    """Read access to a verified table.

    Args:
        stored: the table.
        space: name of the space, for messages.
        rows: which rows belong to the space, integers ascending; None for all.
    """

    def __init__(self, stored: StoredTable, space: str, rows: np.ndarray | None = None) -> None:
        self.stored = stored
        self._space = space
        self._rows = rows
        self._percent: dict[tuple[Dataset, Split, int, Reduction], np.ndarray] = {}
        self._held: dict[str, list[Reduction]] = {}
        for measure in self.measures:
            self._held.setdefault(measure.group, []).append(measure.reduction)

    def __len__(self) -> int:
        """Number of rows."""
        return self.stored.data.num_rows if self._rows is None else len(self._rows)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every accuracy column, in the order of the file."""
        return tuple(filter(None, map(Measure.parse, self.stored.data.column_names)))

    def values(self, name: str) -> np.ndarray:
        """A column as it is stored, ``[rows]``; a numeric one with missing values as float64 with NaN."""
        values = self.stored.column(name)
        return values if self._rows is None else values[self._rows]

    def quantity(self, name: str) -> np.ndarray:
        """A cost column, ``[rows]``. Raises ``UserError`` that lists the costs held."""
        if name not in self.stored.data.column_names:
            held = [column for column in self.stored.data.column_names if column.startswith((*Cost, "time_"))]
            raise UserError(f"the {self._space} table holds no {name}: held are {', '.join(held)}")
        return self.values(name)

    def percent(self, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> np.ndarray:
        """Accuracies in %: read-only float64 ``[rows]``, NaN where missing.

        Raises ``UserError`` that lists what is held.
        """
        key = (dataset, split, epochs, reduction)
        percent = self._percent.get(key)
        if percent is None:
            if reduction not in self._reductions(dataset, split, epochs):
                raise self._absent(dataset, split, epochs, reduction)
            measure = Measure(*key)
            trainings = self._trainings(measure.group) if isinstance(reduction, Mean) else 1
            percent = 100.0 * self.values(measure.column) / (self._group(measure.group).images * trainings)
            percent.flags.writeable = False
            self._percent[key] = percent
        return percent

    def complete(self, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> np.ndarray:
        """``percent`` where no value is missing. Raises ``UserError`` with the numbers where some are."""
        values = self.percent(dataset, split, epochs, reduction)
        known = int(np.isfinite(values).sum())
        if known < len(values):
            raise UserError(
                f"the {self._space} table knows {dataset} {split} at {epochs} epochs ({reduction.label}) for {known:,} "
                f"of {len(values):,} rows: a figure for the whole space needs all of them, so import the official file"
            )
        return values

    def singles(self, dataset: Dataset, split: Split, epochs: int) -> list[Single]:
        """The single trainings that have a column, ascending."""
        held = self._reductions(dataset, split, epochs)
        return sorted((r for r in held if isinstance(r, Seed | Run)), key=lambda r: r.number)

    def every_training(self, rows: np.ndarray, dataset: Dataset, split: Split, epochs: int) -> np.ndarray:
        """Accuracies of every single training, float64 ``[n, singles]``.

        Args:
            rows: integers ``[n]``.
            dataset: image set.
            split: which images of it.
            epochs: length of the training.

        Returns:
            NaN only for seeds that an architecture was not trained with.

        Raises:
            UserError: some architecture has a training whose accuracy is not held.
        """
        singles = self.singles(dataset, split, epochs)
        name = group_name(dataset, split, epochs)
        values = np.full((len(rows), len(singles)), np.nan)
        for place, single in enumerate(singles):
            values[:, place] = self.percent(dataset, split, epochs, single)[rows]
        held = np.isfinite(values)
        trained = np.broadcast_to(self._trainings(name), len(self))[rows]
        lacking = int((held.sum(axis=1) < trained).sum())
        if lacking:
            counts = [f"{r.label} for {n:,}" for r, n in zip(singles, held.sum(axis=0), strict=True) if n]
            raise UserError(
                f"the {self._space} table lacks a trained seed of {name} for {lacking:,} of the {len(rows):,} "
                f"architectures asked for: held are {', '.join(counts) or 'no single trainings'}; ask for one "
                f"reduction of {', '.join(r.label for r in self._held[name])}"
            )
        return values

    def _group(self, name: str) -> Group:
        return self.stored.provenance.groups[name]

    def _trainings(self, group: str) -> np.ndarray | int:
        runs = self._group(group).runs
        return self.values(runs).astype(np.int64) if isinstance(runs, str) else runs

    def _reductions(self, dataset: Dataset, split: Split, epochs: int) -> list[Reduction]:
        """What is held of a group. Raises ``UserError`` where there is no such group."""
        held = self._held.get(group_name(dataset, split, epochs))
        if held is None:
            near = [g for g in self._held if g.startswith(f"{dataset}_{split}_")] or list(self._held)
            lists = (f"{group} ({', '.join(r.label for r in self._held[group])})" for group in near)
            raise UserError(
                f"the {self._space} table holds no {dataset} {split} accuracy at {epochs} epochs: "
                f"held are {'; '.join(lists)}"
            )
        return held

    def _absent(self, dataset: Dataset, split: Split, epochs: int, reduction: Reduction) -> UserError:
        held = ", ".join(r.label for r in self._reductions(dataset, split, epochs))
        return UserError(
            f"the {self._space} table holds no {dataset} {split} accuracy at {epochs} epochs as {reduction.label}: "
            f"held are {held}"
        )
