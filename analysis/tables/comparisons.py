"""Statistics of the searches of a setting: every point with its collapses, and paired differences at equal seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis import regression, statistics
from analysis.rendering import Cell, MeanSd, Table
from analysis.runs import MEASURE, Runs, Setting, display, method_of, share, within
from analysis.tables.accuracy import DIGITS, caption, notes
from benchmarks.spec import Status

COLLAPSED = (
    "Collapsed: skip connections only, or below the space's 5th percentile ({:.2f} %), or diverged; exact "
    "(Clopper-Pearson) interval. Everything else is of the finished searches alone. An interquartile mean of few "
    "searches deletes exactly the collapses."
)
TESTS = (
    "Exact two-sided Wilcoxon signed-rank tests, each of its row alone; Student's t intervals. Verdicts are those of "
    "python -m analysis.check_claims, corrected over the claims that are read together."
)
IMPROVEMENT = (
    "Probability of improvement: that a search of the first beats an independent one of the second on the same space, "
    "ties counted half, averaged over spaces."
)
PAIRS = (
    ("balenas-1st", "darts-1st"), ("balenas-2nd", "darts-2nd"), ("balenas-tf-1st", "balenas-1st"),
    ("balenas-tf-2nd", "balenas-2nd"), ("balenas-tf-1st", "zero-cost"), ("zero-cost", "random"),
    ("darts-1st", "random"), ("balenas-1st", "random"),
)  # fmt: skip


def floor(space: str) -> float:
    """5th percentile of the test accuracy over all encodings of a space."""
    ground = regression.load(space)
    values = ground.column(**regression.keywords(space, MEASURE))
    order = np.argsort(values)
    share = np.cumsum(ground.weights[order]) / ground.weights.sum()
    return float(values[order][np.searchsorted(share, 0.05)])


def points(runs: Runs, setting: Setting) -> Table:
    """Every search, the median and the collapse rate, before any mean that hides collapses."""
    low, failed = floor(setting.space), within(runs.failed, setting)
    rows: list[tuple[Cell, ...]] = []
    for label in runs.labels(setting):
        frame = runs.of(setting, label)
        values = frame[MEASURE].to_numpy(float)
        lost = int((failed.loc[failed["label"] == label, "status"] == Status.DIVERGED).sum())
        collapses = statistics.collapse_rate(values, floor=low, all_skip=all_skip(frame), diverged=lost)
        rows.append(
            (
                display(label),
                len(values),
                ", ".join(f"{value:.2f}" for value in values),
                float(np.median(values)),
                f"{collapses.count} of {collapses.n}",
                f"{collapses.interval.low:.2f} to {collapses.interval.high:.2f}",
                MeanSd.of(values),
                statistics.interquartile_mean(values),
            )
        )
    return Table(
        f"points-{setting.name}",
        f"Every search on {setting.space} ({setting.title})",
        (
            "Method",
            "n",
            "each seed",
            "median",
            "collapsed",
            "95 % interval of the rate",
            "mean ± sd",
            "interquartile mean",
        ),
        tuple(rows),
        caption(runs, setting, "CIFAR-10 test accuracy in %, seeds in ascending order."),
        (
            *notes(runs, setting),
            COLLAPSED.format(low),
        ),
    )


def all_skip(frame: pd.DataFrame) -> np.ndarray:
    """Whether each chosen cell has skip connections only; bool ``[n]``."""
    return np.asarray(share(frame, ["skip_connect"]) == 100, bool)


def paired(runs: Runs, setting: Setting) -> Table | None:
    """Differences at equal seeds of the pairs that the paper compares, and of variants with their base."""
    labels = runs.labels(setting)
    chosen = [pair for pair in PAIRS if set(pair) <= set(labels)]
    chosen += [(a, b) for a, b in itertools.combinations(labels, 2) if method_of(a) == method_of(b)]
    if not chosen:
        return None
    rows: list[tuple[Cell, ...]] = []
    for first, second in chosen:
        both = pd.DataFrame({"a": _by_seed(runs, setting, first), "b": _by_seed(runs, setting, second)}).dropna()
        if len(both):
            result = statistics.paired(both["a"], both["b"])
            name = f"{display(first)} - {display(second)}"
            rows.append((name, result.n, *mean_difference(result), result.median, result.better_in, f"{result.p:.3f}"))
    if not rows:
        return None
    return Table(
        f"paired-{setting.name}",
        f"Paired differences at equal seeds on {setting.space} ({setting.title})",
        ("difference", "pairs", "mean ± sd", "95 % interval of the mean", "median", "better in", "p"),
        tuple(rows),
        caption(runs, setting, "CIFAR-10 test accuracy in points."),
        (
            *notes(runs, setting),
            TESTS,
        ),
    )


def across(runs: Runs, group: Sequence[Setting]) -> Table | None:
    """Pairs over all spaces of a tier, each of which counts equally."""
    rows: list[tuple[Cell, ...]] = []
    for first, second in PAIRS:
        held = [s for s in group if {first, second} <= set(runs.labels(s))]
        strata, odds = [], []
        for setting in held:
            a, b = _by_seed(runs, setting, first), _by_seed(runs, setting, second)
            difference = (a - b).dropna()
            if len(difference):
                strata.append(difference.to_numpy())
                odds.append(statistics.probability_of_improvement(a, b))
        if len(strata) < 2:
            continue
        interval = statistics.stratified_interval(strata)
        rows.append(
            (
                f"{display(first)} - {display(second)}",
                len(strata),
                ", ".join(str(len(stratum)) for stratum in strata),
                float(np.mean([stratum.mean() for stratum in strata])),
                f"{interval.low:.2f} to {interval.high:.2f}" if interval.is_finite else None,
                f"{np.mean(odds):.2f}",
            )
        )
    if not rows:
        return None
    return Table(
        f"across-{group[0].stem}",
        f"Differences over all spaces ({group[0].title})",
        ("difference", "spaces", "pairs in each", "mean over spaces", "95 % interval", "probability of improvement"),
        tuple(rows),
        f"{group[0].description}. n = pairs in each space, as listed. CIFAR-10 test accuracy in points at equal seeds, "
        "mean of the spaces' means; the interval is Student's t with the spaces' own spreads (Welch, Satterthwaite).",
        (
            *([DIGITS] if group[0].is_digits else []),
            IMPROVEMENT,
        ),
    )


def mean_difference(result: statistics.Paired) -> tuple[Cell, Cell]:
    """Mean and sd of the differences, and the interval of the mean."""
    spread = MeanSd(result.mean, None if np.isnan(result.sd) else result.sd)
    return spread, f"{result.interval.low:.2f} to {result.interval.high:.2f}" if result.interval.is_finite else None


def _by_seed(runs: Runs, setting: Setting, label: str) -> pd.Series:
    return runs.of(setting, label).set_index("seed")[MEASURE].astype(float)


def build(runs: Runs) -> list[Table]:
    """Points and paired differences of every setting, and pairs over the spaces of each tier."""
    found = [table for setting in runs.settings for table in (points(runs, setting), paired(runs, setting))]
    found += [across(runs, group) for group in runs.groups]
    return [table for table in found if table is not None]
