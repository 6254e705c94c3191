"""What an import says at its end: how the new table compares with the one in place and with published facts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.errors import UserError
from benchmarks.ground_truth.columns import Columns
from benchmarks.ground_truth.measures import Dataset, Mean, Measure, Run, Split
from benchmarks.ground_truth.nas_bench_1shot1 import SPACES, NASBench1Shot1Table
from benchmarks.ground_truth.nas_bench_201 import NASBench201Table
from benchmarks.ground_truth.storage import StoredTable
from benchmarks.ground_truth.table import GroundTruth

PUBLISHED_1SHOT1 = {
    1: (0.9471821785, 0.0492788553, 0.0544871688),
    2: (0.9456797441, 0.0515825152, 0.0575921535),
    3: (0.9473824898, 0.0484775901, 0.0533854365),
}
"""For each space of NAS-Bench-1Shot1 (automl/nasbench-1shot1) at 108 epochs: best mean validation accuracy, lowest
validation error and lowest test error of a single run."""
_TOLERANCE = 1e-4
"""Percentage points; the constants above are in single precision, one image in 3 x 9,984 is 3e-3."""


def compare(new: StoredTable, old: StoredTable) -> Iterator[str]:
    """How the values of two tables of the same rows differ, a line each."""
    after, before = Columns(new, "new"), Columns(old, "old")
    held = set(after.measures)
    shared, differing = 0, []
    for measure in (measure for measure in before.measures if measure in held):
        key = (measure.dataset, measure.split, measure.epochs, measure.reduction)
        distance = np.abs(after.percent(*key) - before.percent(*key))
        distance = distance[np.isfinite(distance)]  # rows that both know
        shared += bool(distance.size)
        if other := int((distance > _TOLERANCE).sum()):
            differing.append(
                f"  {measure.column} differs in {other:,} of {distance.size:,} rows, "
                f"by up to {distance.max():.2f} points"
            )
    yield (
        f"compared with the table in place ({old.provenance.release}): of {shared} accuracy columns with rows in "
        f"both, {shared - len(differing)} agree"
    )
    yield from differing
    if lost := [measure.column for measure in before.measures if measure not in held]:
        yield f"  not in the new table: {', '.join(lost)}"


def facts_201(table: StoredTable) -> Iterator[str]:
    """The optima."""
    yield from _optima(NASBench201Table(table))


def facts_1shot1(table: StoredTable) -> Iterator[str]:
    """The optima of each space, and whether they are the published ones."""
    for number in SPACES:
        space = NASBench1Shot1Table(table, number)
        yield from _optima(space)
        mean, *errors = PUBLISHED_1SHOT1[number]
        yield from _against(space, "best mean validation accuracy", Split.VALID, 100 * mean, single=False)
        for split, error in zip((Split.VALID, Split.TEST), errors, strict=True):
            yield from _against(space, f"best {split} accuracy of a single run", split, 100 * (1 - error), single=True)


def _optima(table: GroundTruth) -> Iterator[str]:
    for name, measure in table.headline.items():
        try:
            best = _best(table, measure)
        except UserError:
            yield f"{table.name}: {name} is not known of every architecture"
        else:
            yield f"{table.name}: best {name} {best}"


def _best(table: GroundTruth, measure: Measure) -> str:
    best = table.optimum(
        dataset=measure.dataset, split=measure.split, epochs=measure.epochs, reduction=measure.reduction
    )
    return f"{best.value:.3f} % at row {', '.join(map(str, best.rows[:3]))} ({', '.join(best.keys[:3])})"


def _against(table: GroundTruth, what: str, split: Split, published: float, *, single: bool) -> Iterator[str]:
    reductions = [Run(0), Run(1), Run(2)] if single else [Mean()]
    try:
        best = max(
            table.optimum(dataset=Dataset.CIFAR10, split=split, epochs=108, reduction=reduction).value
            for reduction in reductions
        )
    except UserError:
        return
    verdict = "as published" if abs(best - published) < _TOLERANCE else f"DIFFERS from the published {published:.4f} %"
    yield f"{table.name}: {what} {best:.4f} %, {verdict}"
