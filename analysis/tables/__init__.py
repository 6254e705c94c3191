"""Every table, made from runs: ``build`` gives them all, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.rendering import Table
from analysis.runs import Runs
from analysis.tables import accuracy, comparisons, measurements, posteriors, proxies, selection
from benchmarks import spaces


def build(runs: Runs) -> Iterator[Table]:
    """All tables that the runs allow."""
    for setting in runs.settings:
        yield accuracy.table(runs, setting)
    yield selection.table_2()
    for setting in runs.settings:
        for make in (posteriors.table_2, posteriors.resampling):
            table = make(runs, setting)
            if table is not None:
                yield table
    for of_print in (selection.printed_means, selection.small_spreads):
        if (table := of_print()) is not None:
            yield table
    yield selection.table_3()
    yield from comparisons.build(runs)
    for make in (measurements.cost, measurements.hessian):
        for setting in runs.settings:
            table = make(runs, setting)
            if table is not None:
                yield table
    for space in spaces.SPACES:
        for describe in (proxies.correlations, selection.zero_cost):
            table = describe(space)
            if table is not None:
                yield table
