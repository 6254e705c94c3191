"""Facts of NAS-Bench-1Shot1 that the shipped table must give back; the notes beside the compiled facts list them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from benchmarks.errors import UserError
from benchmarks.ground_truth import TABLES, BestOfRuns, Cost, Dataset, Mean, NASBench1Shot1Table, Split
from benchmarks.ground_truth.storage import read

OneShot = dict[int, NASBench1Shot1Table]
TEST = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 108}
VALID = {"dataset": Dataset.CIFAR10, "split": Split.VALID, "epochs": 108}


@pytest.mark.parametrize(
    ("space", "encodings", "graphs"), [(1, 14_580, 2_685), (2, 29_160, 7_773), (3, 1_312_200, 55_854)]
)
def test_counts(one_shot: OneShot, space: int, encodings: int, graphs: int) -> None:
    assert len(one_shot[space]) == len(set(one_shot[space].hashes)) == graphs
    assert int(one_shot[space].weights.sum()) == encodings
    assert one_shot[space].weights.min() >= 1


@pytest.mark.parametrize(
    ("space", "correct", "accuracy"), [(1, 28_215, 0.94200721), (2, 28_145, 0.93967014), (3, 28_208, 0.94177350)]
)
def test_best_mean_test_accuracy(one_shot: OneShot, space: int, correct: int, accuracy: float) -> None:
    optimum = one_shot[space].optimum(reduction=Mean(), **TEST)
    assert optimum.value == 100 * correct / 29_952
    assert round(optimum.value / 100, 8) == accuracy
    (row,) = optimum.rows
    assert one_shot[space].row_of_hash(optimum.keys[0]) == row


@pytest.mark.parametrize(("space", "mean"), [(1, 0.903139), (2, 0.905434), (3, 0.900692)])
def test_mean_of_a_uniform_encoding(one_shot: OneShot, space: int, mean: float) -> None:
    population = one_shot[space].population(reduction=Mean(), **TEST)
    assert round(population.mean / 100, 6) == mean
    unweighted = float(one_shot[space].column(reduction=Mean(), **TEST).mean())
    assert abs(unweighted - population.mean) > 0.01, "weights of encodings must matter"


def test_union_of_the_spaces_and_known_validation_values() -> None:
    table = read(TABLES / "nas-bench-1shot1.parquet")
    means, best = table.column("cifar10_valid_108_mean"), table.column("cifar10_valid_108_max")
    assert table.data.num_rows == 66_111
    assert int(np.isfinite(means).sum()) == 650
    assert int(np.isfinite(best).sum()) == 4_774
    assert int((np.isfinite(means) & np.isfinite(best)).sum()) == 48
    assert int((np.isfinite(means) | np.isfinite(best)).sum()) == 5_376
    both = np.isfinite(means) & np.isfinite(best)
    assert bool((best[both] * 3 >= means[both]).all()), "the best of three is at least their mean"
    hashes = table.column("hash").tolist()
    assert hashes == sorted(hashes)


def test_validation_is_missing_not_guessed(one_shot: OneShot) -> None:
    for table in one_shot.values():
        column = table.column(reduction=Mean(), **VALID)
        assert 0 < int(np.isfinite(column).sum()) < len(table) / 10
        for question in (table.optimum, table.population):
            with pytest.raises(
                UserError, match=r"knows cifar10 valid at 108 epochs \(mean\) for [0-9,]+ of [0-9,]+ rows"
            ):
                question(reduction=Mean(), **VALID)
        assert not np.array_equal(column, table.column(reduction=BestOfRuns(), **VALID), equal_nan=True)


def test_graphs_hash_to_their_keys() -> None:
    """An independent reading of adjacency and operations gives the official hash of each of a sample of the graphs."""
    table = read(TABLES / "nas-bench-1shot1.parquet")
    hashes, bits = table.column("hash"), table.column("adjacency")
    vertices, codes = table.column("vertices"), table.column("operations")
    for row in np.random.default_rng(0).choice(len(hashes), 400, replace=False):
        n = int(vertices[row])
        labels = [-1, *(int(digit) for digit in f"{codes[row]:0{n - 2}d}"[: n - 2]), -2]
        edges = [(x, y) for y in range(1, n) for x in range(y) if bits[row] >> (x + y * (y - 1) // 2) & 1]
        assert _module_hash(n, edges, labels) == bytes(hashes[row])


def _module_hash(n: int, edges: list[tuple[int, int]], labels: list[int]) -> bytes:
    """The invariant of NAS-Bench-101 (Ying et al., 2019, appendix on isomorphism), from its description."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    into = [[x for x, y in edges if y == v] for v in range(n)]
    out = [[y for x, y in edges if x == v] for v in range(n)]
    state = [md5(str((len(out[v]), len(into[v]), labels[v]))) for v in range(n)]
    for _ in range(n):
        state = [
            md5(
                "".join(sorted(state[x] for x in into[v]))
                + "|"
                + "".join(sorted(state[y] for y in out[v]))
                + "|"
                + state[v]
            )
            for v in range(n)
        ]
    return bytes.fromhex(md5(str(sorted(state))))


def test_parameters(one_shot: OneShot) -> None:
    table = one_shot[3]
    row = table.row_of_hash(table.hashes[0])
    assert row == 0
    values = read(TABLES / "nas-bench-1shot1.parquet").column("params_cifar10")
    assert (values.min(), values.max()) == (301_074, 49_979_274)
    with pytest.raises(UserError, match="holds no flops_cifar10: held are params_cifar10, time_cifar10_108"):
        table.cost(np.empty((0, 12), int), Cost.FLOPS, Dataset.CIFAR10)


def test_hash_outside_the_space(one_shot: OneShot) -> None:
    # The best graph of all NAS-Bench-101 is in none of the three spaces.
    best = "02e5a0247bbdcf2860b7e96f74961594"
    for space, table in one_shot.items():
        with pytest.raises(UserError, match=f"no graph of nas-bench-1shot1-s{space} has the module hash 02e5a0"):
            table.row_of_hash(best)
