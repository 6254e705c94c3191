"""NAS-Bench-1Shot1 and NAS-Bench-101: sizes, hashes, parameters, all against the shipped table."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch

from benchmarks import ground_truth
from benchmarks.errors import UserError
from benchmarks.ground_truth import storage
from benchmarks.spaces import NASBench1Shot1, nas_bench_101
from benchmarks.spaces.nas_bench_101 import OPERATIONS
from benchmarks.spaces.nas_bench_101_network import parameter_count, vertex_channels

SPACES = {n: NASBench1Shot1(n) for n in (1, 2, 3)}


@cache
def module_hashes(number: int) -> np.ndarray:
    return SPACES[number].module_hashes()


@pytest.mark.parametrize(("number", "encodings", "parameters"), [(1, 14580, 24), (2, 29160, 26), (3, 1312200, 35)])
def test_sizes(number: int, encodings: int, parameters: int) -> None:
    """Products of choices, and architecture parameters as in the public search code."""
    assert len(SPACES[number]) == encodings
    assert SPACES[number].parameters == parameters


@pytest.mark.parametrize(
    ("number", "with_out_edge", "without_loose_ends"), [(1, 6240, 3078), (2, 16632, 11178), (3, 363648, 108135)]
)
def test_ways_of_counting(number: int, with_out_edge: int, without_loose_ends: int) -> None:
    """The paper's 6,240 and 363,648 count nodes that have an out-edge, its 29,160 all encodings."""
    space = SPACES[number]
    nodes, total, complete = space.choice_nodes, 0, 0
    for wiring in itertools.product(*(range(c) for c in space.choices[nodes:])):
        matrix, _ = space.module((*[0] * nodes, *wiring))
        total += 3 ** int(matrix[1 : nodes + 1].any(axis=1).sum())
        complete += 3**nodes * (len(nas_bench_101.reached(matrix)) == nodes + 2)
    assert (total, complete) == (with_out_edge, without_loose_ends)


@pytest.mark.parametrize(("number", "graphs"), [(1, 2685), (2, 7773), pytest.param(3, 55854, marks=pytest.mark.slow)])
def test_every_encoding_is_in_the_table(number: int, graphs: int) -> None:
    table = ground_truth.load(SPACES[number].name, tables=None)
    hashes, counts = np.unique(module_hashes(number), return_counts=True)
    assert len(hashes) == graphs
    encodings = {row: int(w) for row, w in enumerate(table.weights) if w}
    found = {table.row_of_hash(h.tobytes().hex()): int(c) for h, c in zip(hashes, counts, strict=True)}
    assert found == encodings


@pytest.mark.parametrize("number", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_module_hashes_agree_with_one_by_one(number: int) -> None:
    space, hashes = SPACES[number], module_hashes(number)
    for position in np.random.default_rng(0).integers(0, len(space), 200):
        assert hashes[position].tobytes().hex() == space.module_hash(space.at(int(position)))


def test_encodings_of_space_3_are_in_the_table() -> None:
    """A thousand of its 1.3 million; all of them are among the slow tests."""
    space, table = SPACES[3], ground_truth.load(SPACES[3].name, tables=None)
    for position in np.random.default_rng(0).integers(0, len(space), 1000):
        assert table.weights[table.row_of_hash(space.module_hash(space.at(int(position))))] > 0


def test_hash_ignores_the_order_of_vertices() -> None:
    matrix = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=np.uint8)
    a, b = OPERATIONS[0], OPERATIONS[2]
    assert nas_bench_101.module_hash(matrix, (a, b)) == nas_bench_101.module_hash(matrix, (b, a))
    assert nas_bench_101.module_hash(matrix, (a, b)) != nas_bench_101.module_hash(matrix, (a, a))


def test_hashes_of_the_tables_best() -> None:
    """Decoded from the enumeration, the best architecture of each space is the row that the table calls best."""
    for number in (1, 2):
        space = SPACES[number]
        table = ground_truth.load(space.name, tables=None)
        cifar10 = {"dataset": ground_truth.Dataset.CIFAR10, "split": ground_truth.Split.TEST}
        best = table.optimum(**cifar10, epochs=108, reduction=ground_truth.Mean())
        hashes = module_hashes(number)
        (row,) = best.rows
        position = next(i for i, h in enumerate(hashes) if table.row_of_hash(h.tobytes().hex()) == row)
        assert table.accuracies(space.at(position))["cifar10_test"] == best.value


def test_bad_modules_are_refused() -> None:
    good = np.array([[0, 1], [0, 0]], dtype=np.uint8)
    for matrix, operations, named in (
        (good.T, (), "upper triangular"),
        (good, (OPERATIONS[0],), "needs 0 operations"),
        (np.triu(np.ones((3, 3), dtype=np.uint8), 1), ("conv",), "choose from conv3x3-bn-relu"),
        (np.zeros((2, 2), dtype=np.uint8), (), "cannot be reached"),
    ):
        with pytest.raises(UserError, match=named):
            nas_bench_101.prune(matrix, operations)


def test_hash_and_parameters_of_every_graph_of_the_table() -> None:
    """From the graph that the benchmark trained, on all 66,111."""
    stored = storage.read(ground_truth.TABLES / ground_truth.FILES["nas-bench-1shot1-s1"])
    columns = [
        stored.column(name).tolist() for name in ("vertices", "adjacency", "operations", "hash", "params_cifar10")
    ]
    for n, edges, digits, official, parameters in zip(*columns, strict=True):
        matrix = np.zeros((n, n), dtype=np.uint8)
        for y in range(1, n):
            for x in range(y):
                matrix[x, y] = edges >> (x + y * (y - 1) // 2) & 1
        operations = [OPERATIONS[int(digit)] for digit in f"{digits:0{n - 2}d}"[: n - 2]]
        assert nas_bench_101.module_hash(matrix, operations) == official.hex()
        assert parameter_count(matrix, operations, classes=10) == parameters
    assert len(columns[0]) == 66111


@pytest.mark.parametrize("number", SPACES)
def test_built_networks_have_the_closed_forms_parameters(number: int) -> None:
    space, rng = SPACES[number], np.random.default_rng(number)
    with torch.device("meta"):
        for architecture in {space.sample(rng) for _ in range(60)}:
            network = space.network(architecture, channels=128, cells_per_stage=3, classes=10)
            pruned = nas_bench_101.prune(*space.module(architecture))
            assert sum(p.numel() for p in network.parameters()) == parameter_count(*pruned, classes=10)


@pytest.mark.parametrize(("number", "divides"), [(1, True), (2, False), (3, True)])
def test_encodings_have_the_tables_parameters(number: int, divides: bool) -> None:
    """Exact wherever 128 divides by the nodes that feed the output: always in spaces 1 and 3.

    Where three nodes feed it, in space 2, widths depend on the order of the nodes, which a hash ignores: the table
    holds the parameters of one order.
    """
    space, rng = SPACES[number], np.random.default_rng(number)
    table = ground_truth.load(space.name, tables=None)
    for architecture in {space.sample(rng) for _ in range(1000)}:
        pruned = nas_bench_101.prune(*space.module(architecture))
        known = table.cost(architecture, ground_truth.Cost.PARAMETERS, ground_truth.Dataset.CIFAR10)
        if divides or pruned[0][1:, -1].sum() != 3:
            assert parameter_count(*pruned, classes=10) == known
        else:
            assert parameter_count(*pruned, classes=10) == pytest.approx(known, rel=0.01)


@pytest.mark.parametrize("feeding", [1, 2, 3, 4, 5])
def test_widths_add_up(feeding: int) -> None:
    matrix = np.zeros((feeding + 2, feeding + 2), dtype=np.uint8)
    matrix[0, 1:-1] = matrix[1:-1, -1] = 1
    widths = vertex_channels(128, 256, matrix)
    assert sum(widths[1:-1]) == widths[-1] == 256
    assert max(widths[1:-1]) - min(widths[1:-1]) <= 1
    assert widths[1] == math.ceil(256 / feeding)


@pytest.mark.parametrize("number", SPACES)
def test_modules_come_back(number: int) -> None:
    space, rng = SPACES[number], np.random.default_rng(number)
    for architecture in (space.sample(rng) for _ in range(200)):
        assert space.from_module(*space.module(architecture)) == architecture
    matrix, operations = space.module(architecture)
    with pytest.raises(UserError, match="have 7 vertices"):
        space.from_module(matrix[:-1, :-1], operations[:-1])
    matrix[:, 6] = 0
    with pytest.raises(UserError, match="inputs of the output of"):
        space.from_module(matrix, operations)


def test_fixed_inputs_are_checked_in_strings() -> None:
    space = SPACES[1]
    text = space.encode(space.at(7))
    with pytest.raises(UserError, match="inputs of node 2 of nas-bench-1shot1-s1 are"):
        space.decode("|".join(["maxpool3x3(0)", "maxpool3x3(1)", *text.split("|")[2:]]))
    with pytest.raises(UserError, match="increasing numbers below"):
        space.decode("|".join([*text.split("|")[:-1], "output(1,0)"]))
    for wrong in (text.replace("(0)", "(0,)", 1), text.replace("(0)", "(00)", 1), text + "|"):
        with pytest.raises(UserError, match="is no string of"):
            space.decode(wrong)
    with pytest.raises(UserError, match="choose from 1, 2, 3"):
        NASBench1Shot1(4)
