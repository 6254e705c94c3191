"""The closed form of 'best score of n draws' against enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.correlation import correlation
from analysis.zero_cost import (
    best_of_draws,
    expected_distinct,
    resampled_means,
    selection_probabilities,
    simulate,
    small_spread,
)
from benchmarks import ground_truth, proxies
from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, Mean, Split


def enumerate_draws(scores: list[float], draws: int, weights: list[float]) -> np.ndarray:
    """Every sequence of draws, its probability, and its best-scored draws with equal shares."""
    share = np.array(weights) / sum(weights)
    probability = np.zeros(len(scores))
    for drawn in itertools.product(range(len(scores)), repeat=draws):
        top = max(scores[i] for i in drawn)
        best = [i for i in drawn if scores[i] == top]
        for i in best:
            probability[i] += np.prod(share[list(drawn)]) / len(best)
    return probability


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.5, 1e66]), st.integers(1, 4)), min_size=1, max_size=5),
    draws=st.integers(1, 4),
)
def test_equals_enumeration_with_ties_and_weights(table, draws):
    scores, weights = [list(column) for column in zip(*table, strict=True)]
    found = selection_probabilities(scores, draws, weights)
    np.testing.assert_allclose(found, enumerate_draws(scores, draws, weights), atol=1e-12)
    np.testing.assert_allclose(found.sum(), 1, atol=1e-12)


def test_hand_computed_moments():
    # Two draws of three: the worst is chosen in 1 of 9 cases, the middle in 3, the best in 5.
    found = best_of_draws([1, 2, 3], [[90.0], [60.0], [30.0]], 2)
    mean = (90 + 3 * 60 + 5 * 30) / 9
    sd = np.sqrt((90**2 + 3 * 60**2 + 5 * 30**2) / 9 - mean**2)
    assert found.mean == pytest.approx((mean,))
    assert found.sd == pytest.approx((sd,))


def test_one_draw_is_the_population():
    rng = np.random.default_rng(0)
    accuracies = rng.random((50, 3))
    found = best_of_draws(rng.integers(0, 5, 50), accuracies, 1)
    assert found.mean == pytest.approx(tuple(accuracies.mean(0)))
    assert found.sd == pytest.approx(tuple(accuracies.std(0)))


def test_seeds_are_a_mixture():
    scores = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    mixture = np.mean([selection_probabilities(row, 4) for row in scores], axis=0)
    np.testing.assert_allclose(selection_probabilities(scores, 4), mixture)


def test_what_is_not_a_number_ranks_last():
    np.testing.assert_allclose(
        selection_probabilities([np.nan, -np.inf, 1.0, -5.0], 3), selection_probabilities([0, 0, 2, 1], 3)
    )


def test_simulation_agrees():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 6, (2, 30)).astype(float)
    weights = rng.integers(1, 5, 30)
    probability = selection_probabilities(scores, 5, weights)
    trials = 20_000
    counts = np.bincount(simulate(scores, 5, trials, rng, weights), minlength=30)
    sd = np.sqrt(trials * probability * (1 - probability))
    assert (np.abs(counts - trials * probability) <= 5 * sd + 1e-9).all()


def test_small_spread_has_a_known_value():
    # One draw of {0, 1}: the sd of 4 runs is 0 if they all agree, which has probability 1/8.
    found = small_spread(
        [0, 1], [[0.0, 5.0], [1.0, 5.0]], 1, [0.0, 0.0], ddof=1, rng=np.random.default_rng(2), simulations=40_000
    )
    assert found.each[0].low < 1 / 8 < found.each[0].high
    assert found.each[1].estimate == 1
    assert found.jointly == found.each[0]


def test_small_spread_is_rarer_with_ddof_1():
    rng = np.random.default_rng(3)
    scores, accuracies = rng.random(200), rng.random((200, 2))
    spread = [
        small_spread(
            scores, accuracies, 3, [0.2, 0.2], ddof=ddof, rng=np.random.default_rng(4), simulations=20_000
        ).jointly
        for ddof in (0, 1)
    ]
    assert spread[1].high < spread[0].low


def test_correlation_of_known_values():
    found = correlation([1, 2, 3, 4, np.nan], [1.0, 3.0, 2.0, 4.0, 0.5])
    assert (found.spearman, found.kendall, found.n) == (pytest.approx(0.9), pytest.approx(0.8), 5)
    assert correlation([1, 2, 3], [1.0, np.nan, 3.0]).n == 2
    assert correlation([1e-300, 1e300, np.inf], [1.0, 2.0, 3.0]).spearman == pytest.approx(1)


def test_intervals_of_correlations_cover():
    """Samples of 80 from a population of 20,000: about 95 % of the intervals hold its coefficients."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=20_000)
    y = 0.8 * x + rng.normal(size=len(x))
    whole = correlation(x, y)
    samples = [rng.choice(len(x), 80, replace=False) for _ in range(400)]
    found = [correlation(x[rows], y[rows]) for rows in samples]
    spearman = np.mean([low < whole.spearman < high for low, high in (c.spearman_interval for c in found)])
    kendall = np.mean([low < whole.kendall < high for low, high in (c.kendall_interval for c in found)])
    assert 0.92 < spearman < 0.985 and 0.92 < kendall < 0.985
    assert correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).spearman_interval == pytest.approx((1, 1))


def test_resampling_by_hand():
    """Every bootstrap sample is that many copies of each architecture, so its mean is the closed form's."""
    rng = np.random.default_rng(6)
    scores = np.array([[1.0, 3.0, 3.0, -np.inf, np.nan, 2.0], [5.0, 1.0, 1.0, 2.0, 2.0, 0.0]])
    accuracies, weights = rng.random((6, 2)), np.array([1.0, 2.0, 1.0, 3.0, 1.0, 1.0])
    found = resampled_means(scores, accuracies, [1, 3], rng=np.random.default_rng(7), resamples=50, weights=weights)
    assert found.shape == (50, 2, 2)
    counts = np.random.default_rng(7).multinomial(6, np.full(6, 1 / 6), 50)
    for sample, means in zip(counts, found, strict=True):
        for draws, mean in zip((1, 3), means, strict=True):
            assert best_of_draws(scores, accuracies, draws, sample * weights).mean == pytest.approx(tuple(mean))


def test_resampling_one_draw_has_the_error_of_a_mean():
    rng = np.random.default_rng(8)
    accuracies = rng.normal(size=400)
    found = resampled_means(rng.random(400), accuracies, [1], rng=rng, resamples=4000)[:, 0, 0]
    assert found.std() == pytest.approx(accuracies.std() / 20, rel=0.05)


def test_expected_distinct():
    # Two draws of a fair coin differ half of the time; what has no chance is never drawn, what is sure once.
    assert expected_distinct([0.5, 0.5, 0.0], 2) == pytest.approx(1.5)
    assert expected_distinct([1.0, 0.0], 500) == pytest.approx(1)
    rng = np.random.default_rng(9)
    p = rng.dirichlet(np.ones(30))
    drawn = [len(set(rng.choice(30, 20, p=p))) for _ in range(4000)]
    assert expected_distinct(p, 20) == pytest.approx(np.mean(drawn), abs=0.15)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: selection_probabilities([], 1), "expected scores"),
        (lambda: selection_probabilities([1, 2], 0), "best of 0 draws"),
        (lambda: selection_probabilities([1, 2], 1, [1]), "2 weights"),
        (lambda: selection_probabilities([1, 2], 1, [0, 0]), "2 weights"),
        (lambda: best_of_draws([1, 2], [1.0, np.nan], 1), "missing values"),
        (lambda: best_of_draws([1, 2], [1.0], 1), "expected finite accuracies"),
        (lambda: small_spread([1], [1.0], 1, [1, 2], ddof=0, rng=np.random.default_rng()), "1 data sets, got 2"),
        (lambda: small_spread([1], [1.0], 1, [1], ddof=4, rng=np.random.default_rng()), "ddof"),
        (lambda: correlation([1, 2], [1.0]), "shapes"),
    ],
)
def test_bad_input_is_one_line(call, said):
    with pytest.raises(UserError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


# BaLeNAS (arXiv 2111.13204), Table 2, column "zero-cost NAS": sd of 4 runs.
SD = {10: (1.25, 2.49, 1.86), 50: (0.05, 0.25, 0.95), 100: (0.16, 0.35, 0.75)}
# Another implementation's scores (FreeREA's, Kaiming initialisation), by simulation: mean and sd of single runs.
OTHER = {
    10: ((92.49, 68.6, 41.0), (1.26, 2.4, 4.4)),
    50: ((93.02, 69.6, 42.0), (0.79, 1.9, 4.3)),
    100: ((93.15, 69.9, 42.1), (0.72, 1.9, 4.4)),
    500: ((93.34, 70.3, 42.1), (0.66, 1.9, 4.2)),
    1000: ((93.44, 70.6, 42.3), (0.64, 2.0, 4.1)),
}


@pytest.fixture(scope="module")
def accuracies():
    table = ground_truth.load("nas-bench-201", tables=None)
    cells = np.array(list(itertools.product(range(5), repeat=6)))
    columns = [
        table.accuracy(cells, dataset=dataset, split=Split.TEST, epochs=200, reduction=Mean()) for dataset in Dataset
    ]
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def synflow():
    table = proxies.load("nas-bench-201", "synflow")
    assert table.complete
    return np.stack(list(table.by_seed.values()))


class TestPublishedTable2:
    """BaLeNAS's Table 2, column 'zero-cost NAS', from the shipped scores at the paper's full setting."""

    def test_agrees_with_another_implementation(self, synflow, accuracies):
        for draws, (mean, sd) in OTHER.items():
            for scores in synflow:
                found = best_of_draws(scores, accuracies, draws)
                np.testing.assert_allclose(found.mean, mean, atol=0.45)
                np.testing.assert_allclose(found.sd, sd, atol=0.6)

    def test_closed_form_is_what_playing_it_gives(self, synflow, accuracies):
        trials = 4_000
        chosen = accuracies[simulate(synflow, 100, trials, np.random.default_rng(0))]
        exact = best_of_draws(synflow, accuracies, 100)
        np.testing.assert_array_less(abs(chosen.mean(0) - exact.mean), 4.5 * np.array(exact.sd) / trials**0.5)
        np.testing.assert_allclose(chosen.std(0), exact.sd, rtol=0.15)

    @pytest.mark.parametrize("ddof", [0, 1])
    def test_published_spreads_are_too_small_for_four_runs(self, synflow, accuracies, ddof):
        def jointly(draws):
            rng = np.random.default_rng(1)
            return small_spread(synflow, accuracies, draws, SD[draws], ddof=ddof, rng=rng).jointly

        assert jointly(10).low > 0.1
        assert jointly(50).high < 5e-4
        assert jointly(100).high < 5e-3

    def test_the_best_score_is_the_cell_of_3x3_convolutions(self, synflow, accuracies):
        last = 3 * sum(5**k for k in range(6))
        assert (synflow.argmax(axis=1) == last).all()
        np.testing.assert_allclose(accuracies[last], (93.76, 71.11, 41.44), atol=0.01)

    def test_correlation_with_accuracy(self, synflow, accuracies):
        for scores in synflow:
            assert 0.74 < correlation(scores, accuracies[:, 0]).spearman < 0.81

    def test_disconnected_cells_score_exactly_zero(self, synflow):
        assert ((synflow == 0).sum(axis=1) == 341).all()
        assert ((synflow > np.finfo(np.float32).max).sum(axis=1) > 500).all()
