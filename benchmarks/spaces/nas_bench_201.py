"""NAS-Bench-201 (Dong and Yang, ICLR 2020, arXiv 2001.00326): four nodes, six edges, five operations, 15,625 cells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
from torch import nn

from benchmarks.errors import UserError, one_of
from benchmarks.nas_bench_201_order import official_order
from benchmarks.spaces.nas_bench_201_network import EDGES, NASBench201Network
from benchmarks.spaces.space import Architecture, ParameterGroup, SearchSpace

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the order of the official search code; the numbers in an operation tuple are positions in it."""
NODES = 4

_STRING = re.compile(
    r"\+".join(r"\|" + "".join(rf"([a-z0-9_]+)~{a}\|" for a, b in EDGES if b == node) for node in range(1, NODES))
)


class NASBench201(SearchSpace):
    """An architecture is the field's operation tuple, one operation an edge in the order ``EDGES``."""

    name = "nas-bench-201"
    groups = tuple(ParameterGroup(f"edge {a}>{b}", "operation", OPERATIONS) for a, b in EDGES)

    def encode(self, architecture: Architecture) -> str:
        """The official string: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        self.check(architecture)
        nodes = []
        for node in range(1, NODES):
            terms = [
                f"{OPERATIONS[op]}~{source}"
                for (source, target), op in zip(EDGES, architecture, strict=True)
                if target == node
            ]
            nodes.append(f"|{'|'.join(terms)}|")
        return "+".join(nodes)

    def decode(self, text: str) -> Architecture:
        """Inverse of ``encode``."""
        found = _STRING.fullmatch(text)
        if found is None:
            raise UserError(
                f"{text!r} is no NAS-Bench-201 string: expected |op~0|+|op~0|op~1|+|op~0|op~1|op~2| with op one of "
                f"{', '.join(OPERATIONS)}"
            )
        for name in found.groups():
            if name not in OPERATIONS:
                raise one_of(f"operation in {text!r}", name, OPERATIONS)
        return tuple(OPERATIONS.index(name) for name in found.groups())

    def canonical(self, architecture: Architecture) -> str:
        """The field's unique string: 6,466 different ones (AutoDL, ``to_unique_str`` with zeros considered).

        Skip connections are contracted and ``none`` cuts what is behind it. The published rule is kept as it is, since
        6,466 is the paper's number, but it is not graph isomorphism. It separates networks that differ only in cut
        terms, for a sum of cut terms is not itself taken for cut. And it joins different ones, for it reads a node
        used twice like two nodes of one kind, and weights on dead edges are not seen: 578 of the classes hold
        architectures of more than one parameter count. Do not carry a score or an accuracy from one member to another.
        """
        self.check(architecture)
        node = ["0"]
        for target in range(1, NODES):
            terms = []
            for (source, to), op in zip(EDGES, architecture, strict=True):
                if to != target:
                    continue
                if OPERATIONS[op] == "none" or node[source] == "#":
                    terms.append("#")
                elif OPERATIONS[op] == "skip_connect":
                    terms.append(node[source])
                else:
                    terms.append(f"({node[source]})@{OPERATIONS[op]}")
            node.append("+".join(sorted(terms)))
        return node[-1]

    def operation_counts(self, architecture: Architecture) -> Mapping[str, int]:
        """Edges that carry each operation; the five counts add up to 6."""
        self.check(architecture)
        return {name: architecture.count(op) for op, name in enumerate(OPERATIONS)}

    def network(self, architecture: Architecture, *, channels: int, cells_per_stage: int, classes: int) -> nn.Module:
        """The benchmark's network (C=16, N=5 there)."""
        self.check(architecture)
        operations = [OPERATIONS[op] for op in architecture]
        return NASBench201Network(operations, channels=channels, cells_per_stage=cells_per_stage, classes=classes)


@cache
def _official_positions() -> dict[Architecture, int]:
    return {tuple(row): index for index, row in enumerate(official_order().tolist())}


def official_index(architecture: Architecture) -> int:
    """The index that the official API knows the architecture by, 0 to 15,624."""
    NASBench201().check(architecture)
    return _official_positions()[tuple(architecture)]


def from_official_index(index: int) -> Architecture:
    """Inverse of ``official_index``."""
    if not 0 <= index < len(official_order()):
        raise UserError(f"NAS-Bench-201 has no index {index}: choose 0 to {len(official_order()) - 1}")
    return tuple(official_order()[index].tolist())


def parameter_count(
    operations: npt.ArrayLike, *, classes: int, channels: int = 16, cells_per_stage: int = 5
) -> npt.NDArray[np.int64]:
    """Trainable parameters of the networks of operation tuples, shape ``[..., 6]`` to ``[...]``, in closed form.

    A 1x1 convolution of c channels has c^2 weights, a 3x3 one 9 c^2, each followed by a batch norm of 2 c.
    """
    ops = np.asarray(operations)
    ones, threes = (ops == 2).sum(-1, dtype=np.int64), (ops == 3).sum(-1, dtype=np.int64)
    total = 27 * channels + 2 * channels  # stem
    stages = [channels, 2 * channels, 4 * channels]
    cells: npt.NDArray[np.int64] = np.zeros_like(ones)
    for c in stages:
        cells = cells + cells_per_stage * (ones * (c * c + 2 * c) + threes * (9 * c * c + 2 * c))
    for before, c in itertools.pairwise(stages):
        total += 9 * before * c + 9 * c * c + before * c + 2 * 2 * c  # two 3x3, the shortcut's 1x1, two batch norms
    total += 2 * stages[-1] + stages[-1] * classes + classes
    return np.asarray(cells + total)


def flops(
    operations: npt.ArrayLike, *, classes: int, image_size: int = 32, channels: int = 16, cells_per_stage: int = 5
) -> npt.NDArray[np.int64]:
    """Multiply-adds as the benchmark counts them, shape ``[..., 6]`` to ``[...]``, in closed form.

    Convolutions and the classifier with its bias count; batch norms, pooling and additions do not.
    """
    ops = np.asarray(operations)
    ones, threes = (ops == 2).sum(-1, dtype=np.int64), (ops == 3).sum(-1, dtype=np.int64)
    stages = [(channels * 2**i, (image_size // 2**i) ** 2) for i in range(3)]
    total = 27 * channels * image_size**2 + (stages[-1][0] + 1) * classes
    cells: npt.NDArray[np.int64] = np.zeros_like(ones)
    for c, pixels in stages:
        cells = cells + cells_per_stage * c * c * pixels * (ones + 9 * threes)
    for (before, _), (c, pixels) in itertools.pairwise(stages):
        total += (9 * before + 9 * c + before) * c * pixels
    return np.asarray(cells + total)


__all__ = [
    "EDGES",
    "OPERATIONS",
    "NASBench201",
    "flops",
    "from_official_index",
    "official_index",
    "official_order",
    "parameter_count",
]
