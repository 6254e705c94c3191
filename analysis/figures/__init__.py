"""Every figure, drawn from runs and from the benchmark tables."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl

from analysis.figures import cells, mechanism, outcomes, study, trajectories
from analysis.figures.style import ENDINGS, RC, Picture, render
from analysis.runs import Runs


def build(runs: Runs) -> Iterator[Picture]:
    """All figures that the runs allow, in the order of the report."""
    with mpl.rc_context(RC):
        pictures = [picture for module in (trajectories, outcomes, cells) for picture in module.build(runs)]
    yield from pictures


__all__ = ["ENDINGS", "Picture", "build", "mechanism", "render", "study"]
