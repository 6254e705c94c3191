"""Rank correlation of scores with accuracy, and what a uniform sample leaves open about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from benchmarks.errors import UserError


@dataclass(frozen=True)
class Correlation:
    """Rank correlation of scores with accuracy.

    Attributes:
        spearman: Spearman's rho, ties at their mean rank.
        kendall: Kendall's tau-b.
        n: architectures.
    """

    spearman: float
    kendall: float
    n: int

    @property
    def spearman_interval(self) -> tuple[float, float]:
        """95 % interval for a uniform sample: Fisher's z with the variance of Bonett and Wright (2000)."""
        return _fisher(self.spearman, (1 + self.spearman**2 / 2) / (self.n - 3))

    @property
    def kendall_interval(self) -> tuple[float, float]:
        """The same with the variance of Fieller, Hartley and Pearson (1957)."""
        return _fisher(self.kendall, 0.437 / (self.n - 4))


def correlation(scores: ArrayLike, accuracies: ArrayLike) -> Correlation:
    """Rank correlations over the architectures that have an accuracy; a score that is not a number ranks last.

    Args:
        scores: ``[M]``.
        accuracies: ``[M]``, NaN where missing.
    """
    score, accuracy = np.asarray(scores, np.float64), np.asarray(accuracies, np.float64)
    if score.shape != accuracy.shape or score.ndim != 1:
        raise UserError(f"expected a score and an accuracy each, got shapes {score.shape} and {accuracy.shape}")
    known = np.isfinite(accuracy)
    score, accuracy = np.where(np.isnan(score), -np.inf, score)[known], accuracy[known]
    # Ranks keep infinities in order and are all that both coefficients see.
    ranks = stats.rankdata(score)
    return Correlation(
        spearman=float(stats.spearmanr(ranks, accuracy).statistic),
        kendall=float(stats.kendalltau(ranks, accuracy).statistic),
        n=int(known.sum()),
    )


def _fisher(coefficient: float, variance: float) -> tuple[float, float]:
    if abs(coefficient) >= 1 or not variance > 0:
        return (coefficient, coefficient)
    z, half = np.arctanh(coefficient), stats.norm.ppf(0.975) * np.sqrt(variance)
    return float(np.tanh(z - half)), float(np.tanh(z + half))
