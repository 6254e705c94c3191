"""What random search would find, exactly: the best of k uniform draws in closed form.

Draws are uniform over encodings, independent and with replacement. With the probability F(s) that a draw scores at most
s, the best score of k draws is at most s with probability F(s)^k; among draws that share the best score one is kept
uniformly. A choice by the reported accuracy itself is an *oracle*: no search could make it without the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import UserError
from benchmarks.ground_truth.measures import Dataset, Reduction, Split
from benchmarks.ground_truth.table import GroundTruth


@dataclass(frozen=True)
class Expectation:
    """Exact moments of the accuracy that is kept.

    Attributes:
        draws: how many were drawn (k).
        choice: what decided between them, ``oracle`` or a name.
        mean: in %.
        sd: standard deviation of one such search in percentage points.
    """

    draws: int
    choice: str
    mean: float
    sd: float


def oracle_best_of(
    table: GroundTruth, draws: int, *, dataset: Dataset, split: Split, epochs: int, reduction: Reduction
) -> Expectation:
    """Best of ``draws`` uniform encodings, chosen by the very accuracy that is reported.

    Raises ``UserError`` where the table misses values of this measure, or for less than one draw.
    """
    table.population(dataset=dataset, split=split, epochs=epochs, reduction=reduction)  # refuses an incomplete column
    values = table.column(dataset=dataset, split=split, epochs=epochs, reduction=reduction)
    return best_of(values, draws, score=values, weights=table.weights, choice="oracle")


def best_of(values: np.ndarray, draws: int, *, score: np.ndarray, weights: np.ndarray, choice: str) -> Expectation:
    """Value of the highest-scoring of ``draws`` draws.

    Args:
        values: what is reported of each architecture, finite, ``[n]``.
        draws: k >= 1.
        score: what decides, higher is better, ``[n]``; any order-preserving scale, infinities allowed.
        weights: relative probabilities of a draw, >= 0, ``[n]``.
        choice: name of the score.

    Raises:
        UserError: fewer than one draw, or values that are missing.
    """
    if draws < 1:
        raise UserError(f"cannot take the best of {draws} draws: choose 1 or more")
    if not np.isfinite(values).all() or np.isnan(score).any():
        raise UserError(f"the best of {draws} draws by {choice} needs every value and score, and some are missing")
    _, tie = np.unique(score, return_inverse=True)
    mass = np.bincount(tie, weights)
    at_most = np.cumsum(mass) / mass.sum()
    kept = np.diff(at_most**draws, prepend=0.0)
    # Within a tie the kept draw is distributed as any draw of it.
    probability = kept[tie] * weights / np.where(mass > 0, mass, 1.0)[tie]
    mean = float(probability @ values)
    return Expectation(draws, choice, mean, float(probability @ (values - mean) ** 2) ** 0.5)
