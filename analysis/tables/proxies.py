"""How well proxies rank architectures: correlations with accuracy from shipped scores, beside published ones."""

from __future__ import annotations

from analysis import published, scores
from analysis.correlation import Correlation, correlation
from analysis.rendering import Cell, Table
from analysis.scores import LABELS
from analysis.tables.selection import SPACE

PUBLISHED = "Published correlations are listed where their source could be read; the paper itself prints none."
NOT_PUBLISHED = (
    "No published correlation on this space could be read; the paper itself prints none. Graphs count once each, "
    "however many encodings they have."
)
INTERVALS = (
    "Intervals: Fisher's z with the variances of Bonett and Wright (2000) and of Fieller, Hartley and Pearson (1957)."
)


def correlations(space: str) -> Table | None:
    """Rank correlations of every shipped proxy with test accuracy, beside published ones where they were verified."""
    widths = scores.held_widths(space)
    if not widths:
        return None
    rows: list[tuple[Cell, ...]] = []
    labels = LABELS if space == SPACE else LABELS[:1]
    heads = [f"{label}: {coefficient}" for label in labels for coefficient in ("Spearman", "Kendall")]
    for proxy, width in widths:
        table = scores.load(space, proxy, width)
        for seed, by_seed in zip(table.seeds, table.by_seed, strict=True):
            found = [correlation(by_seed, table.accuracies[:, i]) for i in range(len(labels))]
            values = [value for c in found for value in _texts(c, sampled=not table.complete)]
            rows.append((proxy, seed, len(table.positions), *values, table.settings))
    for printed in published.tables():
        if printed.name == "rank correlations" and printed.space == space:
            for row in printed.rows:
                cell = row.cells[0]
                blanks = [None] * (2 * len(labels) - 1)
                rows.append((f"{row.label} ({printed.paper})", None, None, f"{cell.value:g}", *blanks, cell.protocol))
    return Table(
        f"proxies-{space}",
        f"Rank correlation of training-free proxies with test accuracy, {space}",
        ("proxy", "initialisation seed", "n", *heads, "settings"),
        tuple(rows),
        "Over n architectures: the whole space, or the uniform sample that was scored, then with a 95 % interval. "
        "Scores that are no finite number rank last. Accuracies are means of the benchmark's trainings; no run of a "
        "search is involved.",
        (
            scores.not_done(space),
            PUBLISHED if space == SPACE else NOT_PUBLISHED,
            INTERVALS,
        ),
    )


def _texts(found: Correlation, *, sampled: bool) -> tuple[str, str]:
    texts = (f"{found.spearman:.3f}", f"{found.kendall:.3f}")
    if not sampled:
        return texts
    ends = (found.spearman_interval, found.kendall_interval)
    spearman, kendall = (f"{t} ({a:.2f} to {b:.2f})" for t, (a, b) in zip(texts, ends, strict=True))
    return spearman, kendall
