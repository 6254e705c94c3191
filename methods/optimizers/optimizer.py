"""The interface: a mean, a spread, points to take gradients at, a step.

The mean is never perturbed in place. A search asks for points, takes gradients there and hands both back, so an
exception in between cannot leave the mean displaced.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmarks.errors import UserError


class ArchitectureOptimizer(ABC):
    """An optimizer of one flat vector of architecture parameters, shape ``[d]``.

    Attributes:
        mean: the current estimate; what is discretised.
        t: steps taken.
    """

    def __init__(self, start: Tensor) -> None:
        self.mean = start.detach().clone()
        self.t = 0

    @property
    @abstractmethod
    def sigma(self) -> Tensor:
        """Standard deviation of every parameter, shape ``[d]``; zeros for a point estimate."""

    @abstractmethod
    def step(self, points: Tensor, gradients: Tensor) -> None:
        """Update from gradients of the mean minibatch loss.

        Args:
            points: where the gradients were taken, from ``sample``, shape ``[M, d]``.
            gradients: shape ``[M, d]``.
        """

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Points to take gradients at, shape ``[n, d]``."""
        return self.draw(n, generator)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws of the current distribution, shape ``[n, d]``; a point estimate repeats its mean and draws nothing."""
        sigma = self.sigma
        if not bool((sigma > 0).any()):
            return self.mean.expand(n, -1)
        noise = torch.randn(n, len(self.mean), generator=generator, dtype=self.mean.dtype)
        return self.mean + sigma * noise

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes: all tensors, and the step count."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return {"t": self.t} | {name: value.clone() for name, value in tensors.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict`` exactly.

        Raises:
            UserError: its names, shapes or types are not those of this optimizer; nothing is changed then.
        """
        mine = self.state_dict()
        shapes = {name: (value.shape, value.dtype) for name, value in mine.items() if isinstance(value, Tensor)}
        theirs = {name: (value.shape, value.dtype) for name, value in state.items() if isinstance(value, Tensor)}
        if mine.keys() != state.keys() or shapes != theirs:
            raise UserError(
                f"this state is not one of {type(self).__name__} with {len(self.mean)} {self.mean.dtype} parameters: "
                "resume with the method and the space that saved it"
            )
        for name, value in state.items():
            setattr(self, name, value.clone() if isinstance(value, Tensor) else value)


def check_positive(**settings: float) -> None:
    """Raise ``UserError`` unless every setting is a positive, finite number."""
    for name, value in settings.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name} must be positive and finite, got {value}: choose a number above 0")


def check_decay(**settings: float) -> None:
    """Raise ``UserError`` unless every setting lies in [0, 1)."""
    for name, value in settings.items():
        if not 0 <= value < 1:
            raise UserError(f"{name} must lie in [0, 1), got {value}: choose e.g. 0.9")
