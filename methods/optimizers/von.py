"""VON: variational online Newton (Khan et al., ICML 2018, arXiv 1806.04854, Eq. 6-7), by the reparameterisation trick.

    s  <- beta2 s + (1 - beta2) h,    h = mean of (theta - mu) g / sigma^2
    mu <- mu - lr (g + lambda mu) / (s + lambda)

It is the exact natural-gradient rule of which VAdam is an approximation: at its fixed point s is E_q of the Hessian's
diagonal, which the paper's Eq. (13) stands for. It needs no Hessian: h estimates it from the gradients that VAdam
takes, without bias but with the noise of a single draw.

Negative h: where the loss is concave, or by that noise, s could fall below 0 and the precision with it. s is cut off
at 0, so that the posterior is never wider than the prior. The cut biases s upwards near 0; ``ivon`` does without.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.optimizers.posterior import Posterior, PosteriorConfig


@dataclass(frozen=True)
class VONConfig(PosteriorConfig):
    """The shared settings; ``beta1`` is not used.

    Attributes:
        lr: a Newton step's: 1 jumps to the minimum of a quadratic. While s is near 0 the step is lr N g / delta, so
            the natural 1 - beta2 is too fast for gradients of 1e-2 and the default is smaller.
    """

    lr: float = 1e-5

    def build(self, start: Tensor) -> VON:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return VON(start, self)


class VON(Posterior):
    """s estimates curvature; no square root."""

    def __init__(self, start: Tensor, config: VONConfig) -> None:
        super().__init__(start, config)
        self.config = config

    def step(self, points: Tensor, gradients: Tensor) -> None:
        """One step; the new s divides."""
        c = self.config
        self.t += 1
        self.s = (c.beta2 * self.s + (1 - c.beta2) * self.price_estimate(points, gradients)).clamp(min=0)
        self.mean = self.mean - c.lr * (gradients.mean(0) + c.prior * self.mean) / (self.s + c.prior)
