"""Architecture gradients at the mean and over draws, and what the draws cost, along four searches."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.style import Picture
from analysis.tables import mechanism as tables

OPERATIONS = {
    "none": ("#7f7f7f", ":", "x", "none"),
    "skip_connect": ("#d55e00", "-", "D", "skip"),
    "nor_conv_1x1": ("#56b4e9", "--", "s", "1x1 conv"),
    "nor_conv_3x3": ("#0072b2", "-", "o", "3x3 conv"),
    "avg_pool_3x3": ("#e69f00", "-.", "^", "pooling"),
}
"""Colour, dash, marker and name of every operation."""
LABELS = (
    "push, at the mean\n(1e-3 nats a unit)",
    "push, average over sigma 1\n(1e-3 nats a unit)",
    "rise of the loss (nats)",
)


def build(frame: pd.DataFrame, about: dict[str, Any]) -> Picture:
    """The figure of a file of ``benchmarks.observations``."""
    with mpl.rc_context(style.RC):
        searches = tables.searches(frame)
        figure, axes = style.panels(3, len(searches))
        for column, search in enumerate(searches):
            one = tables.of(frame, search)
            for row, width in enumerate(("mean", "wide")):
                _pushes(axes[row][column], tables.pushes(one, width), tables.pushes(one, width, "error"))
            _losses(axes[2][column], one)
            axes[0][column].set_title(tables.name(search))
            axes[2][column].set_xlabel("search epoch")
        for panels, words in zip(axes, LABELS, strict=True):
            for axis in panels[1:]:
                axis.sharey(panels[0])
                axis.autoscale(axis="y")
            panels[0].set_ylabel(words)
        style.legend(figure, [axis for panels in axes for axis in panels])
    return Picture(
        "mechanism",
        "What the architecture gradient asks for, and what a wide posterior makes of it",
        "Above, minus the gradient of the validation loss in the architecture parameters, averaged over the six edges: "
        "at the mean (bars: standard deviation over disjoint batches), then averaged over draws of sigma 1, from which "
        "BaLeNAS's posterior starts (bars: standard error of the draws). Below, how far the mean loss over draws lies "
        f"above the loss at the mean, beside half the sum of sigma_i^2 H_ii (Eq. 19). {tables.caption(about)}",
        figure,
    )


def _pushes(axis: Axes, push: pd.DataFrame, error: pd.DataFrame) -> None:
    for operation in push.columns:
        colour, dash, marker, name = OPERATIONS[operation]
        bars = 1000 * error[operation]
        axis.errorbar(
            push.index, 1000 * push[operation], bars, color=colour, linestyle=dash, marker=marker, label=name,
            elinewidth=0.7,
        )  # fmt: skip
    axis.axhline(0, color="black", linewidth=0.6)


def _losses(axis: Axes, one: pd.DataFrame) -> None:
    looks = {"own": ("#009e73", "o", "own sigma"), "wide": ("#cc79a7", "s", "sigma 1")}
    for width, (colour, marker, words) in looks.items():
        found = tables.whole(one, "rise", width)
        if found.empty:
            continue
        errors, predicted = tables.whole(one, "rise", width, "error"), tables.whole(one, "predicted", width)
        axis.errorbar(found.index, found, yerr=errors, color=colour, marker=marker, label=f"measured, {words}")
        axis.plot(predicted.index, predicted, color=colour, linestyle="--", label=f"predicted, {words}")
    axis.axhline(0, color="black", linewidth=0.6)
