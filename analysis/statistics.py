"""Paired comparisons, intervals and equivalence at the sample sizes that searches are run with.

Everything is two-sided at 5 % unless it says otherwise. Standard deviations have ddof 1. Nothing is decided on fewer
than ``MINIMUM_PAIRS`` pairs: with four, an exact signed-rank test cannot go below p = 0.125.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchmarks.errors import UserError

MINIMUM_PAIRS = 6
ALPHA = 0.05
LEVEL = 1 - ALPHA
_EQUAL = 1e-9  # far below the last digit of any accuracy: what rounding leaves of equal values
_ENUMERABLE = 12  # 2^12 sign patterns are enumerated in milliseconds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of ``LEVEL``."""

    low: float
    high: float

    @property
    def is_finite(self) -> bool:
        """Whether it says anything: one value alone has the whole line."""
        return bool(np.isfinite([self.low, self.high]).all())

    def side_of(self, limit: float) -> Literal["below", "above"] | None:
        """Where all of it lies; None where it includes the limit."""
        return "below" if self.high < limit else "above" if self.low > limit else None


@dataclass(frozen=True)
class Paired:
    """Two methods at equal seeds; differences are first minus second.

    Attributes:
        n: pairs.
        mean: mean difference.
        sd: standard deviation of the differences, ddof 1; NaN for one pair.
        median: median difference.
        interval: Student's t interval of the mean difference.
        p: exact two-sided Wilcoxon signed-rank test.
        wins: pairs in which the first is larger.
        ties: pairs in which both are equal.
        direction: 1 if the signed ranks favour the first, -1 if the second, 0 if neither.
    """

    n: int
    mean: float
    sd: float
    median: float
    interval: Interval
    p: float
    wins: int
    ties: int
    direction: int

    @property
    def better_in(self) -> str:
        """In how many pairs the first is better, in words."""
        return f"{self.wins} of {self.n}" + (f", {self.ties} equal" if self.ties else "")


def paired(first: ArrayLike, second: ArrayLike) -> Paired:
    """Compare two methods over the same seeds, ``[n]`` each. Raises ``UserError`` for nothing or unequal lengths."""
    a, b = _finite(first), _finite(second)
    if a.shape != b.shape:
        raise UserError(f"pairs need equally many values, got {len(a)} and {len(b)}")
    differences = a - b
    nonzero = differences[differences != 0]
    return Paired(
        n=len(differences),
        mean=float(differences.mean()),
        sd=float(differences.std(ddof=1)) if len(differences) > 1 else float("nan"),
        median=float(np.median(differences)),
        interval=mean_interval(differences),
        p=wilcoxon(differences),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        direction=int(np.sign(np.sign(nonzero) @ stats.rankdata(np.abs(nonzero)))),
    )


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided p of the signed-rank test, zeros dropped; exact, ties included, for up to 12 differences."""
    nonzero = _finite(differences)
    nonzero = nonzero[nonzero != 0]
    if len(nonzero) == 0:
        return 1.0
    tied = len(np.unique(np.abs(nonzero))) < len(nonzero)
    method: Any = "approx" if tied else "exact"
    if tied and len(nonzero) <= _ENUMERABLE:
        method = stats.PermutationMethod(n_resamples=2**_ENUMERABLE)
    return float(stats.wilcoxon(nonzero, method=method).pvalue)


def mean_interval(values: ArrayLike) -> Interval:
    """Student's t interval of the mean of independent values ``[n]``; a bootstrap is too narrow for few searches.

    Equal values give themselves, one value gives the whole line.
    """
    array = _finite(values)
    mean = float(array.mean())
    if len(array) < 2:
        return Interval(-np.inf, np.inf)
    if np.ptp(array) < _EQUAL:
        return Interval(mean, mean)
    half = float(stats.t(len(array) - 1).ppf(1 - ALPHA / 2) * stats.sem(array))
    return Interval(mean - half, mean + half)


def stratified_interval(strata: Sequence[ArrayLike]) -> Interval:
    """Interval of the mean of several groups' means, each group ``[n_i]`` counting equally (Welch and Satterthwaite).

    The spread between the groups plays no part. A group of one value gives the whole line.
    """
    groups = [_finite(stratum) for stratum in strata]
    mean = float(np.mean([group.mean() for group in groups]))
    if any(len(group) < 2 for group in groups):
        return Interval(-np.inf, np.inf)
    if all(np.ptp(group) < _EQUAL for group in groups):
        return Interval(mean, mean)
    variances = np.array([stats.sem(group) ** 2 for group in groups]) / len(groups) ** 2
    freedom = variances.sum() ** 2 / sum(v**2 / (len(g) - 1) for v, g in zip(variances, groups, strict=True))
    half = float(stats.t(freedom).ppf(1 - ALPHA / 2) * np.sqrt(variances.sum()))
    return Interval(mean - half, mean + half)


def attainable(pairs: int, tests: int) -> bool:
    """Whether so many unequal pairs can show a difference if the other tests of Holm's family show none."""
    return tests * 2.0 ** (1 - pairs) < ALPHA


def equivalence(differences: ArrayLike, margin: float) -> float:
    """P of two one-sided t-tests that the mean difference lies within +-``margin``; small means equivalent."""
    values = _finite(differences)
    _positive(margin)
    if len(values) < 2:
        return 1.0
    if np.ptp(values) < _EQUAL:
        return 0.0 if abs(values[0]) < margin else 1.0
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    return float(max(above, below))


class Conclusion(Enum):
    """What a paired test of a family comes to."""

    FEW = auto()
    """Fewer than ``MINIMUM_PAIRS`` pairs: nothing is concluded."""
    EQUIVALENT = auto()
    LARGER = auto()
    SMALLER = auto()
    OPEN = auto()
    """Neither different nor equivalent."""
    UNATTAINABLE = auto()
    """Not equivalent, and so few unequal pairs that a difference shows only beside others of the family."""


def conclude(pairs: int, *, p: float, p_equivalent: float, direction: int, tests: int, ties: int = 0) -> Conclusion:
    """What follows from a paired test whose p-values are Holm-corrected over a family of ``tests``.

    Equivalence comes first: a difference within the margin is none, however sure. ``direction`` is that of ``Paired``.
    Signed ranks leave out the ``ties`` among the pairs, so these cannot help to show a difference.
    """
    if pairs < MINIMUM_PAIRS:
        return Conclusion.FEW
    if p_equivalent < ALPHA:
        return Conclusion.EQUIVALENT
    if p < ALPHA:
        return Conclusion.LARGER if direction > 0 else Conclusion.SMALLER
    return Conclusion.OPEN if attainable(pairs - ties, tests) else Conclusion.UNATTAINABLE


def margin(space: str) -> float:
    """Points of accuracy within which two methods are equivalent; 1Shot1's good half spans about two points."""
    return 1.0 if space == "nas-bench-201" else 0.5


@dataclass(frozen=True)
class AgainstPublished:
    """Our searches beside a published mean +- sd.

    Attributes:
        difference: our mean minus the published one.
        interval: of the difference (Welch).
        p: that both have the same mean (Welch).
        p_equivalent: two one-sided Welch tests within the margin; small means equivalent.
    """

    difference: float
    interval: Interval
    p: float
    p_equivalent: float


def against_published(values: ArrayLike, mean: float, sd: float, n: int, margin: float) -> AgainstPublished:
    """Compare ours ``[n]`` with a published mean, sd (ddof 1 is assumed) and number of searches."""
    ours = _finite(values)
    _positive(margin)
    difference = float(ours.mean()) - mean
    if len(ours) < 2 or n < 2:
        return AgainstPublished(difference, Interval(-np.inf, np.inf), 1.0, 1.0)
    own, other = ours.var(ddof=1) / len(ours), sd**2 / n
    error = float(np.sqrt(own + other))
    if error < _EQUAL:
        equal = abs(difference) < _EQUAL
        inside = abs(difference) < margin
        return AgainstPublished(difference, Interval(difference, difference), float(equal), float(not inside))
    freedom = (own + other) ** 2 / (own**2 / (len(ours) - 1) + other**2 / (n - 1))
    t = stats.t(freedom)
    half = float(t.ppf(1 - ALPHA / 2)) * error
    return AgainstPublished(
        difference,
        Interval(difference - half, difference + half),
        float(2 * t.sf(abs(difference) / error)),
        float(max(t.sf((difference + margin) / error), t.cdf((difference - margin) / error))),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order."""
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, position in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = highest
    return [float(p) for p in adjusted]


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> float:
    """Probability that a run of the first beats an independent run of the second, ties counted half."""
    a, b = _finite(first), _finite(second)
    return float(stats.mannwhitneyu(a, b).statistic) / (len(a) * len(b))


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half. It deletes collapses: report the collapse rate first."""
    return float(stats.trim_mean(_finite(values), 0.25))


@dataclass(frozen=True)
class Rate:
    """A share of runs with its exact (Clopper-Pearson) interval."""

    count: int
    n: int
    interval: Interval


def rate(count: int, n: int) -> Rate:
    """``count`` of ``n`` runs."""
    interval = stats.binomtest(count, n).proportion_ci(LEVEL, method="exact")
    return Rate(count, n, Interval(float(interval.low), float(interval.high)))


def collapse_rate(values: ArrayLike, *, floor: float, all_skip: ArrayLike, diverged: int = 0) -> Rate:
    """Share of runs that found skip connections only, or an accuracy below ``floor``, or nothing.

    Args:
        values: accuracies ``[n]``.
        floor: the 5th percentile of the space, say.
        all_skip: bool ``[n]``.
        diverged: runs beside the n.
    """
    accuracies = _finite(values)
    count = int(((accuracies < floor) | np.asarray(all_skip, bool)).sum())
    return rate(count + diverged, len(accuracies) + diverged)


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise UserError(f"statistics need a list of finite values, got shape {array.shape} with {array[:8]}")
    return array


def _positive(margin: float) -> None:
    if not margin > 0:
        raise UserError(f"the margin of equivalence must be positive, got {margin}")
