"""Published and cross-checked facts of NAS-Bench-201 (release NATS-tss-v1.0) that the shipped table must give back.

Sources of the expectations: the population moments, the optima and the all-skip row are in the notes beside the
compiled facts; the all-skip row is also the DARTS row of Dong and Yang (2020), Table 5.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ground_truth import AllSeeds, Cost, Dataset, Mean, NASBench201Table, Seed, Split
from benchmarks.ground_truth.measures import Measure

SIX = [(dataset, split) for dataset in Dataset for split in (Split.VALID, Split.TEST)]
SKIP = (1, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("measure", "mean", "sd"),
    list(
        zip(
            SIX,
            (83.69, 87.06, 61.30, 61.41, 33.81, 33.59),
            (12.80, 12.93, 12.14, 12.17, 9.24, 9.51),
            strict=True,
        )
    ),
)
def test_population(nb201: NASBench201Table, measure: tuple[Dataset, Split], mean: float, sd: float) -> None:
    population = nb201.population(dataset=measure[0], split=measure[1], epochs=200, reduction=Mean())
    assert (round(population.mean, 2), round(population.sd, 2), population.encodings) == (mean, sd, 15_625)


@pytest.mark.parametrize(
    ("measure", "value", "index"),
    list(
        zip(
            SIX,
            (91.607, 94.373, 73.493, 73.513, 46.733, 47.311),
            (6111, 6111, 9930, 9930, 10676, 857),
            strict=True,
        )
    ),
)
def test_optimum(nb201: NASBench201Table, measure: tuple[Dataset, Split], value: float, index: int) -> None:
    optimum = nb201.optimum(dataset=measure[0], split=measure[1], epochs=200, reduction=Mean())
    assert round(optimum.value, 3) == value
    assert optimum.rows[0] == index
    assert optimum.keys[0] == "".join(map(str, nb201.architectures[index]))


def test_second_best_cifar10_architecture_is_a_tie(nb201: NASBench201Table) -> None:
    # 94.37333 twice: an optimum is a set, and both members are told.
    assert nb201.optimum(dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200, reduction=Mean()).rows == (6111, 13714)


def test_all_skip_row(nb201: NASBench201Table) -> None:
    assert nb201.row(SKIP) == 1835
    found = nb201.accuracies(SKIP)
    assert list(found) == [
        "cifar10_valid",
        "cifar10_test",
        "cifar100_valid",
        "cifar100_test",
        "imagenet16-120_valid",
        "imagenet16-120_test",
    ]
    assert [round(value, 2) for value in found.values() if value is not None] == [
        39.77,
        54.30,
        15.03,
        15.61,
        16.43,
        16.32,
    ]


def test_index_zero_and_its_string(nb201: NASBench201Table) -> None:
    # |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|
    assert nb201.architectures[0].tolist() == [4, 2, 1, 2, 1, 1]
    assert nb201.row((4, 2, 1, 2, 1, 1)) == 0


def test_regrets_reach_zero_at_the_optimum_and_are_never_negative(nb201: NASBench201Table) -> None:
    best = tuple(nb201.architectures[6111].tolist())
    regrets = nb201.regrets(best)
    assert regrets["cifar10_valid"] == regrets["cifar10_test"] == 0.0
    assert regrets["cifar100_test"] is not None and regrets["cifar100_test"] > 0
    skip = nb201.regrets(SKIP)["cifar10_test"]
    assert skip == pytest.approx(94.373333 - 54.296667, abs=1e-5)


def test_every_mean_is_the_mean_of_its_seeds(nb201: NASBench201Table) -> None:
    for dataset, split in [
        (Dataset.CIFAR10, Split.VALID),
        (Dataset.CIFAR10, Split.TEST),
        (Dataset.CIFAR100, Split.VALTEST),
        (Dataset.IMAGENET16_120, Split.VALTEST),
    ]:
        seeds = nb201.accuracy(nb201.architectures, dataset=dataset, split=split, epochs=200, reduction=AllSeeds())
        assert nb201.seeds(dataset=dataset, split=split, epochs=200) == (777, 888, 999)
        assert int(np.isfinite(seeds[:, 2]).sum()) == 8_169
        mean = nb201.column(dataset=dataset, split=split, epochs=200, reduction=Mean())
        np.testing.assert_allclose(np.nanmean(seeds, axis=1), mean, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dataset", [Dataset.CIFAR100, Dataset.IMAGENET16_120])
@pytest.mark.parametrize(("seed", "held"), [(777, 7_644), (888, 15_625), (999, 188)])
def test_halves_add_up_to_the_joint_test_set(nb201: NASBench201Table, dataset: Dataset, seed: int, held: int) -> None:
    valid, test, joint = (
        nb201.column(dataset=dataset, split=split, epochs=200, reduction=Seed(seed))
        for split in (Split.VALID, Split.TEST, Split.VALTEST)
    )
    known = np.isfinite(test)
    assert int(known.sum()) == held
    np.testing.assert_allclose((valid + test)[known] / 2, joint[known], rtol=0, atol=1e-11)


def test_short_trainings_carry_their_true_names(nb201: NASBench201Table) -> None:
    short = {m.column for m in nb201.measures if m.epochs == 12}
    assert short == {
        "cifar10_valid_12_mean",
        "cifar10_test_12_seed111",
        "cifar100_valid_12_seed111",
        "cifar100_test_12_seed111",
        "imagenet16-120_valid_12_seed111",
        "imagenet16-120_test_12_seed111",
    }
    at = {"dataset": Dataset.CIFAR10, "epochs": 12}
    zero = (4, 2, 1, 2, 1, 1)
    assert nb201.accuracy(zero, split=Split.VALID, reduction=Mean(), **at) == pytest.approx(63.364, abs=1e-9)
    assert nb201.accuracy(zero, split=Split.TEST, reduction=AllSeeds(), **at) == {111: pytest.approx(69.55, abs=1e-9)}


def test_costs(nb201: NASBench201Table) -> None:
    zero = (4, 2, 1, 2, 1, 1)
    assert nb201.cost(zero, Cost.PARAMETERS, Dataset.CIFAR10) == 129_306
    assert nb201.cost(zero, Cost.PARAMETERS, Dataset.IMAGENET16_120) == 136_456
    assert nb201.cost(zero, Cost.FLOPS, Dataset.CIFAR100) == 15_653_220
    heaviest = nb201.cost(nb201.architectures, Cost.PARAMETERS, Dataset.CIFAR10)
    assert nb201.row((3,) * 6) == int(heaviest.argmax())
    half = nb201.training_seconds(zero, dataset=Dataset.CIFAR10, split=Split.VALID, epochs=200)
    full = nb201.training_seconds(zero, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200)
    assert (half, full) == (1444.2186, 2888.4372)


def test_counts_of_columns(nb201: NASBench201Table) -> None:
    assert len(nb201) == 15_625
    assert (nb201.benchmark, nb201.release) == ("nas-bench-201", "NATS-tss-v1.0")
    # 8 means and 24 single seeds at 200 epochs, 6 columns at 12.
    assert len(nb201.measures) == len(set(nb201.measures)) == 38
    assert all(Measure.parse(m.column) == m for m in nb201.measures)
