"""``python -m analysis.make_study``: tables and figure of the study of readings, from what its folder holds.

Replaces what stands between two markers in the folder's ``README.md``, writes every table as CSV beside it, and draws
the figure of the mechanism. A test fails when they are stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import command, figures, rendering
from analysis.command import Output
from analysis.figures import Picture
from analysis.rendering import Table
from analysis.runs import Runs
from analysis.tables import mechanism, study
from benchmarks.errors import UserError
from benchmarks.observations import read
from benchmarks.studies import READING, STUDIES

MEASURED = "mechanism.parquet"
FOLDER = Path("results/studies/reading")
BLOCK = command.Block("study tables", "make_study")


def tables(runs: Runs) -> Iterator[Table]:
    """Every table that the runs allow."""
    for plan in STUDIES.values():
        if all(arm.finals.empty for arm in study.arms(runs, plan)):
            continue
        yield study.outcomes(runs, plan)
        yield study.measurements(runs, plan)
        if plan is not READING:
            yield study.verdicts(runs, plan)

    if (measured := _measured(runs)) is not None:
        yield from mechanism.build(*measured)


def figure(runs: Runs) -> Picture | None:
    """The mechanism's, where it was measured."""
    measured = _measured(runs)
    return None if measured is None else figures.mechanism.build(*measured)


def block(made: Sequence[Table], picture: Picture | None) -> str:
    """The Markdown between the markers."""
    text = "\n".join(rendering.markdown(table) for table in made)
    return text if picture is None else f"{text}\n![{picture.title}]({picture.name}.png)\n\n{picture.caption}\n"


def _measured(runs: Runs) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    paths = [folder / MEASURED for folder in runs.folders if (folder / MEASURED).is_file()]
    return read(paths[0]) if paths else None


def write(runs: Runs, output: Output) -> None:
    """Rewrite the README of the output folder and its tables."""
    made, picture = list(tables(runs)), figure(runs)
    if not made:
        raise UserError("no finished run of a study in the results: run python -m benchmarks.run --study first")
    output.replace(BLOCK, block(made, picture))
    for table in made:
        output.write(f"{table.name}.csv", rendering.comma_separated(table))
    if picture is not None:
        output.write(f"{picture.name}.png", figures.render(picture, "png"))
    print(f"{output.folder / 'README.md'} and {len(made)} tables rewritten")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main(
        "make_study", "Refresh the tables of the study of readings.", write, arguments, output=FOLDER, results=[FOLDER]
    )


if __name__ == "__main__":
    sys.exit(main())
