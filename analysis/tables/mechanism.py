"""Why skip connections win or lose under a wide posterior: what ``benchmarks.mechanism`` measured, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.rendering import Cell, MeanSd, Table
from analysis.runs import display

WIDTHS = {"mean": "at the mean", "own": "over the posterior", "wide": "over draws of sigma 1"}
SHOWN = (0, 1, 5, 15, 30)
"""Epochs that the table of losses prints."""
PUSH = (
    "Operations: minus the gradient of the validation loss in the architecture parameters, in 1e-3 nats a unit, "
    "averaged over the six edges and the measured epochs after the first; positive strengthens."
)
Frame = pd.DataFrame


def build(frame: Frame, about: dict[str, Any]) -> Iterator[Table]:
    """All tables of a file of ``benchmarks.observations``."""
    yield gradients(frame, about)
    yield noise(frame, about)
    yield tolerance(frame, about)


def caption(about: dict[str, Any]) -> str:
    """What the numbers were measured on."""
    return (
        f"nas-bench-201, {about['tier']} tier, seed {about['seed']}, one search a row: {about['images']} validation "
        f"images without augmentation, {about['pairs']} antithetic pairs of draws, the same for every search."
    )


def name(search: str) -> str:
    """A search as tables and figures print it."""
    method, _, settings = search.partition("@")
    return display(method) + {"": "", "weights_at=sample": ", weights at draws"}[settings]


def parameters(frame: Frame, quantity: str, width: str | None = None) -> Frame:
    """Values by (epoch, edge) and operation, for one search."""
    chosen = frame[(frame["quantity"] == quantity) & frame["edge"].notna()]
    chosen = chosen[chosen["width"].isna() if width is None else chosen["width"] == width]
    table = chosen.pivot(index=["epoch", "edge"], columns="operation", values="value").sort_index()
    return table[list(dict.fromkeys(chosen["operation"]))]


def whole(frame: Frame, quantity: str, width: str, column: str = "value") -> pd.Series:
    """Values of the whole network by epoch, for one search; empty where the width was not measured."""
    chosen = frame[(frame["quantity"] == quantity) & (frame["width"] == width) & frame["operation"].isna()]
    return chosen.set_index("epoch")[column].sort_index()


def searches(frame: Frame) -> list[str]:
    """The searches, in the order of the file."""
    return list(dict.fromkeys(frame["search"].astype(str)))


def of(frame: Frame, search: str) -> Frame:
    """The rows of one search."""
    return frame[frame["search"] == search]


def pushes(frame: Frame, width: str) -> Frame:
    """Minus the architecture gradient, averaged over edges: by epoch and operation, for one search.

    Positive where a step of gradient descent would strengthen the operation. An edge's gradients sum to zero.
    """
    return -parameters(frame, "gradient", width).groupby("epoch").mean()


def gradients(frame: Frame, about: dict[str, Any]) -> Table:
    """Each operation's push at the mean and over draws, averaged over the search, and how the two compare."""
    operations = list(pushes(of(frame, searches(frame)[0]), "mean").columns)
    rows: list[tuple[Cell, ...]] = []
    for search in searches(frame):
        one = of(frame, search)
        at_mean = parameters(one, "gradient", "mean")
        for width, words in WIDTHS.items():
            there = parameters(one, "gradient", width)
            if there.empty:
                continue
            late = there.index.get_level_values("epoch") > 0
            push = pushes(one, width)
            a, b = at_mean[late].groupby("epoch"), there[late].groupby("epoch")
            pairs = [(x.to_numpy().ravel(), b.get_group(epoch).to_numpy().ravel()) for epoch, x in a]
            cosine = float(np.mean([x @ y / (np.linalg.norm(x) * np.linalg.norm(y)) for x, y in pairs]))
            length = float(np.mean([np.linalg.norm(y) / np.linalg.norm(x) for x, y in pairs]))
            same = width == "mean"
            rows.append(
                (
                    name(search),
                    words,
                    *(f"{1000 * push.loc[push.index > 0, op].mean():+.1f}" for op in operations),
                    None if same else cosine,
                    None if same else length,
                )
            )
    return Table(
        "mechanism-gradients",
        "What the architecture gradient asks for, at the mean and averaged over draws",
        ("search", "gradient", *operations, "cosine with the mean's", "length / the mean's"),
        tuple(rows),
        caption(about),
        (PUSH,),
    )


def noise(frame: Frame, about: dict[str, Any]) -> Table:
    """What draws do to the loss, beside half the sum of sigma_i^2 H_ii."""
    rows: list[tuple[Cell, ...]] = []
    for search in searches(frame):
        one = of(frame, search)
        losses = whole(one, "loss", "mean")
        for epoch in (e for e in losses.index if e in SHOWN or e == losses.index[-1]):
            cells: list[Cell] = []
            for width in ("own", "wide"):
                found = whole(one, "rise", width)
                if epoch not in found.index:
                    cells += [None, None]
                    continue
                error = whole(one, "rise", width, "error")[epoch]
                cells += [f"{found[epoch]:+.4f} ({error:.4f})", f"{whole(one, 'predicted', width)[epoch]:+.4f}"]
            rows.append((name(search), int(epoch), MeanSd(float(losses[epoch]), digits=3), *cells))
    return Table(
        "mechanism-noise",
        "What draws do to the loss, measured and predicted by Eq. (19)",
        (
            "search", "epoch", "loss at the mean", "rise over the posterior", "predicted", "rise over sigma 1",
            "predicted, sigma 1",
        ),
        tuple(rows),
        caption(about),
        ("Nats; in brackets one standard error. Predicted: half the sum of sigma_i^2 H_ii.",),
    )  # fmt: skip


def tolerance(frame: Frame, about: dict[str, Any]) -> Table:
    """How much the loss rises where one operation's parameters alone are drawn, and that operation's curvature."""
    rows: list[tuple[Cell, ...]] = []
    operations: list[str] = []
    for search in searches(frame):
        one = of(frame, search)
        last = one[one["epoch"] == one["epoch"].max()]
        rises = last[(last["quantity"] == "rise") & last["edge"].isna() & last["operation"].notna()]
        rises = rises.set_index(rises["operation"].astype(str))
        curvature, weight = parameters(last, "curvature").sum(), parameters(last, "weight").mean()
        operations = [str(op) for op in curvature.index]
        rows.append(
            (name(search), "rise", *(f"{rises['value'][op]:+.4f} ({rises['error'][op]:.4f})" for op in operations))
        )
        rows.append((name(search), "half the sum of H_ii", *(f"{curvature[op] / 2:+.4f}" for op in operations)))
        rows.append((name(search), "mean operation weight", *(f"{weight[op]:.3f}" for op in operations)))
    return Table(
        "mechanism-tolerance",
        "Which operations tolerate noise of sigma 1 in their own parameters, at the last epoch",
        ("search", "", *operations),
        tuple(rows),
        caption(about),
        ("Nats; in brackets one standard error. Half the sum of H_ii over the six edges is Eq. (19)'s prediction.",),
    )
