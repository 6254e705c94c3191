"""The query contract: nothing has a default, what is missing stays missing, what is not held is explained."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import ground_truth
from benchmarks.errors import UserError
from benchmarks.ground_truth import (
    AllSeeds,
    BestOfRuns,
    Cost,
    Dataset,
    Mean,
    NASBench1Shot1Table,
    NASBench201Table,
    Run,
    Seed,
    Split,
)
from benchmarks.ground_truth.measures import Measure, Reduction

C10_TEST: dict[str, Any] = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 200}
C100_TEST: dict[str, Any] = {"dataset": Dataset.CIFAR100, "split": Split.TEST, "epochs": 200}
ARCHITECTURE = st.tuples(*[st.integers(0, 4)] * 6)


@given(st.lists(ARCHITECTURE, max_size=20))
def test_one_at_a_time_and_all_at_once_agree(nb201: NASBench201Table, architectures: list[tuple[int, ...]]) -> None:
    for reduction in (Mean(), Seed(999)):
        many = nb201.accuracy(architectures, reduction=reduction, **C10_TEST)
        assert many.shape == (len(architectures),)
        singly = [nb201.accuracy(a, reduction=reduction, **C10_TEST) for a in architectures]
        np.testing.assert_array_equal(many, np.array([np.nan if v is None else v for v in singly]))
        again = nb201.accuracy(np.array(architectures, int).reshape(-1, 6), reduction=reduction, **C10_TEST)
        np.testing.assert_array_equal(many, again)


@given(ARCHITECTURE)
def test_rows_are_the_inverse_of_architectures(nb201: NASBench201Table, architecture: tuple[int, ...]) -> None:
    assert tuple(nb201.architectures[nb201.row(architecture)].tolist()) == architecture
    assert nb201.key(nb201.row(architecture)) == "".join(map(str, architecture))


@pytest.mark.parametrize("missing", ["dataset", "split", "epochs", "reduction"])
def test_no_silent_default(nb201: NASBench201Table, missing: str) -> None:
    question = C10_TEST | {"reduction": Mean()}
    del question[missing]
    for ask in (nb201.accuracy, nb201.optimum, nb201.population, nb201.column):
        arguments = ((1,) * 6,) if ask == nb201.accuracy else ()
        with pytest.raises(TypeError, match=missing):
            ask(*arguments, **question)


def test_missing_comes_back_as_missing(nb201: NASBench201Table) -> None:
    column = nb201.column(reduction=Seed(999), **C10_TEST)
    absent = int(np.flatnonzero(np.isnan(column))[0])
    architecture = tuple(nb201.architectures[absent].tolist())
    assert nb201.accuracy(architecture, reduction=Seed(999), **C10_TEST) is None
    assert np.isnan(nb201.accuracy([architecture], reduction=Seed(999), **C10_TEST)).all()
    # Two seeds were trained and both are held: all seeds are those two, without a hole.
    assert list(nb201.accuracy(architecture, reduction=AllSeeds(), **C10_TEST)) == [777, 888]


def test_all_seeds_refuses_when_one_is_not_held(nb201: NASBench201Table) -> None:
    seed777 = nb201.column(reduction=Seed(777), **C100_TEST)
    absent = tuple(nb201.architectures[int(np.flatnonzero(np.isnan(seed777))[0])].tolist())
    held = tuple(nb201.architectures[int(np.flatnonzero(np.isfinite(seed777))[0])].tolist())
    message = (
        r"the nas-bench-201 table lacks a trained seed of cifar100_test_200 for 1 of the 1 architectures asked for: "
        r"held are seed888 for 1; ask for one reduction of mean, seed777, seed888, seed999"
    )
    with pytest.raises(UserError, match=message):
        nb201.accuracy(absent, reduction=AllSeeds(), **C100_TEST)
    with pytest.raises(
        UserError, match=r"for 7,981 of the 15,625 .* seed777 for 7,644, seed888 for 15,625, seed999 for 188"
    ):
        nb201.accuracy(nb201.architectures, reduction=AllSeeds(), **C100_TEST)
    values = nb201.accuracy(held, reduction=AllSeeds(), **C100_TEST)
    assert np.mean(list(values.values())) == pytest.approx(nb201.accuracy(held, reduction=Mean(), **C100_TEST))
    with pytest.raises(UserError, match="held are no single trainings; ask for one reduction of mean"):
        nb201.accuracy(held, dataset=Dataset.CIFAR10, split=Split.VALID, epochs=12, reduction=AllSeeds())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reduction": Seed(1)},
            "no cifar10 test accuracy at 200 epochs as seed1: held are mean, seed777, seed888, seed999",
        ),
        ({"reduction": BestOfRuns()}, "as max: held are mean, seed777"),
        ({"reduction": Run(0)}, "as run0: held are mean, seed777"),
        ({"epochs": 12, "reduction": Mean()}, "at 12 epochs as mean: held are seed111"),
        (
            {"epochs": 90, "reduction": Mean()},
            r"at 90 epochs: held are cifar10_test_200 \(mean, seed777, seed888, seed999\); cifar10_test_12 \(seed111\)",
        ),
        (
            {"split": Split.TRAIN, "reduction": Mean()},
            r"no cifar10 train accuracy at 200 epochs: held are cifar10_valid_200",
        ),
        (
            {"dataset": "svhn", "reduction": Mean()},
            "unknown dataset 'svhn': choose from cifar10, cifar100, imagenet16-120",
        ),
        ({"split": "testing", "reduction": Mean()}, "unknown split 'testing': choose from train, valid, test, valtest"),
    ],
)
def test_what_is_not_held_is_explained(nb201: NASBench201Table, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        nb201.accuracy((1,) * 6, **(C10_TEST | change))


def test_best_of_three_is_no_mean(one_shot: dict[int, NASBench1Shot1Table]) -> None:
    question = {"dataset": Dataset.CIFAR10, "epochs": 108}
    with pytest.raises(UserError, match="as max: held are mean"):
        one_shot[1].column(split=Split.TEST, reduction=BestOfRuns(), **question)
    with pytest.raises(
        UserError, match=r"cifar10 valid accuracy at 12 epochs: held are cifar10_valid_108 \(mean, max\)"
    ):
        one_shot[1].column(dataset=Dataset.CIFAR10, split=Split.VALID, epochs=12, reduction=Mean())


@pytest.mark.parametrize(
    "architecture",
    [(1,) * 5, (1,) * 7, (1, 1, 1, 1, 1, 5), (-1, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0.5), ([1], 0, 0, 0, 0, 0), ()],
)
def test_a_tuple_that_is_no_architecture(nb201: NASBench201Table, architecture: Any) -> None:
    with pytest.raises(UserError, match="is no architecture of nas-bench-201: give a tuple of six operations 0 to 4"):
        nb201.accuracy(architecture, reduction=Mean(), **C10_TEST)


@pytest.mark.parametrize(
    "architectures",
    [
        np.ones((3, 5), int),
        np.ones(6, int),
        np.ones((2, 6)),
        [1, 1, 1, 1, 1, 1],
        [(1,) * 6, (1,) * 5],
        np.full((1, 6), 5),
        np.full((1, 6), -1),
    ],
)
def test_an_array_that_holds_no_architectures(nb201: NASBench201Table, architectures: Any) -> None:
    with pytest.raises(
        UserError,
        match=r"expected integers of shape \[n, 6\]|must all have 6 decisions|operations of nas-bench-201 are 0 to 4",
    ):
        nb201.accuracy(architectures, reduction=Mean(), **C10_TEST)


def test_unsigned_architectures_do_not_wrap(nb201: NASBench201Table) -> None:
    small = nb201.architectures.astype(np.uint8)
    np.testing.assert_array_equal(nb201.rows(small), np.arange(15_625))
    np.testing.assert_array_equal(nb201.rows(nb201.architectures), np.arange(15_625))


def test_columns_cannot_be_changed(nb201: NASBench201Table) -> None:
    with pytest.raises(ValueError, match="read-only"):
        nb201.column(reduction=Mean(), **C10_TEST)[0] = 100.0
    with pytest.raises(ValueError, match="read-only"):
        nb201.architectures[0] = 0


def test_unknown_names() -> None:
    with pytest.raises(
        UserError, match="unknown space 'nas-bench-102': choose from nas-bench-201, nas-bench-1shot1-s1"
    ):
        ground_truth.load("nas-bench-102", tables=None)
    with pytest.raises(UserError, match="unknown cost 'price': choose from params, flops, latency"):
        ground_truth.load("nas-bench-201", tables=None).cost((1,) * 6, "price", Dataset.CIFAR10)  # type: ignore[call-overload]


def test_costs_that_are_not_held(nb201: NASBench201Table) -> None:
    with pytest.raises(UserError, match="holds no latency_cifar10: held are params_cifar10, flops_cifar10"):
        nb201.cost((1,) * 6, Cost.LATENCY, Dataset.CIFAR10)
    with pytest.raises(UserError, match=r"holds no time_cifar100_12: held are .*time_cifar10-valid_12"):
        nb201.training_seconds((1,) * 6, dataset=Dataset.CIFAR100, split=Split.TEST, epochs=12)


REDUCTIONS: st.SearchStrategy[Reduction] = st.one_of(
    st.just(Mean()), st.just(BestOfRuns()), st.builds(Seed, st.integers(0, 10**6)), st.builds(Run, st.integers(0, 9))
)


@given(st.builds(Measure, st.sampled_from(Dataset), st.sampled_from(Split), st.integers(1, 999), REDUCTIONS))
def test_column_names_round_trip(measure: Measure) -> None:
    assert Measure.parse(measure.column) == measure


@pytest.mark.parametrize(
    "name", ["operations", "runs_200", "params_cifar10", "cifar10_test_200", "cifar10_test_0_mean"]
)
def test_other_columns_are_no_accuracies(name: str) -> None:
    assert Measure.parse(name) is None


def test_ground_truth_needs_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from benchmarks import ground_truth as g;"
        "t = g.load('nas-bench-201', tables=None); t.accuracies((1,) * 6); t.regrets((1,) * 6);"
        "s = g.load('nas-bench-1shot1-s3', tables=None);"
        "s.optimum(dataset=g.Dataset.CIFAR10, split=g.Split.TEST, epochs=108, reduction=g.Mean());"
        "print([m for m in ('torch', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
