"""``python -m analysis.make_figures``: every figure as PDF, SVG and PNG, with its caption in a text file beside it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis import command, figures
from analysis.command import Output
from analysis.runs import Runs


def write(runs: Runs, output: Output) -> None:
    """Write all figures to ``figures/``."""
    names = []
    for picture in figures.build(runs):
        for ending in figures.ENDINGS:
            output.write(f"figures/{picture.name}.{ending}", figures.render(picture, ending))
        output.write(f"figures/{picture.name}.txt", f"{picture.title}. {picture.caption}\n")
        names.append(picture.name)
        print(f"{picture.name}: {picture.title}")
    print(f"{len(names)} figures ({', '.join(figures.ENDINGS)}) in {output.folder / 'figures'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main("make_figures", "Draw every figure from stored results; trains nothing.", write, arguments)


if __name__ == "__main__":
    sys.exit(main())
