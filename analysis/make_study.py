"""``python -m analysis.make_study``: tables and figures of the study of readings, from what its folder holds.

Replaces what stands between two markers in the folder's ``README.md``, writes every table as CSV beside it, and draws
every figure as PNG. A test fails when they are stale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import command, figures, rendering
from analysis.command import Output
from analysis.figures import Picture
from analysis.rendering import Table
from analysis.runs import Runs
from analysis.study import arms
from analysis.tables import mechanism, study
from benchmarks.errors import UserError
from benchmarks.observations import read
from benchmarks.studies import STUDIES

MEASURED = "mechanism.parquet"
FOLDER = Path("results/studies/reading")
BLOCK = command.Block("study tables", "make_study")


@dataclass(frozen=True)
class Made:
    """What goes into the README, in its order."""

    tables: list[Table]
    pictures: list[Picture]

    @property
    def block(self) -> str:
        """The Markdown between the markers."""
        shown = (f"![{one.title}]({one.name}.png)\n\n{one.caption}\n" for one in self.pictures)
        return "\n".join([*shown, *map(rendering.markdown, self.tables)])


def make(runs: Runs) -> Made:
    """Every table and figure that the runs allow."""
    made = Made([], [])
    for plan in STUDIES.values():
        of = arms(runs, plan)
        if all(arm.finals.empty for arm in of):
            continue
        made.pictures.append(figures.study.build(of, plan))
        made.tables.extend((study.outcomes(runs, plan), study.measurements(runs, plan)))
        if plan.confirms:
            made.tables.append(study.verdicts(runs, plan))
    paths = [folder / MEASURED for folder in runs.folders if (folder / MEASURED).is_file()]
    if paths:
        measured = read(paths[0])
        made.pictures.append(figures.mechanism.build(*measured))
        made.tables.extend(mechanism.build(*measured))
    return made


def write(runs: Runs, output: Output) -> None:
    """Rewrite the README of the output folder, its tables and its figures."""
    made = make(runs)
    if not made.tables:
        raise UserError("no finished run of a study in the results: run python -m benchmarks.run --study first")
    output.replace(BLOCK, made.block)
    for table in made.tables:
        output.write(f"{table.name}.csv", rendering.comma_separated(table))
    for picture in made.pictures:
        output.write(f"{picture.name}.png", figures.render(picture, "png"))
    print(f"{output.folder / 'README.md'}, {len(made.tables)} tables and {len(made.pictures)} figures rewritten")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main(
        "make_study", "Refresh the tables of the study of readings.", write, arguments, output=FOLDER, results=[FOLDER]
    )


if __name__ == "__main__":
    sys.exit(main())
