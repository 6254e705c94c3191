"""``python -m analysis.make_report``: one self-contained HTML page with the claims, all tables and all figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis import claims, command, figures, report, tables
from analysis.claims import contradictions
from analysis.command import Output
from analysis.runs import Runs


def write(runs: Runs, output: Output) -> None:
    """Write ``report.html``."""
    page = report.page(
        runs,
        judged=claims.judge(runs, claims.load()),
        points=contradictions.load(runs),
        tables=list(tables.build(runs)),
        pictures=list(figures.build(runs)),
    )
    path = output.write("report.html", page)
    print(f"{path} ({len(page.encode()) / 2**20:.1f} MiB, one file, no network needed)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main("make_report", "Write the whole report as one HTML page; trains nothing.", write, arguments)


if __name__ == "__main__":
    sys.exit(main())
