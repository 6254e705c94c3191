"""Exact and replay checks: published numbers that the benchmark tables must give again, to the last printed digit.

They need no search and run at every commit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from analysis import published
from analysis.published import Cell, Check
from benchmarks import ground_truth, spaces
from benchmarks.ground_truth import Cost, GroundTruth
from benchmarks.spaces.nas_bench_1shot1 import NASBench1Shot1


@dataclass(frozen=True)
class Outcome:
    """A published number beside what the tables of this suite give.

    Attributes:
        cell: the published number.
        ours: computed value.
        our_sd: computed spread, where the published number has one that is a fact of the tables.
    """

    cell: Cell
    ours: float
    our_sd: float | None = None

    @property
    def equals_published(self) -> bool:
        """Whether the published number comes out to its last digit."""
        return self._equal(self.ours, self.cell.value) and self._sd_equal

    @property
    def as_expected(self) -> bool:
        """Whether the published number comes out, or its correction where it has one."""
        return self._equal(self.ours, self.cell.expected) and self._sd_equal

    @property
    def _sd_equal(self) -> bool:
        return self.our_sd is None or self.cell.sd is None or self._equal(self.our_sd, self.cell.sd)

    def _equal(self, ours: float, printed: float) -> bool:
        # Half a unit of the last digit, and what binary fractions add to it.
        return abs(ours - printed) <= 0.5 * 10.0**-self.cell.decimals + 1e-9

    def __str__(self) -> str:
        digits = self.cell.decimals
        expected = "" if self.cell.correction is None else f", expected {self.cell.expected:.{digits}f}"
        spread = "" if self.our_sd is None else f" (sd {self.our_sd:.{digits}f})"
        printed = "" if self.cell.sd is None else f" (sd {self.cell.sd:.{digits}f})"
        return (
            f"{self.cell}: published {self.cell.value:.{digits}f}{printed}{expected}, "
            f"ours {self.ours:.{digits + 2}f}{spread}"
        )


def outcomes(cells: Iterable[Cell] | None = None) -> list[Outcome]:
    """Check every cell that is exact or a replay."""
    chosen = published.cells() if cells is None else cells
    return [outcome(cell) for cell in chosen if cell.check in (Check.EXACT, Check.REPLAY)]


def outcome(cell: Cell) -> Outcome:
    """Compute one published number. Raises ``ValueError`` for a fact that is not known here."""
    if cell.check is Check.REPLAY:
        accuracies = load(cell.space).accuracies(spaces.get(cell.space).decode(cell.architecture))
        value = accuracies[cell.column.measure]
        if value is None:
            raise ValueError(f"{cell}: the table does not hold the accuracy that is to be replayed")
        return Outcome(cell, value)
    if cell.fact == "optimum":
        return Outcome(cell, load(cell.space).optimum(**keywords(cell.space, cell.column.measure)).value)
    if cell.fact == "population":
        population = load(cell.space).population(**keywords(cell.space, cell.column.measure))
        return Outcome(cell, population.mean, None if cell.sd is None else population.sd)
    if cell.fact == "correlation of parameters":
        return Outcome(cell, parameter_correlation(cell.space, cell.column.measure))
    counts: dict[str, Callable[[], int]] = {
        "encodings": lambda: len(spaces.get(cell.space)),
        "connected encodings": lambda: connected_encodings(cell.space),
        "operations": lambda: spaces.get(cell.space).groups[0].size,
        # A cell in which every pair of nodes has an edge: groups = nodes (nodes - 1) / 2.
        "nodes": lambda: round((1 + (1 + 8 * len(spaces.get(cell.space).groups)) ** 0.5) / 2),
    }
    if cell.fact not in counts:
        raise ValueError(f"{cell}: {cell.fact!r} is none of optimum, population, {', '.join(counts)}")
    return Outcome(cell, float(counts[cell.fact]()))


@cache
def load(space: str) -> GroundTruth:
    """The shipped table of a space, read once."""
    return ground_truth.load(space, tables=None)


@cache
def parameter_correlation(space: str, name: str) -> float:
    """Spearman's rho between parameters and a headline accuracy over all rows of a table."""
    ground = load(space)
    architectures = np.stack(np.unravel_index(np.arange(len(spaces.get(space))), spaces.get(space).choices), axis=1)
    parameters = ground.cost(architectures, Cost.PARAMETERS, ground.headline[name].dataset)
    accuracies = ground.column(**keywords(space, name))[ground.rows(architectures)]
    return float(stats.spearmanr(parameters, accuracies).statistic)


@cache
def connected_encodings(space: str) -> int:
    """Encodings of a 1Shot1 space where operations count for nodes only that feed another node or the output."""
    chosen = spaces.get(space)
    if not isinstance(chosen, NASBench1Shot1):
        raise ValueError(f"{space} is no NAS-Bench-1Shot1 space")
    total = 0
    for inputs in itertools.product(*(range(n) for n in chosen.choices[chosen.choice_nodes :])):
        _, sources = chosen.operations_and_inputs((*[0] * chosen.choice_nodes, *inputs))
        feeding = set(itertools.chain.from_iterable(sources)) - {0}
        total += 3 ** len(feeding)
    return total


def keywords(space: str, name: str) -> dict[str, Any]:
    """A headline measure as the keywords that the ground truth asks for."""
    m = load(space).headline[name]
    return {"dataset": m.dataset, "split": m.split, "epochs": m.epochs, "reduction": m.reduction}
