"""``python -m analysis.make_readme``: the README's headline table, verdicts and two figures, from reference results.

Replaces what stands between two markers in ``README.md`` and writes the figures beside the reference results. A test
fails when either is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis import claims, command, figures, published, regression, rendering
from analysis.command import Output
from analysis.figures import Picture
from analysis.rendering import Cell, MeanSd, Table
from analysis.report import HEADLINE
from analysis.runs import Runs, Setting, display, method_of
from analysis.scores import LABELS, MEASURES
from analysis.tables.accuracy import caption
from benchmarks.errors import UserError

BLOCK = command.Block("headline", "make_readme")
FIGURES = "results/reference/figures"
SPACE = "nas-bench-201"
PUBLISHED = (
    "Published: as Table 1 of the paper prints them, by its text of 4 searches at its setting; the rows of DARTS are "
    "quoted and that of random search seems to be, of how many searches is not stated. Its one row of BaLeNAS-TF does "
    "not name the order."
)
VERDICTS = (
    "Verdicts are those of exact signed-rank tests with Holm's correction; the intervals, Student's t, show sizes. A "
    "reading is a method that the paper may mean, not one that it names, and its rival is DARTS at its best shared "
    "setting."
)


def block(runs: Runs) -> str:
    """The Markdown between the markers."""
    table = rendering.markdown(headline_table(runs, _setting(runs)))
    judged = {claim.id: (claim, finding) for claim, finding in claims.judge(runs, claims.load())}
    lines = [f"- **{judged[name][1].qualified}**: {claims.sentence(*judged[name])}" for name in HEADLINE]
    shown = "\n\n".join(f"![{p.title}]({FIGURES}/{p.name}.png)\n\n{p.title}. {p.caption}" for p in pictures(runs))
    return f"{table}\n" + "\n".join(lines) + f"\n\n{VERDICTS}\n\n{shown}\n"


def headline_table(runs: Runs, setting: Setting) -> Table:
    """Ours beside published on the three test sets."""
    rows: list[tuple[Cell, ...]] = []
    for label in runs.labels(setting):
        frame = runs.of(setting, label)
        ours = [MeanSd.of(frame[name].astype(float)) for name in MEASURES]
        rows.append((display(label), len(frame), *_interleave(ours, _published(method_of(label)))))
    ground = regression.load(SPACE)
    keywords = [regression.keywords(SPACE, name) for name in MEASURES]
    random = [ground.population(**k) for k in keywords]
    best = [MeanSd(ground.optimum(**k).value) for k in keywords]
    rows.append(("uniform draw, exact", None, *_interleave([MeanSd(p.mean, p.sd) for p in random], [None] * 3)))
    rows.append(("optimum, exact", None, *_interleave(best, [None] * 3)))
    return Table(
        "headline",
        f"NAS-Bench-201, test accuracy in % ({setting.title})",
        ("Method", "n", *(f"{name}{kind}" for name in LABELS for kind in ("", ", published"))),
        tuple(rows),
        caption(runs, setting, PUBLISHED),
    )


def _published(method: str) -> list[MeanSd | None]:
    for row in published.find("Table 1").rows:
        if method in row.methods:
            cells = {cell.column.measure: MeanSd(cell.value, cell.sd) for cell in row.cells}
            return [cells[name] for name in MEASURES]
    return [None] * len(MEASURES)


def _interleave(ours: Sequence[Cell], theirs: Sequence[Cell]) -> Iterator[Cell]:
    for pair in zip(ours, theirs, strict=True):
        yield from pair


def _setting(runs: Runs) -> Setting:
    found = runs.settings_of(SPACE)
    if not found:
        raise UserError(f"no finished runs on {SPACE} for the headline table: run python -m benchmarks.run first")
    return found[0]


def pictures(runs: Runs) -> list[Picture]:
    """The README's two figures: trajectories on NAS-Bench-201, and picks beside the whole space."""
    setting = _setting(runs)
    wanted = (f"trajectories-nas-bench-201-{setting.stem}", f"distribution-{setting.stem}")
    return [picture for picture in figures.build(runs) if picture.name in wanted]


def write(runs: Runs, output: Output) -> None:
    """Rewrite the README of the output folder and its figures."""
    text, drawn = block(runs), pictures(runs)
    output.replace(BLOCK, text)
    for picture in drawn:
        output.write(f"{FIGURES}/{picture.name}.png", figures.render(picture, "png"))
    print(f"{output.folder / 'README.md'} and {FIGURES} rewritten")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main("make_readme", "Refresh the README's headline.", write, arguments, output=Path())


if __name__ == "__main__":
    sys.exit(main())
