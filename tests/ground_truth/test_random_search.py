"""Closed forms of random search against enumeration and simulation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, GroundTruth, Mean, NASBench1Shot1Table, NASBench201Table, Split
from benchmarks.ground_truth.random_search import best_of, oracle_best_of

C10: dict[str, Any] = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 200, "reduction": Mean()}
ONE_SHOT: dict[str, Any] = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 108, "reduction": Mean()}


def enumerated(values: np.ndarray, draws: int, score: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean and sd by walking through every sequence of draws."""
    first = second = 0.0
    share = weights / weights.sum()
    for drawn in itertools.product(range(len(values)), repeat=draws):
        chance = float(np.prod(share[list(drawn)]))
        best = [i for i in drawn if score[i] == max(score[j] for j in drawn)]
        first += chance * float(np.mean(values[best]))
        second += chance * float(np.mean(values[best] ** 2))
    return first, max(second - first**2, 0.0) ** 0.5


SPACE = st.lists(st.tuples(st.floats(0, 100), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=5).filter(
    lambda rows: any(weight for _, _, weight in rows)
)


@given(SPACE, st.integers(1, 4))
def test_closed_form_equals_enumeration(rows: list[tuple[float, int, int]], draws: int) -> None:
    values, score, weights = (np.array(column, float) for column in zip(*rows, strict=True))
    found = best_of(values, draws, score=score, weights=weights, choice="a score")
    mean, sd = enumerated(values, draws, score, weights)
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert found.sd == pytest.approx(sd, abs=1e-5)


def simulated(table: GroundTruth, values: np.ndarray, draws: int, searches: int) -> np.ndarray:
    share = table.weights / table.weights.sum()
    drawn = np.random.default_rng(1).choice(len(values), (searches, draws), p=share)
    return np.asarray(values[drawn].max(axis=1))


def check_against_simulation(table: GroundTruth, question: dict[str, Any], draws: int) -> None:
    found = oracle_best_of(table, draws, **question)
    searches = 40_000
    sample = simulated(table, table.column(**question), draws, searches)
    # Five standard errors of a mean; the spread's error follows from the sample's own fourth moment.
    assert abs(sample.mean() - found.mean) < 5 * found.sd / searches**0.5
    squares = (sample - sample.mean()) ** 2
    assert abs(squares.mean() - found.sd**2) < 5 * squares.std() / searches**0.5


@pytest.mark.parametrize("draws", [1, 4, 100])
def test_nas_bench_201(nb201: NASBench201Table, draws: int) -> None:
    check_against_simulation(nb201, C10, draws)


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("draws", [1, 10])
def test_nas_bench_1shot1(one_shot: dict[int, NASBench1Shot1Table], space: int, draws: int) -> None:
    check_against_simulation(one_shot[space], ONE_SHOT, draws)


def test_one_draw_is_the_population(nb201: NASBench201Table, one_shot: dict[int, NASBench1Shot1Table]) -> None:
    for table, question in [(nb201, C10), *((table, ONE_SHOT) for table in one_shot.values())]:
        population, found = table.population(**question), oracle_best_of(table, 1, **question)
        assert (found.draws, found.choice) == (1, "oracle")
        assert found.mean == pytest.approx(population.mean, abs=1e-10)
        assert found.sd == pytest.approx(population.sd, abs=1e-10)


def test_more_draws_help_until_the_optimum(nb201: NASBench201Table) -> None:
    means = [oracle_best_of(nb201, draws, **C10).mean for draws in (1, 2, 10, 100, 1_000, 1_000_000)]
    assert means == sorted(means)
    assert means[-1] == pytest.approx(nb201.optimum(**C10).value, abs=1e-6)


def test_a_useless_score_is_worth_one_draw(nb201: NASBench201Table) -> None:
    values = nb201.column(**C10)
    flat = best_of(values, 50, score=np.zeros(len(values)), weights=nb201.weights, choice="nothing")
    assert (flat.mean, flat.sd) == pytest.approx((values.mean(), values.std()))
    worst = best_of(values, 50, score=-values, weights=nb201.weights, choice="worst")
    assert worst.mean < values.mean()


def test_refusals(nb201: NASBench201Table, one_shot: dict[int, NASBench1Shot1Table]) -> None:
    with pytest.raises(UserError, match="cannot take the best of 0 draws: choose 1 or more"):
        oracle_best_of(nb201, 0, **C10)
    with pytest.raises(UserError, match=r"knows cifar10 valid at 108 epochs \(mean\) for"):
        oracle_best_of(one_shot[1], 4, **(ONE_SHOT | {"split": Split.VALID}))
    holes = np.array([1.0, np.nan])
    with pytest.raises(UserError, match="needs every value and score"):
        best_of(np.ones(2), 4, score=holes, weights=np.ones(2), choice="a score")
