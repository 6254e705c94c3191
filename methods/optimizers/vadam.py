"""VAdam: Adam by weight perturbation (Khan et al., ICML 2018, arXiv 1806.04854, Figure 1 right and Section 3).

The gradient is taken at a draw; the prior enters the first moment only. s averages squared gradients: a magnitude, not
the curvature that the exact rule (``von``) asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.optimizers.posterior import Posterior, PosteriorConfig


@dataclass(frozen=True)
class VAdamConfig(PosteriorConfig):
    """The shared settings, unchanged."""

    def build(self, start: Tensor) -> VAdam:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return VAdam(start, self)


class VAdam(Posterior):
    """Draws use the uncorrected s, the step the bias-corrected one, as in the authors' implementation.

    s starts at (prec_init - delta)/N, so the correction overshoots where ``prec_init`` exceeds delta: the first steps
    are too small by up to sqrt(1 - beta2) then, and right where the two are equal, as by default.
    """

    def __init__(self, start: Tensor, config: VAdamConfig) -> None:
        super().__init__(start, config)
        self.config = config
        self.m = torch.zeros_like(self.mean)

    def step(self, points: Tensor, gradients: Tensor) -> None:  # noqa: ARG002 - VAdam needs the gradients only
        """One step; s averages the squares over the samples, not the square of their average."""
        c = self.config
        self.t += 1
        self.m = c.beta1 * self.m + (1 - c.beta1) * (gradients.mean(0) + c.prior * self.mean)
        self.s = c.beta2 * self.s + (1 - c.beta2) * gradients.square().mean(0)
        m_hat = self.m / (1 - c.beta1**self.t)
        s_hat = self.s / (1 - c.beta2**self.t)
        self.mean = self.mean - c.lr * m_hat / (s_hat.sqrt() + c.prior)
