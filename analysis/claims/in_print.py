"""Claims that the paper's own printed numbers decide."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from analysis import published, regression
from analysis.claims.finding import Finding, Verdict
from analysis.published import Cell, Row
from analysis.runs import Runs

IN_PRINT = "the paper's printed numbers"


def best_in_print(runs: Runs, *, rows: Sequence[str]) -> Finding:  # noqa: ARG001 - the signature of a check
    """Whether one of the rows has the highest mean of Table 1 in every test column."""
    table = published.find("Table 1")
    others = [row for row in table.rows if row.label not in rows and row.label != "optimal"]
    beaten = []
    tests = [i for i, column in enumerate(table.columns) if column.split == "test"]
    for i in tests:
        ours = max((table.row(label).cells[i] for label in rows), key=lambda cell: cell.value)
        rival = max((row.cells[i] for row in others), key=lambda cell: cell.value)
        if rival.value >= ours.value:
            beaten.append(f"{rival.row} {rival.value:.2f} ≥ {ours.value:.2f} on {rival.column.label}")
    if beaten:
        return Finding(
            Verdict.DOES_NOT_HOLD,
            "; ".join(beaten),
            len(tests),
            f"beaten in {len(beaten)} of {len(tests)} columns",
            setting=IN_PRINT,
        )
    return Finding(Verdict.HOLDS, "the highest mean in every test column", len(tests), setting=IN_PRINT)


def best_run_in_print(runs: Runs) -> Finding:  # noqa: ARG001 - the signature of a check
    """Whether the best single run is at least as good as every printed mean."""
    best = published.find("text of Section 4.1.1").rows[0].cells
    table = published.find("Table 1")
    beaten = []
    for cell in best:
        rivals = [
            c for row in table.rows if row.label != "optimal" for c in row.cells if c.column.label == cell.column.label
        ]
        rival = max(rivals, key=lambda c: c.value)
        if rival.value > cell.value:
            beaten.append(
                f"the mean of {rival.row}, {rival.value:.2f}, exceeds {cell.value:.2f} on {cell.column.label}"
            )
    verdict = Verdict.DOES_NOT_HOLD if beaten else Verdict.HOLDS
    return Finding(verdict, "; ".join(beaten) or "no printed mean exceeds it", len(best), setting=IN_PRINT)


def more_draws_published(runs: Runs) -> Finding:  # noqa: ARG001 - the signature of a check
    """Whether the means of Table 2 rise with the sample size in every column, for both methods."""
    falls: list[str] = []
    for name in ("Zero-cost NAS", "BaLeNAS-TF"):
        rows = [row for row in published.find("Table 2").rows if row.label.startswith(name)]
        falls += [text for before, after in itertools.pairwise(rows) for text in _not_rising(before, after)]
    if falls:
        return Finding(
            Verdict.DOES_NOT_HOLD, "; ".join(falls), 18, f"{len(falls)} of 12 steps do not rise", setting=IN_PRINT
        )
    return Finding(Verdict.HOLDS, "every step rises", 18, setting=IN_PRINT)


def _not_rising(before: Row, after: Row) -> list[str]:
    return [
        f"{after.label} {b.column.label} {a.value:g} to {b.value:g}"
        for a, b in zip(before.cells, after.cells, strict=True)
        if b.value <= a.value
    ]


def replayed(runs: Runs, *, table: str, row: str) -> Finding:  # noqa: ARG001 - the signature of a check
    """Whether the numbers are those of the one architecture that they are attributed to."""
    cells: tuple[Cell, ...] = published.find(table).row(row).cells
    outcomes = regression.outcomes(cells)
    equal = sum(outcome.equals_published for outcome in outcomes)
    verdict = Verdict.HOLDS if equal == len(outcomes) else Verdict.DOES_NOT_HOLD
    evidence = f"all are the table's values of {cells[0].architecture}"
    if equal < len(outcomes):
        evidence = "; ".join(str(outcome) for outcome in outcomes if not outcome.equals_published)
    return Finding(
        verdict,
        evidence,
        len(outcomes),
        f"{equal} of {len(outcomes)} equal to the last digit",
        setting="benchmark table",
    )


CHECKS: tuple[Callable[..., Finding], ...] = (best_in_print, best_run_in_print, more_draws_published, replayed)
