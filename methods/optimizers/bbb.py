"""Bayes by Backprop (Blundell et al., ICML 2015, arXiv 1505.05424): Eq. (7) of BaLeNAS.

Plain gradient descent on the mean and the spread of a Gaussian, by reparameterisation, of

    E_q[mean loss] + KL(q || N(0, 1/delta)) / N

The spread is sigma = softplus(rho), so that it stays positive; the paper, which steps sigma itself, does not say how.
The KL is differentiated in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.optimizers.optimizer import ArchitectureOptimizer
from methods.optimizers.posterior import PosteriorConfig


@dataclass(frozen=True)
class BayesByBackpropConfig(PosteriorConfig):
    """The shared settings; the betas are not used.

    Attributes:
        lr: of mu and of rho. Plain descent has no scale of its own: 0.03 moves mu by 3e-4 at a gradient of 1e-2, as
            VAdam does at its default. The paper gives no value.
    """

    lr: float = 0.03

    def build(self, start: Tensor) -> BayesByBackprop:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return BayesByBackprop(start, self)


class BayesByBackprop(ArchitectureOptimizer):
    """The spread has a gradient of its own, the mean's times the noise.

    Attributes:
        rho: inverse softplus of sigma, shape ``[d]``.
    """

    def __init__(self, start: Tensor, config: BayesByBackpropConfig) -> None:
        super().__init__(start)
        self.config = config
        sigma = config.prec_init**-0.5
        self.rho = torch.full_like(self.mean, sigma + math.log(-math.expm1(-sigma)))

    @property
    def sigma(self) -> Tensor:
        """softplus(rho)."""
        return torch.nn.functional.softplus(self.rho)

    def step(self, points: Tensor, gradients: Tensor) -> None:
        """One step on both, each at the old value of the other."""
        c = self.config
        self.t += 1
        sigma = self.sigma
        noise = (points - self.mean) / sigma
        slope = (gradients * noise).mean(0) + c.prior * sigma - 1 / (c.data_size * sigma)
        self.mean = self.mean - c.lr * (gradients.mean(0) + c.prior * self.mean)
        self.rho = self.rho - c.lr * slope * torch.sigmoid(self.rho)  # dsigma/drho is the sigmoid
