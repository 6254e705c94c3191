"""Why skip connections win or lose under a wide posterior: what ``benchmarks.mechanism`` measured, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.rendering import Cell, Table
from analysis.runs import describe, display

FOLLOWED = ("skip_connect", "nor_conv_3x3")
"""Operations whose pushes are printed; the figure has all."""
SHOWN = (0, 1, 3, 5, 15, 30)
"""Epochs that the table of gradients prints, besides the last."""
NAMES = {"": "", "weights_at=sample": ", weights at draws", "arch_weight_decay=4e-5": ", L2 of BaLeNAS"}
WIDTHS = ("at the mean", "over the posterior", "posterior minus mean", "over sigma 1")
PUSH = (
    "Push: minus the gradient of the validation loss in an operation's architecture parameters, in 1e-3 nats a unit, "
    "averaged over the six edges; positive strengthens. In brackets, at the mean, the standard deviation over disjoint "
    "batches; over draws, and of what these differ by from the mean, the standard error of the draws, all on the "
    "first batch."
)
NOISE = (
    "Nats; in brackets one standard error. Predicted: half the sum of sigma_i^2 H_ii. A ratio is left out where what "
    "is measured lies within three standard errors of 0."
)
TOLERANCE = (
    "Rises in nats, in brackets one standard error; half the sum of H_ii over the six edges is Eq. (19)'s prediction. "
    "Pushes in 1e-3 nats a unit. The correlation is over five operations."
)
Frame = pd.DataFrame


def build(frame: Frame, about: dict[str, Any]) -> Iterator[Table]:
    """All tables of a file of ``benchmarks.observations``."""
    yield gradients(frame, about)
    yield noise(frame, about)
    yield tolerance(frame, about)


def caption(about: dict[str, Any]) -> str:
    """What the numbers were measured on."""
    budget, facts = about["budget"], about["facts"]
    run = {f"budget.{name}": value for name, value in budget.items()}
    run |= {"tier": budget["tier"], "data": budget["data"], "images": facts["images_sha256"]}
    run["facts.images_provenance"] = facts["images_provenance"]
    return (
        f"nas-bench-201, {describe(pd.Series(run))}; seed {about['seed']}, one search each. Measured on "
        f"{about['batch']} validation images without augmentation and {about['pairs']} antithetic pairs of draws, the "
        "same for every search."
    )


def name(search: str) -> str:
    """A search as tables and figures print it."""
    method, _, settings = search.partition("@")
    return display(method) + NAMES[settings]


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


def pushes(frame: Frame, width: str, column: str = "value") -> Frame:
    """Pushes by epoch and operation (see ``PUSH``; nats a unit), for one search; empty where not measured."""
    chosen = frame[(frame["quantity"] == "push") & (frame["width"] == width)]
    table = chosen.pivot(index="epoch", columns="operation", values=column).sort_index()
    return table[list(dict.fromkeys(chosen["operation"]))]


def gradients(frame: Frame, about: dict[str, Any]) -> Table:
    """How skip connections and 3x3 convolutions are pushed at the mean and over draws, along every search."""
    rows: list[tuple[Cell, ...]] = []
    for search in searches(frame):
        one = of(frame, search)
        sigma = parameters(one, "sigma").groupby("epoch").mean().mean(axis=1)
        pushed_by = {width: (pushes(one, width), pushes(one, width, "error")) for width in ("mean", "own", "wide")}
        at_mean, *averages = (parameters(one, "gradient", width) for width in pushed_by)
        for epoch in _shown(one):
            at, own, wide = pushed_by.values()
            moved = (own[0] - at[0] if len(own[0]) else own[0], own[1])
            pushed = [_with_error(*both, op, epoch) for op in FOLLOWED for both in (at, own, moved, wide)]
            cosines = [_cosine(at_mean, average, epoch) for average in averages]
            cell = str(one.loc[one["epoch"] == epoch, "architecture"].iloc[0])
            skips, convolutions = (f"{cell.count(op)} of 6" for op in FOLLOWED)
            width = f"{sigma[epoch]:.2f}" if sigma[epoch] > 0 else None
            rows.append((name(search), epoch, width, skips, convolutions, *pushed, *cosines))
    return Table(
        "mechanism-gradients",
        "What the architecture gradient asks for, at the mean and averaged over draws",
        (
            "search", "epoch", "mean sigma", *(f"{op} in the cell" for op in FOLLOWED),
            *(f"{op}: {width}" for op in FOLLOWED for width in WIDTHS),
            "cosine of posterior's and mean's", "cosine of sigma 1's and mean's",
        ),
        tuple(rows),
        caption(about),
        (PUSH,),
    )  # fmt: skip


def _shown(one: Frame) -> list[int]:
    epochs = sorted(set(one["epoch"]))
    return [int(epoch) for epoch in epochs if epoch in SHOWN or epoch == epochs[-1]]


def _with_error(values: Frame, errors: Frame, operation: str, epoch: int) -> str | None:
    if values.empty:
        return None
    return f"{1000 * values[operation][epoch]:+.1f} ({1000 * errors[operation][epoch]:.1f})"


def _cosine(at_mean: Frame, average: Frame, epoch: int) -> float | None:
    """Between two gradients over all parameters; None where the second was not measured."""
    if average.empty:
        return None
    a, b = (gradient.loc[epoch].to_numpy().ravel() for gradient in (at_mean, average))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def noise(frame: Frame, about: dict[str, Any]) -> Table:
    """What draws do to the loss, beside half the sum of sigma_i^2 H_ii."""
    rows: list[tuple[Cell, ...]] = []
    for search in searches(frame):
        one = of(frame, search)
        losses = whole(one, "loss", "mean")
        for epoch in map(int, losses.index):
            cells = [cell for width in ("own", "wide") for cell in _rise(one, width, epoch)]
            rows.append((name(search), epoch, f"{losses[epoch]:.3f}", *cells))
    return Table(
        "mechanism-noise",
        "What draws do to the loss, measured and predicted by Eq. (19)",
        (
            "search", "epoch", "loss at the mean", "rise over the posterior", "predicted", "predicted / measured",
            "rise over sigma 1", "predicted, sigma 1", "predicted / measured, sigma 1",
        ),
        tuple(rows),
        caption(about),
        (NOISE,),
    )  # fmt: skip


def _rise(one: Frame, width: str, epoch: int) -> tuple[Cell, Cell, Cell]:
    measured = whole(one, "rise", width)
    if measured.empty:
        return None, None, None
    value, error = measured[epoch], whole(one, "rise", width, "error")[epoch]
    predicted = whole(one, "predicted", width)[epoch]
    ratio = None if abs(value) < 3 * error else f"{predicted / value:.2f} ({abs(predicted * error) / value**2:.2f})"
    return f"{value:+.4f} ({error:.4f})", f"{predicted:+.4f}", ratio


def _rank_correlation(a: pd.Series, b: pd.Series) -> str:
    """Spearman's, with its two-sided p over all orders."""

    def spearman(one: pd.Series) -> float:
        return float(stats.spearmanr(one, b).statistic)

    test = stats.permutation_test((a,), spearman, permutation_type="pairings")
    return f"{test.statistic:.2f} ({test.pvalue:.2f})"


def tolerance(frame: Frame, about: dict[str, Any]) -> Table:
    """How much the loss rises where one operation's parameters alone are drawn, beside how it is pushed."""
    rows: list[tuple[Cell, ...]] = []
    operations: list[str] = []
    for search in searches(frame):
        one = of(frame, search)
        last = one[one["epoch"] == one["epoch"].max()]
        rises = last[(last["quantity"] == "rise") & last["operation"].notna()].set_index("operation")
        half, weight = parameters(last, "curvature").sum() / 2, parameters(last, "weight").mean()
        push = pushes(last, "wide").iloc[0]
        operations = [str(op) for op in half.index]
        correlation = _rank_correlation(rises.loc[operations, "value"], push[operations])
        printed = {
            "rise": [f"{rises['value'][op]:+.4f} ({rises['error'][op]:.4f})" for op in operations],
            "half the sum of H_ii": [f"{half[op]:+.4f}" for op in operations],
            "mean operation weight": [f"{weight[op]:.3f}" for op in operations],
            "push over sigma 1": [f"{1000 * push[op]:+.1f}" for op in operations],
        }
        rows += [
            (name(search), row, *cells, correlation if row.startswith("push") else None)
            for row, cells in printed.items()
        ]
    return Table(
        "mechanism-tolerance",
        "Which operations tolerate noise of sigma 1 in their own parameters, at the last epoch",
        ("search", "", *operations, "Spearman of rise and push (exact p)"),
        tuple(rows),
        caption(about),
        (TOLERANCE,),
    )
