"""``python -m analysis.check_claims``: every claim of the paper, and of readings of it, with what became of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from analysis import claims, command, rendering
from analysis.claims import Claim, Finding, contradictions
from analysis.claims.contradictions import Point
from analysis.command import Output
from analysis.rendering import Table
from analysis.runs import Runs


def ledger(judged: Sequence[tuple[Claim, Finding]]) -> Table:
    """The claims as a table."""
    rows = [
        (
            claim.marked,
            claim.where,
            finding.qualified,
            finding.n,
            finding.effect,
            f"{finding.interval.low:.3g} to {finding.interval.high:.3g}" if finding.interval else "",
            finding.evidence,
        )
        for claim, finding in judged
    ]
    return Table(
        name="claims",
        title="Claims of the paper, and of readings of it",
        columns=("claim", "where", "verdict", "n", "effect", "95 % interval", "evidence"),
        rows=tuple(rows),
        caption=f"{len(rows)} claims: {claims.summary(judged)}. "
        "Verdicts are computed from stored results and from the benchmark; paired tests are exact Wilcoxon tests "
        "at equal seeds, Holm-corrected within families of claims; intervals are Student's t.",
        notes=(
            "A verdict reached at a reduced tier names the tier: it holds there and need not at the paper's setting.",
            "'analogue' marks a quantity of the paper's DARTS-space figures measured on another space.",
            "'reading' marks a method that the paper may mean, against DARTS at its best shared setting.",
        ),
    )


def points_table(points: Sequence[Point]) -> Table:
    """The contradictions as a table."""
    return Table(
        name="contradictions",
        title="Points at which the paper contradicts itself, the benchmark or its sources",
        columns=("point", "where", "status", "evidence"),
        rows=tuple((p.statement, p.where, str(p.status), p.evidence) for p in points),
        caption="'confirmed' and 'not an error' are computed; 'read' can be read at the place named; 'not verified' "
        "and 'open' decide nothing.",
    )


def write(runs: Runs, output: Output) -> None:
    """Print the ledger and write it as Markdown, CSV, LaTeX, HTML and JSON."""
    judged, points = claims.judge(runs, claims.load()), contradictions.load(runs)
    for claim, finding in judged:
        details = [f"n = {finding.n}" if finding.n is not None else "", finding.effect]
        if finding.interval:
            details.append(f"95 % [{finding.interval.low:.3g}, {finding.interval.high:.3g}]")
        print(f"{finding.qualified}: {claim.marked}")
        print(f"    {'; '.join(filter(None, [*details, finding.evidence]))}")
    print()
    for point in points:
        print(f"{point.status}: {point.where}: {point.statement}\n    {point.evidence or 'as read'}")
    for table in (ledger(judged), points_table(points)):
        for ending, render in rendering.FORMATS.items():
            output.write(f"claims/{table.name}.{ending}", render(table))
    plain = [
        {
            "id": claim.id,
            "statement": claim.statement,
            "where": claim.where,
            "kind": claim.kind,
            "verdict": str(finding.verdict),
            "setting": finding.setting,
            "n": finding.n,
            "effect": finding.effect,
            "interval": [finding.interval.low, finding.interval.high] if finding.interval else None,
            "evidence": finding.evidence,
        }
        for claim, finding in judged
    ]
    text = json.dumps({"claims": plain, "contradictions": contradictions.as_dicts(points)}, indent=1)
    path = output.write("claims/claims.json", text + "\n")
    print(f"\n{claims.summary(judged)}; written to {path.parent}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    return command.main("check_claims", "Check every claim of the paper on stored results.", write, arguments)


if __name__ == "__main__":
    sys.exit(main())
