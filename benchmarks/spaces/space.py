"""What every search space is: a product of categorical decisions with architecture parameters over them.

All spaces of the suite share this shape. A cell has *parameter groups* (the operations of an edge, the candidate inputs
of a node, the candidate inputs of the output). A group offers ``size`` alternatives, each with one architecture
parameter, and a discrete architecture keeps ``picks`` of them. Sampling, enumeration, neighbours and discretisation
follow from the groups alone; a space adds its encodings and its networks.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from benchmarks.errors import UserError

Architecture = tuple[int, ...]
"""One decision a parameter group, in the order of ``SearchSpace.groups``; decision ``k`` of a group means the ``k``-th
of its ``ParameterGroup.subsets`` (for ``picks == 1``: alternative ``k`` itself)."""


@dataclass(frozen=True)
class ParameterGroup:
    """A softmax group of architecture parameters.

    Attributes:
        name: what is decided, e.g. ``edge 0>1`` or ``inputs of node 3``.
        kind: ``operation`` or ``input``.
        alternatives: names of the alternatives, in the order of their architecture parameters.
        picks: how many alternatives a discrete architecture keeps, 1 <= picks < size.
    """

    name: str
    kind: str
    alternatives: tuple[str, ...]
    picks: int = 1

    @property
    def size(self) -> int:
        """Number of alternatives, which is the number of architecture parameters."""
        return len(self.alternatives)

    @cached_property
    def subsets(self) -> tuple[tuple[int, ...], ...]:
        """All ways to keep ``picks`` alternatives, in lexicographic order."""
        return tuple(itertools.combinations(range(self.size), self.picks))


class SearchSpace(ABC):
    """A cell search space. Instances are stateless and compare by name."""

    name: str
    """The name on the command line, e.g. ``nas-bench-201``."""
    groups: tuple[ParameterGroup, ...]
    """The decisions, in the order of the architecture parameters."""

    @property
    def parameters(self) -> int:
        """Number of architecture parameters (30 on NAS-Bench-201)."""
        return sum(group.size for group in self.groups)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Architecture parameters of each group; they add up to ``parameters``."""
        return tuple(group.size for group in self.groups)

    @property
    def choices(self) -> tuple[int, ...]:
        """Number of possible decisions of each group."""
        return tuple(len(group.subsets) for group in self.groups)

    def __len__(self) -> int:
        """Number of architectures (encodings; several may be the same graph)."""
        return math.prod(self.choices)

    def check(self, architecture: Architecture) -> None:
        """Raise ``UserError`` unless ``architecture`` has one decision a group, each a whole number in range."""
        if len(architecture) != len(self.groups) or any(
            not isinstance(d, int | np.integer) or not 0 <= d < c
            for d, c in zip(architecture, self.choices, strict=True)
        ):
            raise UserError(
                f"{architecture!r} is no architecture of {self.name}: "
                f"expected {len(self.groups)} decisions below {self.choices}"
            )

    def at(self, position: int) -> Architecture:
        """The architecture at ``position`` of the enumeration, 0 to len(self) - 1 (mixed radix, last fastest)."""
        if not 0 <= position < len(self):
            raise UserError(f"position {position} is outside {self.name}: choose 0 to {len(self) - 1}")
        return tuple(int(d) for d in np.unravel_index(position, self.choices))

    def position(self, architecture: Architecture) -> int:
        """Inverse of ``at``."""
        self.check(architecture)
        return int(np.ravel_multi_index(architecture, self.choices))

    def enumerate(self) -> Iterator[Architecture]:
        """All architectures in the order of ``at``."""
        return itertools.product(*(range(c) for c in self.choices))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniform over encodings."""
        return tuple(int(d) for d in rng.integers(0, self.choices))

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """All architectures that differ in exactly one decision."""
        self.check(architecture)
        return [
            (*architecture[:i], d, *architecture[i + 1 :])
            for i, c in enumerate(self.choices)
            for d in range(c)
            if d != architecture[i]
        ]

    def kept(self, architecture: Architecture) -> tuple[tuple[int, ...], ...]:
        """The alternatives that the architecture keeps in each group."""
        self.check(architecture)
        return tuple(group.subsets[d] for group, d in zip(self.groups, architecture, strict=True))

    def discretise(self, alpha: torch.Tensor) -> Architecture:
        """The architecture of the ``picks`` largest parameters in each group; ties go to the first alternative.

        Args:
            alpha: architecture parameters (logits or probabilities, any monotone scale), shape ``[parameters]``.
        """
        return self.discretise_many(alpha[None])[0]

    def discretise_many(self, alphas: torch.Tensor) -> list[Architecture]:
        """``discretise`` for each row of ``alphas``, shape ``[n, parameters]``."""
        if alphas.ndim != 2 or alphas.shape[1] != self.parameters:
            raise UserError(
                f"expected alphas of shape [n, {self.parameters}] for {self.name}, got {list(alphas.shape)}"
            )
        if not bool(torch.isfinite(alphas).all()):
            raise UserError("architecture parameters are not finite")
        columns = []
        for group, logits in zip(self.groups, alphas.detach().cpu().split(self.sizes, dim=1), strict=True):
            order = logits.argsort(dim=1, descending=True, stable=True)[:, : group.picks].sort(dim=1).values
            number = {subset: i for i, subset in enumerate(group.subsets)}
            columns.append([number[tuple(row)] for row in order.tolist()])
        return list(zip(*columns, strict=True))

    @abstractmethod
    def encode(self, architecture: Architecture) -> str:
        """The field's own string for the architecture."""

    @abstractmethod
    def decode(self, text: str) -> Architecture:
        """Inverse of ``encode``. Raises ``UserError`` on a malformed string, naming what is wrong."""

    @abstractmethod
    def canonical(self, architecture: Architecture) -> Hashable:
        """The field's own key for architectures that count as one: a module hash, a unique string.

        A fast stand-in for graph isomorphism, only as exact as the benchmark's authors made it; spaces say where not.
        """

    @abstractmethod
    def operation_counts(self, architecture: Architecture) -> Mapping[str, int]:
        """How often each candidate operation occurs in the cell, zeros included."""

    @abstractmethod
    def network(self, architecture: Architecture, *, channels: int, cells_per_stage: int, classes: int) -> nn.Module:
        """The discrete network: images ``[B, 3, H, W]`` to logits ``[B, classes]``, default PyTorch initialisation."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self):,} architectures, {self.parameters} architecture parameters>"
