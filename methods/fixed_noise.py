"""Controls of BaLeNAS-TF: the same draws and the same proxy around a mean, with a noise that no posterior learned.

``EvenNoise`` keeps the amount of BaLeNAS's noise and drops what it learned of where to put it; ``FixedNoise`` drops
BaLeNAS altogether and draws around DARTS's parameters. Draws use the same standard normal numbers as BaLeNAS-TF.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.errors import UserError
from methods.balenas_tf import BaLeNASTF
from methods.selection import SelectionConfig


class EvenNoise(BaLeNASTF):
    """Around BaLeNAS's mean, every parameter with the root mean square of the posterior's standard deviations."""

    upstream = "balenas-1st"

    def spread(self, sigma: torch.Tensor) -> torch.Tensor:
        """The same variance in all, as large as on average."""
        return torch.full_like(sigma, float(sigma.square().mean().sqrt()))


@dataclass(frozen=True)
class FixedNoiseConfig(SelectionConfig):
    """How a draw around DARTS's parameters is made and chosen.

    Attributes:
        sigma: standard deviation of every parameter; 1 is what BaLeNAS's posterior starts from.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.sigma < float("inf"):
            raise UserError(f"sigma {self.sigma} is no standard deviation: choose 0 or more")


class FixedNoise(BaLeNASTF):
    """Around DARTS's architecture parameters, every one with ``config.sigma``."""

    Config = FixedNoiseConfig
    config: FixedNoiseConfig
    upstream = "darts-1st"

    def spread(self, sigma: torch.Tensor) -> torch.Tensor:
        """The configured noise; DARTS's own is zero."""
        return torch.full_like(sigma, self.config.sigma)
