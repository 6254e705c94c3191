"""Statistics against hand-worked and simulated cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from analysis import statistics
from analysis.statistics import Conclusion
from benchmarks.errors import UserError


def signed_rank_p(differences: list[float]) -> float:
    """By enumeration of all sign patterns, the definition."""
    d = np.array([x for x in differences if x != 0])
    ranks = rankdata(np.abs(d))
    seen = abs(np.sign(d) @ ranks)
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(d))))
    return float((np.abs(patterns @ ranks) >= seen - 1e-9).mean())


def test_four_pairs_cannot_go_below_an_eighth():
    assert statistics.wilcoxon([1.0, 2.0, 3.0, 4.0]) == 0.125
    assert statistics.wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 2 / 64


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_wilcoxon_is_exact_with_ties_and_zeros(values: list[int]):
    expected = signed_rank_p([float(v) for v in values]) if any(values) else 1.0
    assert statistics.wilcoxon(values) == pytest.approx(expected)


def test_paired_counts_and_direction():
    result = statistics.paired([3.0, 2.0, 5.0, 1.0], [1.0, 2.0, 4.0, 9.0])
    assert (result.n, result.wins, result.ties, result.direction) == (4, 2, 1, 0)  # signed ranks 2 + 1 - 3
    assert result.mean == -1.25
    assert result.median == 0.5
    assert statistics.paired([1.0, 2.0, 9.0], [2.0, 3.0, 1.0]).direction == 0
    assert statistics.paired([1.0, 2.0, 9.0], [2.0, 3.0, 9.0]).direction == -1
    assert result.sd == pytest.approx(np.std([2, 0, 1, -8], ddof=1))


def test_paired_is_antisymmetric():
    a, b = np.random.default_rng(1).normal(size=(2, 8))
    one, other = statistics.paired(a, b), statistics.paired(b, a)
    assert one.mean == -other.mean and one.p == other.p and one.direction == -other.direction


def test_the_interval_of_equal_values_is_a_point():
    assert statistics.mean_interval([54.3] * 4) == statistics.Interval(54.3, 54.3)


def test_one_value_has_no_interval():
    assert not statistics.mean_interval([54.3]).is_finite and statistics.mean_interval([54.3, 54.4]).is_finite


def test_an_interval_lies_on_a_side_only_as_a_whole():
    interval = statistics.Interval(1.0, 2.0)
    assert [interval.side_of(limit) for limit in (0.9, 1.0, 1.5, 2.0, 2.1)] == ["above", None, None, None, "below"]


def test_the_interval_covers_the_mean():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        interval = statistics.mean_interval(rng.normal(10, 1, size=6))
        inside += interval.low <= 10 <= interval.high
    assert 0.92 < inside / 200 < 0.98


def test_stratified_interval_does_not_see_differences_between_strata():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0, 0.1, 10), rng.normal(100, 0.1, 10)
    interval = statistics.stratified_interval([low, high])
    assert interval.high - interval.low < 0.2
    assert interval.low < 50 < interval.high + 0.1
    pooled = statistics.mean_interval(np.concatenate([low, high]))
    assert pooled.high - pooled.low > 20


def test_stratified_interval_covers_the_mean_with_few_values():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        interval = statistics.stratified_interval([rng.normal(1, 5, 6), rng.normal(2, 1, 8), rng.normal(3, 1, 6)])
        inside += interval.low <= 2 <= interval.high
    assert 0.92 < inside / 400 < 0.98


def test_stratified_interval_of_one_group_is_the_means():
    values = [93.1, 90.2, 91.7, 88.8]
    one, of_mean = statistics.stratified_interval([values]), statistics.mean_interval(values)
    assert (one.low, one.high) == pytest.approx((of_mean.low, of_mean.high))
    assert not statistics.stratified_interval([values, [90.0]]).is_finite
    assert statistics.stratified_interval([[1.0, 1.0], [3.0, 3.0]]) == statistics.Interval(2.0, 2.0)


@pytest.mark.parametrize(("pairs", "tests", "can"), [(6, 1, True), (6, 2, False), (8, 6, True), (8, 7, False)])
def test_how_many_tests_so_many_pairs_allow(pairs: int, tests: int, can: bool):
    p = statistics.wilcoxon(np.arange(1.0, pairs + 1))  # all won: the smallest p there is
    assert statistics.attainable(pairs, tests) is can is (statistics.holm([p] + [1.0] * (tests - 1))[0] < 0.05)


@pytest.mark.parametrize(
    ("pairs", "p", "p_equivalent", "direction", "tests", "expected"),
    [
        (5, 0.0, 0.0, 1, 1, Conclusion.FEW),
        (8, 0.01, 0.01, 1, 1, Conclusion.EQUIVALENT),
        (8, 0.01, 0.05, 1, 1, Conclusion.LARGER),
        (8, 0.01, 0.05, -1, 1, Conclusion.SMALLER),
        (8, 0.05, 0.05, 1, 6, Conclusion.OPEN),
        (8, 0.05, 0.05, 1, 7, Conclusion.UNATTAINABLE),
    ],
)
def test_what_a_test_comes_to(
    pairs: int, p: float, p_equivalent: float, direction: int, tests: int, expected: Conclusion
):
    found = statistics.conclude(pairs, p=p, p_equivalent=p_equivalent, direction=direction, tests=tests)
    assert found is expected


@pytest.mark.parametrize(("ties", "expected"), [(0, Conclusion.OPEN), (1, Conclusion.UNATTAINABLE)])
def test_equal_pairs_cannot_show_a_difference(ties: int, expected: Conclusion):
    best = statistics.paired([1.0, 2.0, 3.0, 4.0, 5.0, 0.0 if ties else 6.0], np.zeros(6))
    assert (best.ties, best.p >= 0.05) == (ties, bool(ties))
    found = statistics.conclude(6, p=0.5, p_equivalent=0.5, direction=1, tests=1, ties=ties)
    assert found is expected


def test_equivalence():
    rng = np.random.default_rng(0)
    near = rng.normal(0.0, 0.1, 10)
    assert statistics.equivalence(near, 1.0) < 0.001
    assert statistics.equivalence(near + 2, 1.0) > 0.99
    assert statistics.equivalence(rng.normal(0, 5, 6), 1.0) > 0.05  # noisy is not equivalent
    assert statistics.equivalence([0.0, 0.0], 1.0) == 0.0
    assert statistics.equivalence([2.0, 2.0], 1.0) == 1.0


def test_equivalence_rejects_no_margin():
    with pytest.raises(UserError, match="positive"):
        statistics.equivalence([1.0, 2.0], 0.0)


def test_against_published_agrees_with_welch():
    from scipy.stats import ttest_ind_from_stats

    values = np.array([93.1, 93.5, 94.0, 92.2, 93.3, 93.9])
    result = statistics.against_published(values, 93.62, 0.12, 4, 1.0)
    welch = ttest_ind_from_stats(values.mean(), values.std(ddof=1), 6, 93.62, 0.12, 4, equal_var=False)
    assert result.p == pytest.approx(welch.pvalue)
    assert result.interval.low < result.difference < result.interval.high
    assert statistics.against_published([54.3] * 6, 54.30, 0.0, 4, 1.0).p_equivalent == 0.0
    assert statistics.against_published([93.0] * 6, 54.30, 0.0, 4, 1.0).p == 0.0


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_probability_of_improvement_counts_pairs():
    assert statistics.probability_of_improvement([3, 1], [2, 1]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_interquartile_mean_deletes_a_collapse():
    values = [54.3, 93.0, 93.0, 93.0]
    assert statistics.interquartile_mean(values) == 93.0
    rate = statistics.collapse_rate(values, floor=60.0, all_skip=[True, False, False, False])
    assert (rate.count, rate.n) == (1, 4)
    assert rate.interval.low < 0.25 < rate.interval.high


def test_collapse_counts_each_run_once():
    assert statistics.collapse_rate([10.0, 90.0], floor=60.0, all_skip=[True, True]).count == 2


def test_a_diverged_run_has_collapsed():
    rate = statistics.collapse_rate([10.0, 90.0], floor=60.0, all_skip=[False, False], diverged=2)
    assert (rate.count, rate.n) == (3, 4)


@pytest.mark.parametrize("values", [[], [float("nan")], [[1.0]]])
def test_nothing_to_count_is_named(values: list[float]):
    with pytest.raises(UserError, match="finite"):
        statistics.mean_interval(values)
