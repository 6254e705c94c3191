"""What happens during the searches, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.style import Picture
from analysis.rendering import span
from analysis.runs import Runs, Setting, display, share

ONE_SHOT = "nas-bench-1shot1-s"
BAND = "Lines are means over searches, bands the range of the searches (least to greatest)."
NAMES = {"nas-bench-201": "NAS-Bench-201"} | {f"{ONE_SHOT}{i}": f"1Shot1, space {i}" for i in (1, 2, 3)}
SKIP = ("skip_connect",)
WEIGHTLESS = ("skip_connect", "avg_pool_3x3", "maxpool3x3")
"""Operations without weights. 1Shot1 has no skip connection: max pooling is its only one."""

Column = Callable[[pd.DataFrame], pd.Series]


def build(runs: Runs) -> Iterator[Picture]:
    """Every figure over epochs, one a tier and image set."""
    for group in runs.groups:
        stem = group[0].stem
        one_shot = [s for s in group if s.space.startswith(ONE_SHOT)]
        for picture in (
            _figure_1(runs, one_shot, stem),
            _accuracies(runs, group, stem),
            _skips(runs, group, stem),
            _hessian(runs, group, stem),
            _posterior(runs, group, stem),
            _noise(runs, group, stem),
        ):
            if picture is not None:
                yield picture


def note(runs: Runs, settings: Sequence[Setting], labels: Sequence[str] | None = None) -> str:
    """Tier, images and n of a figure."""
    counts = [len(runs.of(s, label)) for s in settings for label in labels or runs.labels(s)]
    n = span(count for count in counts if count)
    text = f"{settings[0].description}; n = {n} searches a method and space."
    if settings[0].is_digits:
        text += " Searched on handwritten digits: shows that the machine runs, not what the paper claims."
    return text


def lines(axis: Axes, runs: Runs, setting: Setting, column: str | Column, *, log: bool = False) -> bool:
    """Mean and range over searches for every method that has the column in more than one epoch."""
    drawn = False
    for label in runs.labels(setting):
        frame = runs.of(setting, label, epochs=True)
        if isinstance(column, str) and column not in frame:
            continue
        values = frame[column] if isinstance(column, str) else column(frame)
        table = frame.assign(_value=pd.to_numeric(values, errors="coerce")).dropna(subset=["_value"])
        table = table.pivot(index="epoch", columns="seed", values="_value")
        if len(table) < 2:
            continue
        look = style.look(label)
        axis.plot(
            table.index, table.mean(axis=1), color=look.colour, linestyle=look.dash, marker=look.marker,
            markevery=max(1, len(table) // 8), label=display(label),
        )  # fmt: skip
        if table.shape[1] > 1:
            axis.fill_between(
                table.index, table.min(axis=1), table.max(axis=1), color=look.colour, alpha=0.13, linewidth=0
            )
        drawn = True
    if log:
        axis.set_yscale("log")
    axis.set_xlabel("search epoch")
    axis.set_title(NAMES.get(setting.space, setting.space))
    return drawn


def _grid(
    runs: Runs, settings: Sequence[Setting], rows: Sequence[tuple[str | Callable[[Setting], Column], str, bool]],
    name: str, title: str, caption: str, empty: str = "not measured in these runs",
) -> Picture | None:  # fmt: skip
    """Spaces as columns, quantities as rows; None where nothing is there to draw."""
    figure, axes = style.panels(len(rows), max(len(settings), 1))
    drawn = False
    for row, (column, label, log) in zip(axes, rows, strict=True):
        for axis, setting in zip(row, settings, strict=False):
            chosen = column if isinstance(column, str) else column(setting)
            if lines(axis, runs, setting, chosen, log=log):
                drawn = True
            else:
                style.say(axis, empty)
        row[0].set_ylabel(label)
    if not drawn:
        return None
    style.legend(figure, [axis for row in axes for axis in row])
    return Picture(name, title, f"{caption} {note(runs, settings)}", figure)


def _figure_1(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture | None:
    if not settings:
        return None
    figure, axes = style.panels(2, len(settings))
    drawn = False
    for column, setting in enumerate(settings):
        drawn |= lines(axes[0][column], runs, setting, "regret_cifar10_test")
        validation = runs.of(setting, epochs=True).get("cifar10_valid")
        if validation is not None and validation.notna().all():
            lines(axes[1][column], runs, setting, lambda frame: 100 - frame["cifar10_valid"])
        else:
            style.say(axes[1][column], "known for few graphs only:\nsee the caption")
            axes[1][column].set_title(NAMES[setting.space])
    axes[0][0].set_ylabel("test regret (points)")
    axes[1][0].set_ylabel("validation error (%)")
    if not drawn:
        return None
    style.legend(figure, axes[0])
    return Picture(
        f"figure-1-{stem}",
        "Fig. 1: the architectures that a search would stop with, on NAS-Bench-1Shot1",
        "Test regret against the best mean of three trainings, per search epoch (the paper shows errors on space 3). "
        "Validation accuracies are known for few graphs, and the best of three trainings is no substitute: that panel "
        "is drawn for runs made after the official NAS-Bench-101 file was imported. "
        f"{BAND} {note(runs, settings)}",
        figure,
    )


def _accuracies(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture | None:
    chosen = [s for s in settings if s.space == "nas-bench-201"]
    titles = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}
    if not chosen:
        return None
    figure, axes = style.panels(1, len(titles))
    drawn = False
    for axis, (dataset, title) in zip(axes[0], titles.items(), strict=True):
        drawn |= lines(axis, runs, chosen[0], f"regret_{dataset}_test")
        axis.set_title(title)
    axes[0][0].set_ylabel("test regret (points)")
    if not drawn:
        return None
    style.legend(figure, axes[0])
    return Picture(
        f"trajectories-nas-bench-201-{stem}",
        "The architectures that a search would stop with, on NAS-Bench-201",
        f"Test regret at 200 epochs per search epoch. {BAND} {note(runs, chosen)}",
        figure,
    )


def _share(names: Sequence[str]) -> Callable[[Setting], Column]:
    """Share of some operations in the chosen cell, in %; missing where a space has none of them."""
    return lambda _: lambda frame: share(frame, names)


def _skips(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture | None:
    return _grid(
        runs,
        settings,
        [(_share(SKIP), "skip connections (%)", False), (_share(WEIGHTLESS), "without weights (%)", False)],
        f"figure-2-{stem}",
        f"Analogue of Fig. 2 on {_spaces(settings)}: skip connections and other operations without weights",
        "Above, the share of skip connections among the operations of the chosen cell; NAS-Bench-1Shot1 has none. "
        "Below, the share of all operations without weights that pass something on (skip connections and pooling), to "
        f"which a search can collapse too. {BAND}",
        empty="not in this space",
    )


def _hessian(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture | None:
    return _grid(
        runs,
        settings,
        [("hessian_dominant", "dominant eigenvalue", False), ("hessian_spectral_norm", "spectral norm", False)],
        f"figure-3-{stem}",
        f"Analogue of Fig. 3 on {_spaces(settings)}: Hessian of the validation loss in the architecture parameters",
        "Exact Hessian at the mean on one fixed probe batch, in nats, without weight decay; measured at epoch 0, every "
        f"few epochs and the last. The paper does not define its norm. {BAND}",
    )


def _posterior(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture | None:
    noisy = [s for s in settings if any(_is_noisy(runs.of(s, label)) for label in runs.labels(s))]
    if not noisy:
        return None

    def sigma(frame: pd.DataFrame) -> pd.Series:
        return frame["sigma_mean"].where(frame["sigma_mean"] > 0)

    return _grid(
        runs,
        noisy,
        [(lambda _: sigma, "mean sigma", False), ("distinct_draws", "distinct encodings in 100 draws", False)],
        f"posterior-{stem}",
        "How wide the posterior is",
        f"Standard deviation of the Gaussian posterior, averaged over parameters, and how many different encodings "
        f"100 draws of it give. {BAND}",
    )


def _is_noisy(frame: pd.DataFrame) -> bool:
    return "sigma_mean" in frame and bool((pd.to_numeric(frame["sigma_mean"]) > 0).any())


def _noise(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture | None:
    needed = ["noise_measured", "noise_predicted", "noise_standard_error"]
    found = []
    for setting in settings:
        frame = runs.of(setting, epochs=True)
        if set(needed) <= set(frame) and len(rows := frame.dropna(subset=needed)):
            found.append((setting, rows))
    if not found:
        return None
    figure, axes = style.panels(1, len(found))
    for axis, (setting, rows) in zip(axes[0], found, strict=True):
        for label, part in rows.groupby("label"):
            look = style.look(str(label))
            axis.errorbar(
                part["noise_predicted"], part["noise_measured"], yerr=part["noise_standard_error"], fmt=look.marker,
                color=look.colour, alpha=0.6, markersize=3, linewidth=0.8, label=display(str(label)),
            )  # fmt: skip
        ends = np.array([min(axis.get_xlim()[0], axis.get_ylim()[0]), max(axis.get_xlim()[1], axis.get_ylim()[1])])
        axis.plot(ends, ends, color="black", linewidth=0.8, linestyle="--", label="equal")
        axis.set_title(NAMES.get(setting.space, setting.space))
        axis.set_xlabel("predicted (nats)")
    axes[0][0].set_ylabel("measured (nats)")
    style.legend(figure, axes[0])
    return Picture(
        f"noise-{stem}",
        "Eq. (19) measured: what the posterior's noise does to the validation loss",
        "Measured: the mean loss over antithetic pairs of draws of the posterior minus the loss at its mean. "
        "Predicted: half the sum of sigma_i^2 H_ii. One point a search and measured epoch; bars are one standard "
        "error. On the line the second-order term explains the effect of the noise. "
        f"{note(runs, [s for s, _ in found])}",
        figure,
    )


def _spaces(settings: Sequence[Setting]) -> str:
    return ", ".join(NAMES.get(s.space, s.space) for s in settings)
