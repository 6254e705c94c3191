"""The interface: a mean, a spread, points to take gradients at, a step.

The mean is never perturbed in place. A search asks for points, takes gradients there and hands both back, so an
exception in between cannot leave the mean displaced.
"""

from __future__ import annotations

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
        """Restore ``state_dict`` exactly."""
        for name, value in state.items():
            setattr(self, name, value.clone() if isinstance(value, Tensor) else value)


def require(condition: bool, message: str) -> None:
    """Raise ``UserError`` with the message unless the condition holds."""
    if not condition:
        raise UserError(message)
