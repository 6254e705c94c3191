"""What the searches ended with, beside the whole space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis import regression, scores
from analysis.correlation import correlation
from analysis.figures import style
from analysis.figures.style import Picture
from analysis.figures.trajectories import NAMES, lines, note
from analysis.runs import Runs, Setting, display
from benchmarks.ground_truth import random_search
from benchmarks.ground_truth.measures import Dataset, Mean, Measure, Split

QUERIES = np.unique(np.geomspace(1, 1000, 60).round().astype(int))


def build(runs: Runs) -> Iterator[Picture]:
    """Every figure of outcomes."""
    for group in runs.groups:
        stem = group[0].stem
        yield _distribution(runs, group, stem)
        if group[0].space == "nas-bench-201":
            picture = _anytime(runs, group[0], stem)
            if picture is not None:
                yield picture
    for space in NAMES:
        if widths := scores.held_widths(space):
            yield _proxies(space, [scores.load(space, *pair) for pair in widths])


def _distribution(runs: Runs, settings: Sequence[Setting], stem: str) -> Picture:
    figure, axes = style.panels(2, len(settings), width=3.9, height=2.4)
    for column, setting in enumerate(settings):
        top, bottom = axes[0][column], axes[1][column]
        ground = regression.load(setting.space)
        values = ground.column(**regression.keywords(setting.space, "cifar10_test"))
        top.hist(values, bins=80, weights=100 * ground.weights / ground.weights.sum(), color="#bbbbbb")
        top.set_yscale("log")
        top.set_title(NAMES.get(setting.space, setting.space))
        labels = runs.labels(setting)
        for height, label in enumerate(reversed(labels)):
            look = style.look(label)
            picks = runs.of(setting, label)["cifar10_test"].astype(float)
            bottom.plot(picks, np.full(len(picks), height), look.marker, color=look.colour, alpha=0.7, linestyle="none")
            bottom.plot(picks.median(), height, "|", color="black", markersize=12)
        bottom.set_yticks(range(len(labels)), [display(label) for label in reversed(labels)])
        bottom.set_ylim(-0.6, len(labels) - 0.4)
        bottom.sharex(top)
        bottom.set_xlabel("CIFAR-10 test (%)")
        if column:
            bottom.tick_params(labelleft=False) if labels == runs.labels(settings[0]) else None
    axes[0][0].set_ylabel("share of the space (%)")
    return Picture(
        f"distribution-{stem}",
        "The whole space, and what each method picked",
        "Above, every architecture of the space weighted by its encodings (logarithmic); below, one marker a search, "
        f"the black stroke is the median. {note(runs, settings)}",
        figure,
    )


def _anytime(runs: Runs, setting: Setting, stem: str) -> Picture | None:
    ground = regression.load(setting.space)
    cheap = Measure(Dataset.CIFAR10, Split.VALID, 12, Mean())
    held = {m.column: m for m in ground.measures}
    choice = held.get(cheap.column) or next((m for m in ground.measures if m.group == cheap.group), None)
    if choice is None:
        return None
    score = ground.column(dataset=choice.dataset, split=choice.split, epochs=choice.epochs, reduction=choice.reduction)
    values = ground.column(**regression.keywords(setting.space, "cifar10_test"))
    known = np.isfinite(score)
    expected = [
        random_search.best_of(
            values[known], int(k), score=score[known], weights=ground.weights[known], choice="12 epochs"
        )
        for k in QUERIES
    ]
    mean, sd = np.array([e.mean for e in expected]), np.array([e.sd for e in expected])
    figure, axes = style.panels(1, 2, width=3.6, height=2.8)
    left, right = axes[0]
    lines(left, runs, setting, "cifar10_test")
    left.set_title("searches")
    left.set_ylabel("CIFAR-10 test accuracy (%)")
    right.plot(QUERIES, mean, color="black", label="random search: expectation")
    right.fill_between(QUERIES, mean - sd, np.minimum(mean + sd, values.max()), color="black", alpha=0.13, linewidth=0)
    right.axhline(values.max(), color="black", linewidth=0.8, linestyle=":", label="optimum")
    right.set_xscale("log")
    right.set_xlabel("k, table queries")
    right.set_title("random search, exact")
    right.sharey(left)
    style.legend(figure, [left, right])
    return Picture(
        f"anytime-{stem}",
        "Searches beside random search on NAS-Bench-201",
        "Left, the architecture that each search would stop with (mean and range over searches). Right, the exact "
        "expectation of the test accuracy of the best of k uniform draws, chosen by validation accuracy after 12 "
        "epochs as the benchmark records it; the band is the sd of one such search. k counts look-ups in the table, "
        f"each standing for a training of 12 epochs: the two axes are different budgets. {note(runs, [setting])}",
        figure,
    )


def _proxies(space: str, tables: Sequence[scores.Scored]) -> Picture:
    columns = min(4, len(tables))
    rows = -(-len(tables) // columns)
    figure, axes = style.panels(rows, columns, width=2.5)
    flat = [axis for row in axes for axis in row]
    for axis, table in zip(flat, tables, strict=False):
        first = table.by_seed[0]
        ranks = 100 * np.argsort(np.argsort(first, kind="stable"), kind="stable") / max(1, len(first) - 1)
        accuracy = table.accuracies[:, 0]
        low = float(np.percentile(accuracy, 5))
        axis.hexbin(
            ranks, accuracy, gridsize=35, bins="log", cmap="cividis", mincnt=1, linewidths=0.1,
            extent=(0, 100, low, float(accuracy.max())),
        )  # fmt: skip
        axis.set_ylim(low, accuracy.max() + 0.3)
        rho = correlation(first, accuracy).spearman
        width = table.settings.split(",")[0]
        axis.set_title(f"{table.proxy}, {width}\nSpearman {rho:.2f}")
    for axis in flat[len(tables) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("rank of the score (%)")
    for row in axes:
        row[0].set_ylabel("CIFAR-10 test (%)")
    counts = sorted({len(table.positions) for table in tables})
    return Picture(
        f"proxies-{space}",
        f"Accuracy against training-free proxies on {NAMES[space]}",
        f"Architectures by the rank of their score at initialisation seed {tables[0].seeds[0]}, n = "
        f"{' or '.join(f'{c:,}' for c in counts)}; colour is the logarithm of their number. The lowest 5 % of "
        "accuracies lie below the axis. Correlations are of all that are scored.",
        figure,
    )
