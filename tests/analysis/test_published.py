"""The published numbers load, cover the paper's tables, and mistakes in the files are named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis import published
from analysis.published import Check
from benchmarks.errors import UserError


def test_table_1_is_complete():
    table = published.find("Table 1")
    assert [row.label for row in table.rows] == [
        "Random baseline", "ENAS", "RandomNAS", "SETN", "GDAS", "DrNAS", "DARTS (1st)", "DARTS (2nd)", "Zero-cost NAS",
        "BaLeNAS (1st)", "BaLeNAS (2nd)", "BaLeNAS-TF", "optimal",
    ]  # fmt: skip
    assert all(len(row.cells) == 6 for row in table.rows)
    cell = table.row("BaLeNAS (2nd)").cells[3]
    assert (cell.value, cell.sd, cell.runs, cell.column.measure) == (71.93, 0.27, 4, "cifar100_test")


def test_tables_2_and_3_are_complete():
    assert [row.draws for row in published.find("Table 2").rows] == [10, 50, 100] * 2
    assert len(published.find("Table 3").rows) == 14
    assert [c.value for c in published.find("Table 3").row("BaLeNAS-TF").cells] == [
        2.43,
        15.72,
        24.2,
        7.3,
        3.86,
        597,
        0.6,
    ]


def test_dashes_of_the_paper_are_no_cells():
    assert [c.column.label for c in published.find("Table 3").row("DARTS (1st)").cells] == [
        "CIFAR-10 error (%)", "parameters (M)", "FLOPs (M)", "search cost (GPU days)",
    ]  # fmt: skip


def test_every_cell_says_how_it_is_checked():
    for cell in published.cells():
        assert cell.protocol and cell.paper and math.isfinite(cell.value), str(cell)
        needed = {Check.EXACT: cell.fact, Check.REPLAY: cell.architecture, Check.NOT_TESTABLE: cell.reason}
        assert needed.get(cell.check, "statistical"), str(cell)


def test_statistical_cells_state_a_margin():
    assert all(cell.column.margin for cell in published.cells() if cell.check is Check.STATISTICAL)


SOURCES = '[p]\nname = "P"\nreference = "r"\n'
TABLE = """
[[table]]
paper = "p"
name = "T"
space = "s"
quantity = "accuracy"
unit = "%"
protocol = "x"
columns = [{ label = "a" }]
[[table.row]]
label = "r"
values = [1.0]
"""


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ('check = "guess"', "guess"),
        ('check = "exact"', "fact of row r"),
        ('check = "replay"', "architecture of row r"),
        ('check = "not testable here"', "reason of row r"),
        ('check = "statistical"\nsds = [1.0, 2.0]', "T"),
    ],
)
def test_malformed_entries_are_named(tmp_path: Path, row: str, named: str):
    (tmp_path / "sources.toml").write_text(SOURCES)
    (tmp_path / "t.toml").write_text(TABLE + row)
    with pytest.raises(UserError, match=named) as error:
        published.tables(tmp_path)
    assert "t.toml" in str(error.value)


def test_broken_toml_is_one_line(tmp_path: Path):
    (tmp_path / "sources.toml").write_text("[")
    with pytest.raises(UserError, match=r"sources\.toml"):
        published.tables(tmp_path)
