"""How likely four runs of zero-cost NAS spread as little as BaLeNAS's tables print."""

from __future__ import annotations

from functools import cache

import numpy as np

from analysis import published, scores
from analysis.zero_cost import SmallSpread, small_spread

SPACE = "nas-bench-201"
ROWS = (
    ("Table 2", "Zero-cost NAS (10)", 10),
    ("Table 2", "Zero-cost NAS (50)", 50),
    ("Table 2", "Zero-cost NAS (100)", 100),
    ("Table 1", "Zero-cost NAS", 100),
)
"""Table, row and sample size (Table 1's by the paper's text)."""


@cache
def of_row(table: str, label: str, draws: int, ddof: int) -> SmallSpread | None:
    """Simulated from exact probabilities, three test columns; None without SynFlow scores of the whole space."""
    synflow = scores.complete(SPACE, "synflow")
    if synflow is None:
        return None
    row = published.find(table).row(label)
    printed = {cell.column.measure: cell.sd or 0.0 for cell in row.cells}
    return small_spread(
        synflow.by_seed,
        synflow.accuracies,
        draws,
        [printed[name] for name in scores.MEASURES],
        ddof=ddof,
        rng=np.random.default_rng(0),
    )
