"""``python -m analysis.make_study``: the tables of the study of readings, from the runs in its folder.

Replaces what stands between two markers in the folder's ``README.md`` and writes every table as CSV beside it. A test
fails when they are stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis import command, rendering
from analysis.command import Output
from analysis.rendering import Table
from analysis.runs import Runs
from analysis.tables import study
from benchmarks.errors import UserError
from benchmarks.studies import READING, STUDIES

FOLDER = Path("results/studies/reading")
BLOCK = command.Block("study tables", "make_study")


def tables(runs: Runs) -> Iterator[Table]:
    """Every table that the runs allow."""
    for plan in STUDIES.values():
        arms = study.arms(runs, plan)
        if all(arm.finals.empty for arm in arms):
            continue
        yield study.outcomes(arms, plan)
        yield study.measurements(arms, plan)
        if plan is not READING and (table := study.verdicts(arms, plan)) is not None:
            yield table


def write(runs: Runs, output: Output) -> None:
    """Rewrite the README of the output folder and its tables."""
    made = list(tables(runs))
    if not made:
        raise UserError("no finished run of a study in the results: run python -m benchmarks.run --study first")
    output.replace(BLOCK, "\n".join(rendering.markdown(table) for table in made))
    for table in made:
        output.write(f"{table.name}.csv", rendering.comma_separated(table))
    print(f"{output.folder / 'README.md'} and {len(made)} tables rewritten")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main(
        "make_study", "Refresh the tables of the study of readings.", write, arguments, output=FOLDER, results=[FOLDER]
    )


if __name__ == "__main__":
    sys.exit(main())
