"""``python -m analysis.make_tables``: every table as Markdown, CSV, LaTeX and HTML; prints Table 1 and its like."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis import command, rendering, tables
from analysis.command import Output
from analysis.runs import Runs


def write(runs: Runs, output: Output) -> None:
    """Write all tables to ``tables/`` and print those of accuracies."""
    made = list(tables.build(runs))
    for table in made:
        for ending, render in rendering.FORMATS.items():
            output.write(f"tables/{table.name}.{ending}", render(table))
    for table in made:
        if table.name.startswith("table-1-"):
            print(rendering.markdown(table))
    endings = ", ".join(rendering.FORMATS)
    print(f"{len(made)} tables ({endings}) in {output.folder / 'tables'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main("make_tables", "Make every table from stored results; trains nothing.", write, arguments)


if __name__ == "__main__":
    sys.exit(main())
