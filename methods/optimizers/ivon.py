"""IVON: improved variational online Newton (Shen et al., ICML 2024, arXiv 2402.17641, Algorithm 1).

    h  <- beta2 h + (1 - beta2) h_hat + (1 - beta2)^2 (h - h_hat)^2 / (2 (h + lambda))
    mu <- mu - lr (h_0 + lambda) [m_hat + lambda mu] / (h + lambda)

h_hat is Price's estimate as in ``von``. The last term of h, a Riemannian correction (Lin et al., ICML 2020), keeps the
precision positive without a cut: h + lambda shrinks at most by half a step, whatever h_hat. In the names of that
paper N is the effective sample size, delta/N the weight decay, h is s here, and h_0 follows from ``prec_init``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.optimizers.posterior import Posterior, PosteriorConfig


@dataclass(frozen=True)
class IVONConfig(PosteriorConfig):
    """The shared settings: BaLeNAS's betas, and its sigma of 1 to start from (IVON's own: 0.9, 0.99999, h_0 = 1).

    Attributes:
        lr: relative to the initial precision, so that the first step is about lr times the gradient. IVON's authors
            recommend about 0.1.
    """

    lr: float = 0.1

    def build(self, start: Tensor) -> IVON:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return IVON(start, self)


class IVON(Posterior):
    """A momentum of gradients, bias-corrected, over a curvature that is not."""

    def __init__(self, start: Tensor, config: IVONConfig) -> None:
        super().__init__(start, config)
        self.config = config
        self.m = torch.zeros_like(self.mean)
        self.rescaled_lr = config.lr * config.prec_init / config.data_size

    def step(self, points: Tensor, gradients: Tensor) -> None:
        """One step; the new h divides."""
        c = self.config
        self.t += 1
        rate = 1 - c.beta2
        off = self.s - self.price_estimate(points, gradients)
        self.m = c.beta1 * self.m + (1 - c.beta1) * gradients.mean(0)
        self.s = self.s - rate * off + (rate * off).square() / (2 * (self.s + c.prior))
        m_hat = self.m / (1 - c.beta1**self.t)
        newton = (m_hat + c.prior * self.mean) / (self.s + c.prior)
        self.mean = self.mean - self.rescaled_lr * newton
