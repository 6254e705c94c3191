"""Modules of NAS-Bench-101 (Ying et al., ICML 2019, arXiv 1902.09635): graphs, pruning, the official hash.

A module is an acyclic graph of at most 7 vertices, vertex 0 the input and the last the output, with an operation on
each vertex between them. ``matrix[x, y]`` is 1 for an edge from x to y, x < y.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.errors import UserError, one_of

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""In the order that the official hash numbers them."""
Matrix = npt.NDArray[np.uint8]


def check(matrix: Matrix, operations: Sequence[str]) -> None:
    """Raise ``UserError`` unless the matrix is square and upper triangular with an operation a vertex between."""
    n = len(matrix)
    if matrix.shape != (n, n) or n < 2 or np.tril(matrix).any() or not np.isin(matrix, (0, 1)).all():
        raise UserError("a module needs a square upper triangular matrix of 0 and 1, of at least 2 vertices")
    if len(operations) != n - 2:
        raise UserError(
            f"a module of {n} vertices needs {n - 2} operations between input and output, got {len(operations)}"
        )
    for name in operations:
        if name not in OPERATIONS:
            raise one_of("operation", name, OPERATIONS)


def reached(matrix: Matrix) -> npt.NDArray[np.intp]:
    """Vertices on some path from input to output, in order.

    Raises:
        UserError: there is no such path.
    """
    n = len(matrix)
    forward, backward = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    forward[0] = backward[n - 1] = True
    for vertex in range(1, n):
        forward[vertex] = (matrix[:vertex, vertex].astype(bool) & forward[:vertex]).any()
    for vertex in range(n - 2, -1, -1):
        backward[vertex] = (matrix[vertex, vertex + 1 :].astype(bool) & backward[vertex + 1 :]).any()
    if not forward[n - 1]:
        raise UserError("the module's output cannot be reached from its input")
    return np.flatnonzero(forward & backward)


def prune(matrix: Matrix, operations: Sequence[str]) -> tuple[Matrix, tuple[str, ...]]:
    """Keep the vertices of ``reached``, as the benchmark does before training. Raises ``UserError`` as that does."""
    check(matrix, operations)
    keep = reached(matrix)
    return matrix[np.ix_(keep, keep)], tuple(operations[v - 1] for v in keep[1:-1])


def module_hash(matrix: Matrix, operations: Sequence[str]) -> str:
    """The official hash of a pruned module: 32 hex digits, equal for isomorphic modules.

    Vertices start from (out-degree, in-degree, label), then take in the sorted hashes of their neighbours as many times
    as there are vertices (the benchmark's ``graph_util``).
    """
    rows = matrix.tolist()  # plain lists: numpy is slower on seven vertices
    vertices = range(len(rows))
    targets = [[w for w in vertices if rows[v][w]] for v in vertices]
    sources = [[w for w in vertices if rows[w][v]] for v in vertices]
    labels = [-1, *(OPERATIONS.index(name) for name in operations), -2]
    marks = [_md5(str((len(targets[v]), len(sources[v]), labels[v]))) for v in vertices]

    def gathered(neighbours: list[int]) -> str:
        return "".join(sorted([marks[w] for w in neighbours]))

    for _ in vertices:
        marks = [_md5(f"{gathered(sources[v])}|{gathered(targets[v])}|{marks[v]}") for v in vertices]
    return _md5(str(sorted(marks)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
