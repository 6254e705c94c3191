"""Every table, made from runs: ``build`` gives them all, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.rendering import Table
from analysis.runs import Runs
from analysis.tables import accuracy


def build(runs: Runs) -> Iterator[Table]:
    """All tables that the runs allow."""
    for setting in runs.settings:
        yield accuracy.table(runs, setting)
