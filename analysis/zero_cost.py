"""Exact statistics of 'the best score of n uniform draws', the selection of zero-cost NAS.

With a score for every architecture of a space nothing needs to be sampled: the best-scored of n draws (with
replacement) lies at or below score s with probability F(s)^n, F the share of the space at or below s. Architectures of
one score share the difference equally, as they do when ties among draws are broken at random.

Pure functions: arrays in, frozen dataclasses out. A score that is NaN or infinite below ranks last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchmarks.errors import UserError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BestOfDraws:
    """Exact moments of the accuracy that zero-cost NAS reaches in one run.

    Attributes:
        draws: architectures drawn, n.
        mean: expected accuracy per data set, in the unit of the input.
        sd: standard deviation over runs per data set (of the distribution: no ddof).
    """

    draws: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]


@dataclass(frozen=True)
class Probability:
    """A probability estimated by simulation.

    Attributes:
        estimate: share of the simulations.
        low: lower end of the exact (Clopper-Pearson) 95 % Monte Carlo interval.
        high: upper end.
        simulations: how many.
    """

    estimate: float
    low: float
    high: float
    simulations: int


@dataclass(frozen=True)
class SmallSpread:
    """How likely the sd of a few runs is as small as a published one.

    Attributes:
        draws: architectures drawn in each run.
        runs: runs whose sd is taken.
        ddof: divisor of the sd is ``runs - ddof``.
        each: per data set.
        jointly: on all data sets at once, the runs being the same ones.
    """

    draws: int
    runs: int
    ddof: int
    each: tuple[Probability, ...]
    jointly: Probability


def selection_probabilities(scores: ArrayLike, draws: int, weights: ArrayLike | None = None) -> Floats:
    """Probability that each architecture is the best-scored of ``draws`` draws with replacement, ties at random.

    Args:
        scores: ``[M]``, bigger is better; or ``[S, M]`` by initialisation seed, one of which each run uses at random.
        draws: n >= 1.
        weights: ``[M]``, how likely each architecture is drawn, up to a factor (encodings of a graph); None: uniform.

    Returns:
        ``[M]``, adding up to 1.

    Raises:
        UserError: empty scores, shapes that do not fit, ``draws`` below 1, weights that are no weights.
    """
    table = np.atleast_2d(np.asarray(scores, np.float64))
    if table.ndim != 2 or table.size == 0:
        raise UserError(f"expected scores [architectures] or [seeds, architectures], got shape {np.shape(scores)}")
    if draws < 1:
        raise UserError(f"cannot choose the best of {draws} draws: draw one or more")
    weight = np.ones(table.shape[1]) if weights is None else np.asarray(weights, np.float64)
    if weight.shape != table.shape[1:] or not np.isfinite(weight).all() or (weight < 0).any() or weight.sum() == 0:
        raise UserError(f"expected {table.shape[1]} weights that are finite, not negative and not all zero")
    by_seed = [_of_one_seed(row, draws, weight / weight.sum()) for row in table]
    return np.asarray(np.mean(by_seed, axis=0))


def _of_one_seed(scores: Floats, draws: int, share: Floats) -> Floats:
    _, group = np.unique(np.where(np.isnan(scores), -np.inf, scores), return_inverse=True)
    mass = np.bincount(group, weights=share)
    reached = np.minimum(np.cumsum(mass), 1.0) ** draws
    chosen = np.diff(reached, prepend=0.0)
    # A group without weight is never drawn.
    return share * np.divide(chosen, mass, out=np.zeros_like(mass), where=mass > 0)[group]


def best_of_draws(
    scores: ArrayLike, accuracies: ArrayLike, draws: int, weights: ArrayLike | None = None
) -> BestOfDraws:
    """Exact mean and sd of the accuracy of the best-scored of ``draws`` uniform draws.

    Args:
        scores: see ``selection_probabilities``. Accuracies themselves as scores give the oracle.
        accuracies: ``[M]`` or ``[M, data sets]``.
        draws: n >= 1.
        weights: see ``selection_probabilities``.

    Raises:
        UserError: see ``selection_probabilities``; accuracies that are missing or do not fit.
    """
    probability = selection_probabilities(scores, draws, weights)
    values = _per_data_set(accuracies, len(probability))
    mean = probability @ values / probability.sum()
    variance = probability @ (values - mean) ** 2 / probability.sum()
    return BestOfDraws(draws, tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def resampled_means(
    scores: ArrayLike,
    accuracies: ArrayLike,
    draws: Sequence[int],
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    weights: ArrayLike | None = None,
) -> Floats:
    """Means of ``best_of_draws`` in bootstrap samples of the architectures: what scoring a sample leaves open.

    Two proxies on the same architectures with equally seeded generators see the same samples, so that their difference
    can be taken sample by sample. The samples are too coarse where ``draws`` nears the number of architectures.

    Args:
        scores: ``[M]`` or ``[S, M]``, see ``selection_probabilities``.
        accuracies: ``[M]`` or ``[M, data sets]``.
        draws: each n.
        rng: which architectures a bootstrap sample holds.
        resamples: bootstrap samples.
        weights: ``[M]``, see ``selection_probabilities``.

    Returns:
        ``[resamples, len(draws), data sets]``.
    """
    table = np.atleast_2d(np.asarray(scores, np.float64))
    values = _per_data_set(accuracies, table.shape[1])
    size = len(values)
    share = rng.multinomial(size, np.full(size, 1 / size), resamples) * (
        1.0 if weights is None else np.asarray(weights)
    )
    means = np.zeros((resamples, len(draws), values.shape[1]))
    for row in table:
        ranked = np.where(np.isnan(row), -np.inf, row)
        order = np.argsort(ranked, kind="stable")
        starts = np.unique(ranked[order], return_index=True)[1]
        mass = np.add.reduceat(share[:, order], starts, axis=1)
        sums = [np.add.reduceat(share[:, order] * values[order, i], starts, axis=1) for i in range(values.shape[1])]
        reached = np.cumsum(mass, axis=1)
        for j, n in enumerate(draws):
            chosen = np.diff((reached / reached[:, -1:]) ** n, axis=1, prepend=0.0)
            per_mass = np.divide(chosen, mass, out=np.zeros_like(mass), where=mass > 0)
            means[:, j] += np.stack([(per_mass * total).sum(axis=1) for total in sums], axis=1) / len(table)
    return means


def expected_distinct(probabilities: ArrayLike, draws: int) -> float:
    """Expected number of different architectures among ``draws`` draws with the probabilities ``[M]``."""
    return float(-np.expm1(draws * np.log1p(-np.minimum(np.asarray(probabilities, np.float64), 1 - 1e-16))).sum())


def simulate(
    scores: ArrayLike, draws: int, trials: int, rng: np.random.Generator, weights: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Play zero-cost NAS ``trials`` times by the letter, the check of the closed form. Returns positions ``[trials]``.

    Each trial takes one seed of the scores, draws with replacement, and breaks ties by a coin.
    """
    table = np.atleast_2d(np.asarray(scores, np.float64))
    table = np.where(np.isnan(table), -np.inf, table)
    share = None if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
    chosen = np.empty(trials, np.int64)
    for trial in range(trials):
        drawn = rng.choice(table.shape[1], draws, p=share)
        found = table[rng.integers(len(table)), drawn]
        chosen[trial] = rng.choice(drawn[found == found.max()])
    return chosen


def small_spread(
    scores: ArrayLike,
    accuracies: ArrayLike,
    draws: int,
    published: ArrayLike,
    *,
    ddof: int,
    rng: np.random.Generator,
    runs: int = 4,
    rounding: float = 0.005,
    simulations: int = 1_000_000,
    weights: ArrayLike | None = None,
) -> SmallSpread:
    """Probability that the sd of ``runs`` runs is at most the published one, per data set and jointly.

    Args:
        scores: see ``selection_probabilities``.
        accuracies: ``[M, data sets]``.
        draws: n of zero-cost NAS.
        published: sd per data set, in the unit of ``accuracies``.
        ddof: 0 or 1; papers rarely say which.
        rng: all randomness.
        runs: runs behind the published sd.
        rounding: half a unit of the last printed digit, granted to the published value.
        simulations: how often ``runs`` runs are simulated.
        weights: see ``selection_probabilities``.

    Raises:
        UserError: see ``best_of_draws``; a published sd per data set is missing; too few runs for ``ddof``.
    """
    probability = selection_probabilities(scores, draws, weights)
    values = _per_data_set(accuracies, len(probability))
    limits = np.atleast_1d(np.asarray(published, np.float64)) + rounding
    if limits.shape != values.shape[1:]:
        raise UserError(f"expected a published sd for each of {values.shape[1]} data sets, got {len(limits)}")
    if not 0 <= ddof < runs:
        raise UserError(f"the sd of {runs} runs needs 0 <= ddof < {runs}, got {ddof}")
    cumulative = np.cumsum(probability)
    small = np.zeros((simulations, values.shape[1]), np.bool_)
    for start in range(0, simulations, 100_000):
        block = small[start : start + 100_000]
        uniform = rng.random((len(block), runs)) * cumulative[-1]
        chosen = np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(cumulative) - 1)
        block[:] = values[chosen].std(axis=1, ddof=ddof) <= limits
    counts = small.sum(axis=0).tolist()
    return SmallSpread(
        draws=draws,
        runs=runs,
        ddof=ddof,
        each=tuple(_probability(count, simulations) for count in counts),
        jointly=_probability(int(small.all(axis=1).sum()), simulations),
    )


def _per_data_set(accuracies: ArrayLike, architectures: int) -> Floats:
    values = np.asarray(accuracies, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != architectures or not np.isfinite(values).all():
        raise UserError(
            f"expected finite accuracies [{architectures}] or [{architectures}, data sets], "
            f"got shape {np.shape(accuracies)}{'' if np.isfinite(values).all() else ' with missing values'}"
        )
    return values


def _probability(count: int, simulations: int) -> Probability:
    interval = stats.binomtest(count, simulations).proportion_ci(0.95, method="exact")
    return Probability(count / simulations, float(interval.low), float(interval.high), simulations)
