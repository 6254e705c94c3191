"""Tables and spaces speak of the same architectures."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import spaces
from benchmarks.errors import UserError
from benchmarks.ground_truth import FILES, Dataset, Mean, NASBench1Shot1Table, NASBench201Table, Split
from benchmarks.spaces.nas_bench_201 import official_order

OneShot = dict[int, NASBench1Shot1Table]


def test_every_space_has_a_table() -> None:
    assert set(spaces.SPACES) == set(FILES)


def test_official_order_and_strings(nb201: NASBench201Table) -> None:
    np.testing.assert_array_equal(nb201.architectures, official_order())
    space = spaces.get("nas-bench-201")
    strings = {
        0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        1835: "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
        6111: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    }
    for index, string in strings.items():
        assert nb201.row(space.decode(string)) == index


def test_every_encoding_of_space_1_is_in_the_table_as_often_as_it_says(one_shot: OneShot) -> None:
    rows = one_shot[1].rows(list(one_shot[1].space.enumerate()))
    np.testing.assert_array_equal(np.bincount(rows, minlength=len(one_shot[1])), one_shot[1].weights)


@pytest.mark.parametrize("space", [2, 3])
def test_sampled_encodings_are_in_the_table(one_shot: OneShot, space: int) -> None:
    table, rng = one_shot[space], np.random.default_rng(space)
    architectures = [table.space.sample(rng) for _ in range(2_000)]
    question = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 108, "reduction": Mean()}
    values = table.accuracy(architectures, **question)
    assert [table.accuracy(a, **question) for a in architectures[:50]] == values[:50].tolist()
    # Uniform over encodings: the sample's mean is the weighted population's within five standard errors.
    population = table.population(**question)
    assert abs(values.mean() - population.mean) < 5 * population.sd / len(values) ** 0.5
    best = table.key(int(table.rows(architectures)[values.argmax()]))
    assert best == table.space.module_hash(architectures[int(values.argmax())])


@pytest.mark.parametrize("space", [1, 2, 3])
def test_headline_of_a_result_row(one_shot: OneShot, space: int) -> None:
    table = one_shot[space]
    architecture = table.space.at(0)
    accuracies, regrets = table.accuracies(architecture), table.regrets(architecture)
    assert list(accuracies) == list(regrets) == ["cifar10_valid", "cifar10_test"]
    best = table.optimum(dataset=Dataset.CIFAR10, split=Split.TEST, epochs=108, reduction=Mean()).value
    assert accuracies["cifar10_test"] is not None
    assert regrets["cifar10_test"] == best - accuracies["cifar10_test"]
    # The optimum of the validation accuracies is not known while some of them are missing.
    assert regrets["cifar10_valid"] is None


@pytest.mark.parametrize("space", [1, 2, 3])
def test_missing_validation_is_none(one_shot: OneShot, space: int) -> None:
    table, rng = one_shot[space], np.random.default_rng(0)
    question = {"dataset": Dataset.CIFAR10, "split": Split.VALID, "epochs": 108, "reduction": Mean()}
    held = np.isfinite(table.column(**question))
    architectures = [table.space.sample(rng) for _ in range(300)]
    values = [table.accuracies(architecture)["cifar10_valid"] for architecture in architectures]
    assert [value is not None for value in values] == held[table.rows(architectures)].tolist()
    assert {value is None for value in values} == {True, False}
    np.testing.assert_array_equal(table.accuracy(architectures, **question), np.array(values, float))


def test_arrays_that_hold_no_encodings(one_shot: OneShot) -> None:
    question = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 108, "reduction": Mean()}
    with pytest.raises(UserError, match="expected integers of shape"):
        one_shot[1].accuracy(np.zeros((2, 3), int), **question)
    with pytest.raises(UserError, match="is no architecture of nas-bench-1shot1-s1"):
        one_shot[1].accuracy((0,), **question)
