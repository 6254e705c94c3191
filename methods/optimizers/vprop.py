"""Vprop: RMSprop by weight perturbation (Khan et al., arXiv 1712.01038; ICML 2018, arXiv 1806.04854, Section 3).

    s  <- beta2 s + (1 - beta2) g^2
    mu <- mu - lr (g + lambda mu) / (sqrt(s) + lambda)

VAdam without momentum and bias correction, so that where s starts at 0 its first steps are up to 1/sqrt(1 - beta2)
times as long (32 times at 0.999), the nearer to that the larger the gradient is beside lambda.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.optimizers.posterior import Posterior, PosteriorConfig


@dataclass(frozen=True)
class VpropConfig(PosteriorConfig):
    """The shared settings; ``beta1`` is not used."""

    def build(self, start: Tensor) -> Vprop:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return Vprop(start, self)


class Vprop(Posterior):
    """s as in VAdam: the mean of squares over the samples."""

    def __init__(self, start: Tensor, config: VpropConfig) -> None:
        super().__init__(start, config)
        self.config = config

    def step(self, points: Tensor, gradients: Tensor) -> None:  # noqa: ARG002 - Vprop needs the gradients only
        """One step; the new s divides."""
        c = self.config
        self.t += 1
        self.s = c.beta2 * self.s + (1 - c.beta2) * gradients.square().mean(0)
        self.mean = self.mean - c.lr * (gradients.mean(0) + c.prior * self.mean) / (self.s.sqrt() + c.prior)
