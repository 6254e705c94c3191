"""Equations (17) and (18) of BaLeNAS (arXiv 2111.13204), literally.

    s'  = (1 - b) s + b g^2
    mu' = mu - b (g + lambda mu) / (s' + lambda) + gamma [(s + lambda) / (s' + lambda)] (mu - mu_before)

The paper calls this VAdam, but it has no square root and no bias correction, its momentum is the heavy ball that VAdam
then approximates, and one rate b moves mu and s. At b = 3e-4 and with sigma starting at 1, a gradient of 0.01 moves mu
by 0.075 in the first step, 250 times as far as VAdam. Where curvature exceeds 2 (1 + gamma) (s + lambda) / b the mean
runs away from a minimum, until the growing gradients have raised s enough. sigma^2 = 1/(N s + delta)
as in Eq. (13); the text after Eq. (18) prints 1/[N(s + delta)].
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from methods.optimizers.posterior import Posterior, PosteriorConfig


@dataclass(frozen=True)
class Eq17Config(PosteriorConfig):
    """The shared settings, ``beta1`` being the momentum gamma. ``beta2`` is not used.

    Attributes:
        lr: b, of mu and of s. The paper does not give it. At the default the bound on curvature starts at 12.
    """

    lr: float = 1e-5

    @property
    def s_rate(self) -> float:
        """The rate of s: b."""
        return self.lr

    def build(self, start: Tensor) -> Eq17:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return Eq17(start, self)


@dataclass(frozen=True)
class Eq17TwoRatesConfig(Eq17Config):
    """The same with a rate for s of its own, 1 - ``beta2``: at a b that keeps mu stable, s would hardly move."""

    @property
    def s_rate(self) -> float:
        """The rate of s: 1 - beta2."""
        return 1 - self.beta2


class Eq17(Posterior):
    """Heavy ball with the ratio of the preconditioners.

    Attributes:
        before: the mean before the last step, shape ``[d]``; the start, before the first.
    """

    def __init__(self, start: Tensor, config: Eq17Config) -> None:
        super().__init__(start, config)
        self.config = config
        self.before = self.mean.clone()

    def step(self, points: Tensor, gradients: Tensor) -> None:  # noqa: ARG002 - the equations need the gradients only
        """One step; with several samples s takes the mean of squares."""
        c = self.config
        self.t += 1
        s = (1 - c.s_rate) * self.s + c.s_rate * gradients.square().mean(0)
        newton = c.lr * (gradients.mean(0) + c.prior * self.mean) / (s + c.prior)
        momentum = c.beta1 * (self.s + c.prior) / (s + c.prior) * (self.mean - self.before)
        self.before, self.mean, self.s = self.mean, self.mean - newton + momentum, s
