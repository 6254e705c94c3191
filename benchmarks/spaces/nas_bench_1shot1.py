"""NAS-Bench-1Shot1 (Zela, Siems, Hutter; ICLR 2020; arXiv 2001.10422): three one-shot spaces inside NAS-Bench-101.

A cell has choice nodes that each apply one of three operations to the sum of a fixed number of earlier nodes, and an
output that concatenates a fixed number of nodes. Nodes are numbered from 1; 0 is the input.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from benchmarks.errors import UserError, one_of
from benchmarks.spaces import nas_bench_101
from benchmarks.spaces.nas_bench_101 import OPERATIONS, Matrix
from benchmarks.spaces.nas_bench_101_network import NASBench101Network
from benchmarks.spaces.space import Architecture, ParameterGroup, SearchSpace

PARENTS: dict[int, tuple[tuple[int, ...], int]] = {
    1: ((1, 2, 2, 2), 2),
    2: ((1, 1, 2, 2), 3),
    3: ((1, 1, 1, 2, 2), 2),
}
"""For each space: parents of every choice node, parents of the output (the paper's Table 1)."""

_NODE = re.compile(r"([a-z0-9-]+)\(([0-9](?:,[0-9])*)\)")


class NASBench1Shot1(SearchSpace):
    """Space 1, 2 or 3. Decisions: the operation of each choice node, then the inputs of all nodes with a choice."""

    def __init__(self, number: int) -> None:
        if number not in PARENTS:
            raise one_of("NAS-Bench-1Shot1 space", number, PARENTS)
        self.number = number
        self.name = f"nas-bench-1shot1-s{number}"
        self.parents, self.output_parents = PARENTS[number]
        self.choice_nodes = len(self.parents)
        wanted = (*self.parents, self.output_parents)
        self._targets = tuple(
            target for target, picks in enumerate(wanted, start=1) if picks < target
        )  # node t has t candidates, 0 to t - 1; where it takes all of them nothing is decided
        self.groups = (
            *(
                ParameterGroup(f"operation of node {i}", "operation", OPERATIONS)
                for i in range(1, self.choice_nodes + 1)
            ),
            *(ParameterGroup(self._group_name(t), "input", self._candidates(t), wanted[t - 1]) for t in self._targets),
        )

    def _group_name(self, target: int) -> str:
        return "inputs of the output" if target > self.choice_nodes else f"inputs of node {target}"

    @staticmethod
    def _candidates(target: int) -> tuple[str, ...]:
        return ("input", *(f"node {i}" for i in range(1, target)))

    def operations_and_inputs(self, architecture: Architecture) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
        """Operation names of the choice nodes, and the inputs of every choice node and of the output."""
        kept = self.kept(architecture)
        decided = dict(zip(self._targets, kept[self.choice_nodes :], strict=True))
        inputs = tuple(decided.get(t, tuple(range(t))) for t in range(1, self.choice_nodes + 2))
        return tuple(OPERATIONS[subset[0]] for subset in kept[: self.choice_nodes]), inputs

    def encode(self, architecture: Architecture) -> str:
        """Node after node its operation and inputs: ``conv3x3-bn-relu(0)|maxpool3x3(0,1)|...|output(2,4)``."""
        names, inputs = self.operations_and_inputs(architecture)
        return "|".join(
            f"{name}({','.join(map(str, sources))})" for name, sources in zip((*names, "output"), inputs, strict=True)
        )

    def decode(self, text: str) -> Architecture:
        """Inverse of ``encode``."""
        terms = [_NODE.fullmatch(term) for term in text.split("|")]
        if len(terms) != self.choice_nodes + 1 or not all(terms) or terms[-1][1] != "output":  # type: ignore[index]
            raise UserError(
                f"{text!r} is no string of {self.name}: expected {self.choice_nodes} times operation(inputs), "
                "then output(inputs), separated by |"
            )
        names, inputs = zip(*((term[1], tuple(map(int, term[2].split(",")))) for term in terms if term), strict=True)
        return self._architecture(names[:-1], inputs)

    def _architecture(self, names: Sequence[str], inputs: Sequence[tuple[int, ...]]) -> Architecture:
        """Inverse of ``operations_and_inputs``. Raises ``UserError`` for a cell that is not in the space."""
        for name in names:
            if name not in OPERATIONS:
                raise one_of("operation", name, OPERATIONS)
        decisions = [OPERATIONS.index(name) for name in names]
        groups = dict(zip(self._targets, self.groups[self.choice_nodes :], strict=True))
        for target, sources in enumerate(inputs, start=1):
            if target not in groups:
                if sources != tuple(range(target)):
                    raise UserError(
                        f"{self._group_name(target)} of {self.name} are {tuple(range(target))}, got {sources}"
                    )
            elif sources not in groups[target].subsets:
                raise UserError(
                    f"{groups[target].name} of {self.name} must be {groups[target].picks} increasing numbers below "
                    f"{groups[target].size}, got {sources}"
                )
            else:
                decisions.append(groups[target].subsets.index(sources))
        return tuple(decisions)

    def module(self, architecture: Architecture) -> tuple[Matrix, tuple[str, ...]]:
        """Adjacency matrix and operations, before pruning, as NAS-Bench-101 takes them: 7 vertices.

        Spaces 1 and 2 have four choice nodes; the fifth of NAS-Bench-101 is unconnected and a 1x1 convolution there.
        """
        names, inputs = self.operations_and_inputs(architecture)
        matrix = np.zeros((7, 7), dtype=np.uint8)
        for target, sources in enumerate(inputs, start=1):
            matrix[list(sources), target if target <= self.choice_nodes else 6] = 1
        return matrix, (*names, *["conv1x1-bn-relu"] * (5 - self.choice_nodes))

    def from_module(self, matrix: Matrix, operations: Sequence[str]) -> Architecture:
        """Inverse of ``module``: of 7 vertices, not pruned.

        Raises:
            UserError: no NAS-Bench-101 module, or not one of this space.
        """
        nas_bench_101.check(matrix, operations)
        if len(matrix) != 7 or matrix[self.choice_nodes + 1 : 6].any() or matrix[:, self.choice_nodes + 1 : 6].any():
            raise UserError(
                f"modules of {self.name} have 7 vertices, of which the input, {self.choice_nodes} choice nodes and the "
                f"output (the last) have edges; prune no vertex"
            )
        columns = [*range(1, self.choice_nodes + 1), 6]
        inputs = [tuple(np.flatnonzero(matrix[:, column]).tolist()) for column in columns]
        return self._architecture(operations[: self.choice_nodes], inputs)

    def pruned(self, architecture: Architecture) -> tuple[Matrix, tuple[str, ...]]:
        """The module that is trained: vertices on a way from input to output."""
        return nas_bench_101.prune(*self.module(architecture))

    def module_hash(self, architecture: Architecture) -> str:
        """The NAS-Bench-101 hash of the pruned module, 32 hex digits."""
        return nas_bench_101.module_hash(*self.pruned(architecture))

    def canonical(self, architecture: Architecture) -> str:
        """``module_hash``."""
        return self.module_hash(architecture)

    def operation_counts(self, architecture: Architecture) -> Mapping[str, int]:
        """Operations of all choice nodes, whether or not they reach the output."""
        counts = Counter(self.operations_and_inputs(architecture)[0])
        return {name: counts[name] for name in OPERATIONS}

    def network(self, architecture: Architecture, *, channels: int, cells_per_stage: int, classes: int) -> nn.Module:
        """The NAS-Bench-101 network (128 channels, 3 cells a stage there) of the pruned module."""
        matrix, operations = self.pruned(architecture)
        return NASBench101Network(
            matrix, operations, channels=channels, cells_per_stage=cells_per_stage, classes=classes
        )

    def module_hashes(self) -> npt.NDArray[np.void]:
        """Hashes of all encodings in the order of ``at``, 16 raw bytes each, shape ``[len(self)]``.

        What pruning keeps depends on the inputs alone, and operations of dropped nodes do not matter, so each distinct
        pruned module is hashed once: 118,524 for the 1,312,200 encodings of space 3.
        """
        nodes = self.choice_nodes
        operations = np.array(list(itertools.product(range(len(OPERATIONS)), repeat=nodes)))
        wirings = list(itertools.product(*(range(c) for c in self.choices[nodes:])))
        found = np.empty((len(operations), len(wirings)), dtype="V16")
        known: dict[tuple[bytes, tuple[str, ...]], bytes] = {}
        for column, wiring in enumerate(wirings):
            matrix, names = self.module((*[0] * nodes, *wiring))
            kept = nas_bench_101.reached(matrix)[1:-1] - 1
            pruned, _ = nas_bench_101.prune(matrix, names)
            alternatives, which = np.unique(operations[:, kept], axis=0, return_inverse=True)
            digests = []
            for row in alternatives.tolist():
                key = pruned.tobytes(), tuple(OPERATIONS[op] for op in row)
                if key not in known:
                    known[key] = bytes.fromhex(nas_bench_101.module_hash(pruned, key[1]))
                digests.append(known[key])
            found[:, column] = np.array(digests, dtype="V16")[which.ravel()]
        return found.ravel()
