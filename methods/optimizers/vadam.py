"""VAdam: Adam by weight perturbation (Khan et al., ICML 2018, arXiv 1806.04854, Figure 1 right and Section 3).

A mean-field Gaussian with precision N s + delta, delta the prior's. The gradient is taken at a draw; the prior enters
the first moment only, as lambda = delta / N.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.optimizers.optimizer import ArchitectureOptimizer, require


@dataclass(frozen=True)
class VAdamConfig:
    """Defaults of the call left in BaLeNAS's first author's iDARTS repository.

    Attributes:
        lr: learning rate of the mean.
        beta1: decay of the first moment.
        beta2: decay of s, the second moment.
        prec_init: initial posterior precision; sigma starts at 1/sqrt(prec_init).
        prior_precision: delta.
        data_size: N.
    """

    lr: float = 3e-4
    beta1: float = 0.5
    beta2: float = 0.999
    prec_init: float = 1.0
    prior_precision: float = 1.0
    data_size: int = 25_000

    def build(self, start: Tensor) -> VAdam:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return VAdam(start, self)


class VAdam(ArchitectureOptimizer):
    """Draws use the uncorrected s, the step the bias-corrected one, as in the authors' implementation."""

    def __init__(self, start: Tensor, config: VAdamConfig) -> None:
        require(config.lr > 0, f"VAdam's learning rate must be positive, got {config.lr}")
        require(0 <= config.beta1 < 1 and 0 <= config.beta2 < 1, "VAdam's betas must lie in [0, 1)")
        require(config.data_size > 0, f"VAdam's data size must be positive, got {config.data_size}")
        require(config.prior_precision > 0, f"VAdam's prior precision must be positive, got {config.prior_precision}")
        require(
            config.prec_init >= config.prior_precision,
            f"VAdam's prec_init {config.prec_init} must be at least the prior precision {config.prior_precision}",
        )
        super().__init__(start)
        self.config = config
        self.m = torch.zeros_like(self.mean)
        self.s = torch.full_like(self.mean, (config.prec_init - config.prior_precision) / config.data_size)

    @property
    def sigma(self) -> Tensor:
        """1 / sqrt(N s + delta)."""
        return (self.config.data_size * self.s + self.config.prior_precision).rsqrt()

    def step(self, points: Tensor, gradients: Tensor) -> None:  # noqa: ARG002 - VAdam needs the gradients only
        """One step; s averages the squares over the samples, not the square of their average."""
        c = self.config
        prior = c.prior_precision / c.data_size
        self.t += 1
        self.m = c.beta1 * self.m + (1 - c.beta1) * (gradients.mean(0) + prior * self.mean)
        self.s = c.beta2 * self.s + (1 - c.beta2) * gradients.square().mean(0)
        m_hat = self.m / (1 - c.beta1**self.t)
        s_hat = self.s / (1 - c.beta2**self.t)
        self.mean = self.mean - c.lr * m_hat / (s_hat.sqrt() + prior)
