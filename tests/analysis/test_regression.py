"""Published numbers that need no search come out of the shipped tables, to the last printed digit.

A failure names paper, table, cell, the published value and ours.
"""

from __future__ import annotations

import dataclasses

import pytest

from analysis import published, regression
from analysis.published import Cell, Check

EXACT = [cell for cell in published.cells() if cell.check in (Check.EXACT, Check.REPLAY)]


@pytest.mark.parametrize("cell", EXACT, ids=str)
def test_published_number_comes_out(cell: Cell):
    outcome = regression.outcome(cell)
    assert outcome.as_expected, str(outcome)
    if cell.correction is not None:
        assert not outcome.equals_published, f"{outcome}: the correction is no longer needed"


def test_what_is_checked():
    assert len(EXACT) >= 58
    assert {cell.fact for cell in EXACT} >= {"optimum", "population", "encodings", "connected encodings"}


def test_a_moved_number_is_named():
    cell = published.find("Table 1").row("DrNAS").cells[3]
    moved = regression.Outcome(dataclasses.replace(cell, value=73.52), regression.outcome(cell).ours)
    assert not moved.as_expected
    for part in ("BaLeNAS", "Table 1", "DrNAS", "CIFAR-100 test", "published 73.52", "ours 73.5133"):
        assert part in str(moved)


def test_a_moved_spread_is_noticed():
    cell = published.find("population of NAS-Bench-201").rows[0].cells[0]
    outcome = regression.outcome(cell)
    assert outcome.as_expected
    assert not regression.Outcome(dataclasses.replace(cell, sd=12.9), outcome.ours, outcome.our_sd).as_expected


def test_an_unknown_fact_is_named():
    cell = dataclasses.replace(EXACT[0], check=Check.EXACT, fact="wisdom")
    with pytest.raises(ValueError, match="wisdom"):
        regression.outcome(cell)


@pytest.mark.parametrize(("space", "count"), [(1, 6_240), (2, 16_632), (3, 363_648)])
def test_connected_encodings(space: int, count: int):
    assert regression.connected_encodings(f"nas-bench-1shot1-s{space}") == count
