"""Table 2, with exact expectations in place of four runs, and the correlations of proxies with accuracy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis import published, regression, scores
from analysis.published import Row
from analysis.rendering import Cell, MeanSd, Table
from analysis.runs import Runs, Setting, display
from analysis.scores import LABELS, MEASURES, Scored
from analysis.tables.accuracy import caption, notes
from analysis.zero_cost import best_of_draws, correlation
from benchmarks.ground_truth.measures import Cost, Dataset

SPACE = "nas-bench-201"
DRAWS = (10, 50, 100, 500)
PUBLISHED = "Published: 4 searches, divisor of the sd not stated; which posterior BaLeNAS-TF draws from is not stated."


def table_2() -> Table:
    """Published rows beside exact zero-cost NAS under every proxy: no search is involved."""
    rows: list[tuple[Cell, ...]] = [_published(row) for row in published.find("Table 2").rows]
    for proxy in scores.held(SPACE):
        rows += _uniform(scores.load(SPACE, proxy))
    rows += _controls()
    return Table(
        "table-2",
        "Table 2: choosing among samples by a training-free proxy, NAS-Bench-201",
        ("selection", "samples", "", "n", *LABELS),
        tuple(rows),
        "Test accuracy in % at 200 epochs. Exact rows are expectations over uniform draws with replacement, with the "
        "sd of a single run; no run of a search is involved.",
        (
            PUBLISHED,
            "The control 'most parameters' chooses by size alone.",
            *([] if _synflow() else ["No SynFlow scores of the whole space are held: its rows are missing."]),
        ),
    )


def table_2_posteriors(runs: Runs, setting: Setting) -> Table | None:
    """BaLeNAS-TF at every sample size, exactly, from the posteriors that a setting's searches ended with."""
    if setting.space != SPACE:
        return None
    ours = [row for label in runs.labels(setting) for row in _posterior(runs, setting, label, _synflow())]
    if not ours:
        return None
    printed = [_published(row) for row in published.find("Table 2").rows if "TF" in row.label]
    return Table(
        f"table-2-{setting.name}",
        f"Table 2: BaLeNAS-TF from stored posteriors ({setting.title})",
        ("selection", "samples", "", "n", *LABELS),
        (*printed, *ours),
        caption(
            runs,
            setting,
            "Test accuracy in % at 200 epochs. Rows of posteriors: the mean over n searches of exact expectations, and "
            "the sd of one search with one set of draws (between searches and within).",
        ),
        (*notes(runs, setting), PUBLISHED),
    )


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


def _synflow() -> Scored | None:
    if "synflow" not in scores.held(SPACE):
        return None
    table = scores.load(SPACE, "synflow")
    return table if table.complete else None


def _published(row: Row) -> tuple[Cell, ...]:
    return (row.label, row.draws, "published", row.cells[0].runs, *(MeanSd(c.value, c.sd) for c in row.cells))


def _uniform(table: Scored) -> Iterator[tuple[Cell, ...]]:
    kind = "exact" if table.complete else f"exact over a uniform sample of {len(table.positions):,}"
    for draws in DRAWS:
        found = best_of_draws(table.by_seed, table.accuracies, draws)
        cells = (MeanSd(mean, sd) for mean, sd in zip(found.mean, found.sd, strict=True))
        seeds = f", {len(table.seeds)} initialisations" if len(table.seeds) > 1 else ""
        yield (f"uniform draws, {table.proxy}", draws, kind + seeds, None, *cells)


def _controls() -> Iterator[tuple[Cell, ...]]:
    ground = regression.load(SPACE)
    positions = np.arange(5**6)
    accuracies = scores.accuracies(SPACE, positions)
    architectures = np.stack(np.unravel_index(positions, (5,) * 6), axis=1)
    parameters = np.asarray(ground.cost(architectures, Cost.PARAMETERS, Dataset.CIFAR10))
    if "params" not in scores.held(SPACE):
        for draws in DRAWS:
            found = best_of_draws(parameters, accuracies, draws)
            cells = (MeanSd(mean, sd) for mean, sd in zip(found.mean, found.sd, strict=True))
            yield ("uniform draws, params", draws, "exact", None, *cells)
    largest = accuracies[parameters == parameters.max()].mean(axis=0)
    yield ("most parameters of the whole space", None, "exact", None, *(MeanSd(float(v)) for v in largest))
    one = best_of_draws(np.zeros(len(positions)), accuracies, 1)
    cells = (MeanSd(mean, sd) for mean, sd in zip(one.mean, one.sd, strict=True))
    yield ("uniform draw, no proxy", 1, "exact", None, *cells)


def _posterior(runs: Runs, setting: Setting, label: str, synflow: Scored | None) -> Iterator[tuple[Cell, ...]]:
    frame = runs.of(setting, label)
    if synflow is None or not {"alpha", "sigma", "sigma_max"} <= set(frame):
        return
    frame = frame.dropna(subset=["alpha", "sigma"])
    frame = frame[frame["sigma_max"] > 0]
    if frame.empty:
        return
    posteriors = [scores.posterior_probabilities(SPACE, *p) for p in zip(frame["alpha"], frame["sigma"], strict=True)]
    for draws in (1, *DRAWS):
        found = [best_of_draws(synflow.by_seed, synflow.accuracies, draws, p) for p in posteriors]
        means, sds = np.array([f.mean for f in found]), np.array([f.sd for f in found])
        between = means.var(axis=0, ddof=1) if len(found) > 1 else np.zeros(len(MEASURES))
        spread = np.sqrt(between + (sds**2).mean(axis=0))
        name = f"posterior of {display(label)}, " + ("no proxy" if draws == 1 else "synflow")
        cells = (MeanSd(float(m), float(s)) for m, s in zip(means.mean(axis=0), spread, strict=True))
        yield (name, draws, "exact per posterior", len(found), *cells)


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
            values = [value for c in found for value in (f"{c.spearman:.3f}", f"{c.kendall:.3f}")]
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
        "Over n architectures: the whole space, or the uniform sample that was scored. Scores that are no finite "
        "number rank last. Accuracies are means of the benchmark's trainings; no run of a search is involved.",
        (
            "Proxies that are not listed are not done.",
            "Published correlations are listed where their source could be read; the paper itself prints none.",
        ),
    )


def table_3() -> Table:
    """Table 3 as published: the DARTS space has no table of trained architectures."""
    table = published.find("Table 3")
    rows = []
    for row in table.rows:
        # Digits as printed: two for the CIFAR errors, elsewhere as many as there are.
        cells = {c.column.label: MeanSd(c.value, c.sd) if c.column.dataset else f"{c.value:g}" for c in row.cells}
        rows.append((row.label, *(cells.get(column.label) for column in table.columns), "not run"))
    return Table(
        "table-3",
        "Table 3: the DARTS space, as published",
        ("Method", *(column.label for column in table.columns), "ours"),
        tuple(rows),
        "Published numbers only (BaLeNAS, arXiv 2111.13204): errors after retraining, n and divisor of the sd not "
        "stated. Not testable here: the space is not part of this suite yet and the genotypes were not published.",
        tuple(
            f"{row.label}: {row.cells[0].origin}." for row in table.rows if row.cells[0].origin not in ("", "BaLeNAS")
        ),
    )
