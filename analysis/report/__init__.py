"""The report as one HTML page: no network, no script needed to read it, a script only to sort tables."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import claims, figures, rendering
from analysis.check_claims import ledger, points_table
from analysis.claims import Claim, Finding, Verdict
from analysis.claims.contradictions import Point
from analysis.figures import Picture
from analysis.rendering import Table
from analysis.report.reproduce import commands
from analysis.runs import Runs, Setting

_HERE = Path(__file__).parent
HEADLINE = (
    "nas-bench-201-first-order", "nas-bench-201-second-order", "space-3-first-order", "selection-improves-first-order",
    "selection-beats-zero-cost", "reading-ivon-fast", "reading-ivon", "reading-weights-at-draws",
)  # fmt: skip
"""The claims that the page opens with."""


def page(
    runs: Runs,
    *,
    judged: Sequence[tuple[Claim, Finding]],
    points: Sequence[Point],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
) -> str:
    """The whole page."""
    make, rest = "python -m analysis.make_", f" --results {' '.join(map(str, runs.folders))}"
    sections = {
        "Headline": _headline(judged),
        "Claims": rendering.html_table(ledger(judged))
        + rendering.html_table(points_table(points))
        + _how(f"python -m analysis.check_claims{rest}"),
        "Tables": "".join(rendering.html_table(table) + _how(f"{make}tables{rest}") for table in tables),
        "Figures": "".join(_figure(picture) + _how(f"{make}figures{rest}") for picture in pictures),
        "Reproduce": _reproduce(runs),
        "Environment": _environment(runs),
    }
    links = " ".join(f'<a href="#{name.lower()}">{name}</a>' for name in sections)
    content = "".join(
        f'<section id="{name.lower()}"><h2>{name}</h2>\n{text}</section>\n' for name, text in sections.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>BaLeNAS, checked</title>\n<style>\n{(_HERE / 'page.css').read_text()}</style>\n</head>\n<body>\n"
        f"<header><h1>BaLeNAS, checked</h1><nav>{links}</nav></header>\n<main>\n"
        f"{content}</main>\n<script>\n{(_HERE / 'sort.js').read_text()}</script>\n</body>\n</html>\n"
    )


def _how(line: str) -> str:
    return f"<p>Reproduce: <code>{html.escape(line)}</code></p>\n"


def _headline(judged: Sequence[tuple[Claim, Finding]]) -> str:
    by_id = {claim.id: (claim, finding) for claim, finding in judged}
    lines = []
    for name in HEADLINE:
        claim, finding = by_id[name]
        lines.append(
            f'<li><strong class="{_colour(finding.verdict)}">{html.escape(finding.qualified)}</strong>: '
            f"{html.escape(claims.sentence(claim, finding))}</li>"
        )
    return (
        "<p>What Zhang et al., BaLeNAS (CVPR 2022, arXiv 2111.13204) claims, and what came out here. "
        f"{len(judged)} claims: {html.escape(claims.summary(judged))}.</p>\n<ul>{''.join(lines)}</ul>\n"
    )


def _colour(verdict: Verdict) -> str:
    return {Verdict.HOLDS: "holds", Verdict.DOES_NOT_HOLD: "fails"}.get(verdict, "open")


def _figure(picture: Picture) -> str:
    data = base64.b64encode(figures.render(picture, "png")).decode()
    title, caption = html.escape(picture.title), html.escape(picture.caption)
    return (
        f'<figure id="fig-{picture.name}"><h3>{title}</h3>\n<img alt="{title}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _reproduce(runs: Runs) -> str:
    lines = "\n".join(map(html.escape, commands(runs)))
    note = "DIR is a folder that holds CIFAR-10 in its official layout. Runs that are done are not done again."
    return f"<pre>{lines}</pre>\n<p>{note}</p>\n"


def _environment(runs: Runs) -> str:
    hidden = ("facts.seconds", "facts.resumed")
    facts = [c for c in map(str, runs.finals) if c.startswith("facts.") and not c.startswith(hidden)]
    rows = []
    for name in sorted(facts):
        values = sorted({str(value) for value in runs.finals[name].dropna()})
        rows.append((name.removeprefix("facts."), "; ".join(values) if len(values) < 6 else f"{len(values)} values"))
    tables = Table(
        "environment",
        "What the runs were made with",
        ("fact", "value"),
        tuple(rows),
        f"{len(runs.finals)} finished runs, {len(runs.failed)} that did not finish, from "
        f"{', '.join(map(str, runs.folders))}.",
    )
    return rendering.html_table(tables) + _settings(runs.settings, runs.finals)


def _settings(settings: Sequence[Setting], finals: pd.DataFrame) -> str:
    items = "".join(f"<li>{html.escape(f'{s.space}: {s.description}')}</li>" for s in settings)
    return f"<p>Settings of the {len(finals)} runs:</p><ul>{items}</ul>\n"
