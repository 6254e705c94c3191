"""Every search of a study, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.style import Picture
from analysis.study import Arm
from analysis.tables import study as tables
from benchmarks.studies import Study

HEIGHT = 0.19
"""Inches a row."""
LOW = 45.0
"""Where the axis begins (%); the space's few worse cells and diverged searches stand at the edge."""


def build(of: Sequence[Arm], study: Study) -> Picture:
    """Accuracies of every arm that has runs, beside the DARTS that most rows are compared with."""
    shown = [arm for arm in of if len(arm.accuracy)]
    rival = of[0]  # every study starts with the DARTS of most comparisons
    with mpl.rc_context(style.RC):
        figure, axes = style.panels(1, 1, width=7.4, height=HEIGHT * len(shown) + 0.6)
        axis = axes[0][0]
        for height, arm in enumerate(reversed(shown)):
            _row(axis, height, arm)
        if rival.has_ended:
            words = f"mean of {rival.name}"
            axis.axvline(rival.accuracy.mean(), color="black", linewidth=0.8, linestyle=":", label=words)
        axis.set_yticks(range(len(shown)), [_label(arm) for arm in reversed(shown)], fontsize=7)
        axis.set_ylim(-0.7, len(shown) - 0.3)
        axis.set_xlim(left=LOW)
        axis.set_xlabel("CIFAR-10 test (%)")
        style.legend(figure, [axis])
    return Picture(
        f"{study.name}-outcomes",
        f"What the searches of every row found ({study.name})",
        tables.caption(
            of,
            study,
            f"One marker a search; those below {LOW:g} % stand at the left edge, diverged ones with them, which count "
            "as 0 %. A stroke is the mean of a row whose seeds have all ended.",
        ),
        figure,
    )


def _label(arm: Arm) -> str:
    """The change and the method, with its settings where the row has the same method twice."""
    bases = [method.partition("@")[0] for method in arm.row.methods]
    settings = arm.settings if bases.count(arm.method.partition("@")[0]) > 1 else ""
    return f"{arm.row.question}: {arm.base}" + (f", {settings}" if settings else "")


def _row(axis: Axes, height: int, arm: Arm) -> None:
    look = style.look("darts-1st" if arm.is_darts else "balenas-1st")
    name = "DARTS" if arm.is_darts else "control" if arm.row.kind == "control" else "BaLeNAS"
    colour = "#7f7f7f" if name == "control" else look.colour
    found = arm.accuracy.clip(lower=LOW)
    axis.plot(
        found, [height] * len(found), look.marker, color=colour, alpha=0.7, linestyle="none", label=name, clip_on=False
    )
    if arm.has_ended:
        axis.plot(max(LOW, arm.accuracy.mean()), height, "|", color="black", markersize=9)
