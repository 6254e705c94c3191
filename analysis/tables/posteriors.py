"""BaLeNAS-TF from stored posteriors, and its controls: exact at every sample size, without scoring or training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import published, scores
from analysis.rendering import Cell, MeanSd, Table
from analysis.runs import Runs, Setting, display
from analysis.scores import DRAWS, LABELS, Floats, Scored
from analysis.tables.accuracy import caption, notes
from analysis.tables.selection import PUBLISHED, SPACE
from analysis.zero_cost import best_of_draws, expected_distinct, selection_probabilities
from benchmarks import spaces

SCORED = (
    "Scores are the shipped ones ({}), whatever networks the tier's own BaLeNAS-TF runs score. Only proxies that have "
    "scored every cell are listed: a sample misses most of what a posterior draws."
)
CONTROLS = (
    "Controls: 'evenly spread' draws around the same mean with the root mean square of the posterior's sigmas in every "
    "parameter; around DARTS's parameters sigma is 1, from which BaLeNAS's posterior starts."
)
Spread = Callable[[Floats], Floats]
"""Standard deviations of a search to those that are drawn with."""


def table_2(runs: Runs, setting: Setting) -> Table | None:
    """BaLeNAS-TF at every sample size, exactly, from the posteriors that a setting's searches ended with."""
    if setting.space != SPACE:
        return None
    tables = [table for proxy in scores.held(SPACE) if (table := scores.complete(SPACE, proxy)) is not None]
    ours = [row for population in _populations(runs, setting) for row in _rows(population, tables)]
    if not ours or not tables:
        return None
    printed = [
        (row.label, row.draws, "published", row.cells[0].runs, *(MeanSd(c.value, c.sd) for c in row.cells), *[None] * 4)
        for row in published.find("Table 2").rows
        if "TF" in row.label
    ]
    return Table(
        f"table-2-{setting.name}",
        f"Table 2: BaLeNAS-TF from stored posteriors ({setting.title})",
        (
            "selection", "samples", "", "n", *LABELS, "sd between searches", "sd within a posterior",
            "distinct cells drawn", "mean's own cell chosen, %",
        ),
        (*printed, *ours),
        caption(
            runs,
            setting,
            "Test accuracy in % at 200 epochs. Rows of posteriors: the mean over n searches of exact expectations, and "
            "the sd of one search with one set of draws; on CIFAR-10 also that sd's two parts.",
        ),
        (
            *notes(runs, setting),
            PUBLISHED,
            SCORED.format(tables[0].settings),
            CONTROLS,
        ),
    )  # fmt: skip


def resampling(runs: Runs, setting: Setting) -> Table | None:
    """BaLeNAS-TF: how much of a search's result is the luck of its draws."""
    rows: list[tuple[Cell, ...]] = []
    for label in runs.labels(setting):
        frame = runs.of(setting, label)
        if "resampled" not in frame:
            continue
        frame = frame.dropna(subset=["resampled"])
        if frame.empty:
            continue
        again = [
            scores.accuracies(setting.space, np.asarray(positions, np.int64))[:, 0] for positions in frame["resampled"]
        ]
        if not all(map(len, again)):
            continue
        rows.append(
            (
                display(label),
                len(frame),
                MeanSd.of(frame["cifar10_test"].astype(float)),
                len(again[0]),
                MeanSd.of([float(values.mean()) for values in again]),
                float(np.mean([values.std(ddof=1) for values in again])) if len(again[0]) > 1 else None,
                MeanSd.of(frame["distinct_draws"].astype(float), 1),
                f"{int(frame['mean_chosen'].sum())} of {len(frame)}",
            )
        )
    if not rows:
        return None
    return Table(
        f"resampling-{setting.name}",
        f"BaLeNAS-TF on {setting.space}: the luck of the draws ({setting.title})",
        (
            "Method", "n", "first set of draws", "further sets", "mean of further sets", "sd within a posterior",
            "distinct networks drawn", "mean's own network chosen",
        ),
        tuple(rows),
        caption(runs, setting, "CIFAR-10 test accuracy in %. Further sets are drawn from the same posterior."),
        notes(runs, setting),
    )  # fmt: skip


@dataclass(frozen=True)
class _Population:
    """What the searches of a method, or a control made of them, draw from.

    Attributes:
        name: in the table.
        posteriors: probability of every cell, a row a search, ``[n, cells]``.
        means: position of each mean's own cell, ``[n]``.
        control: whether only SynFlow and the draw itself are shown.
    """

    name: str
    posteriors: Floats
    means: tuple[int, ...]
    control: bool = False


def _populations(runs: Runs, setting: Setting) -> Iterator[_Population]:
    for label in runs.labels(setting):
        frame = runs.of(setting, label)
        if not {"alpha", "sigma", "sigma_max"} <= set(frame):
            continue
        frame = frame.dropna(subset=["alpha", "sigma"])
        if frame.empty:
            continue
        if (frame["sigma_max"] > 0).all():
            yield _population(f"posterior of {display(label)}", frame, lambda sigma: sigma)
            name = f"mean of {display(label)}, noise evenly spread"
            yield _population(name, frame, lambda sigma: np.full_like(sigma, np.sqrt(np.mean(sigma**2))), control=True)
        elif (frame["sigma_max"] == 0).all():
            name = f"parameters of {display(label)}, noise of sigma 1"
            yield _population(name, frame, np.ones_like, control=True)


def _population(name: str, frame: pd.DataFrame, spread: Spread, *, control: bool = False) -> _Population:
    space = spaces.get(SPACE)
    alphas = [np.asarray(alpha, np.float64) for alpha in frame["alpha"]]
    sigmas = [spread(np.asarray(sigma, np.float64)) for sigma in frame["sigma"]]
    cuts = np.cumsum(space.sizes)[:-1]
    kept = [[int(part.argmax()) for part in np.split(alpha, cuts)] for alpha in alphas]
    posteriors = [
        scores.posterior_probabilities(SPACE, alpha.tolist(), sigma.tolist())
        for alpha, sigma in zip(alphas, sigmas, strict=True)
    ]
    return _Population(name, np.stack(posteriors), tuple(space.position(tuple(ops)) for ops in kept), control)


def _rows(population: _Population, tables: Sequence[Scored]) -> Iterator[tuple[Cell, ...]]:
    flat = np.zeros(population.posteriors.shape[1])
    accuracies = scores.accuracies(SPACE, np.arange(len(flat)))
    yield _row(population, "no proxy", flat, accuracies, 1)
    for table in tables:
        if table.proxy == "synflow" or not population.control:
            for draws in DRAWS:
                yield _row(population, table.proxy, table.by_seed, accuracies, draws)


def _row(population: _Population, proxy: str, by_seed: Floats, accuracies: Floats, draws: int) -> tuple[Cell, ...]:
    posteriors = population.posteriors
    found = [best_of_draws(by_seed, accuracies, draws, p) for p in posteriors]
    means, within = np.array([f.mean for f in found]), np.array([f.sd for f in found])
    between = means.std(axis=0, ddof=1) if len(found) > 1 else np.zeros(means.shape[1])
    inside = np.sqrt((within**2).mean(axis=0))
    own = [selection_probabilities(by_seed, draws, p)[i] for p, i in zip(posteriors, population.means, strict=True)]
    cells = (MeanSd(float(m), float(s)) for m, s in zip(means.mean(axis=0), np.hypot(between, inside), strict=True))
    return (
        f"{population.name}, {proxy}",
        draws,
        "exact per posterior",
        len(found),
        *cells,
        float(between[0]) if len(found) > 1 else None,
        float(inside[0]),
        MeanSd.of([expected_distinct(p, draws) for p in posteriors], 1),
        100 * float(np.mean(own)),
    )
