"""Controls: Adam at perturbed points, with nothing Bayesian about the perturbation.

They separate what BaLeNAS's posterior learns from what any noise on the architecture parameters does, as in SDARTS
(Chen and Hsieh, ICML 2020). L2 is VAdam's delta/N instead of DARTS's 1e-3, so that little but the noise differs: VAdam
keeps the L2 out of its second moment, and adds delta/N to the root of it where Adam adds 1e-8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.optimizers.adam import Adam, AdamConfig
from methods.optimizers.posterior import PosteriorConfig


@dataclass(frozen=True)
class NoisyAdamConfig(PosteriorConfig):
    """The shared settings; sigma stays 1/sqrt(prec_init)."""

    def build(self, start: Tensor) -> NoisyAdam:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return NoisyAdam(start, self)

    def sigma(self, t: int) -> float:  # noqa: ARG002 - for schedules
        """The noise after t steps."""
        return float(self.prec_init**-0.5)


@dataclass(frozen=True)
class AnnealedAdamConfig(NoisyAdamConfig):
    """The shared settings; sigma falls from 1/sqrt(prec_init) to 0 linearly over ``steps``."""

    def sigma(self, t: int) -> float:
        """The noise after t steps; 0 from ``steps`` on."""
        return super().sigma(t) * max(0.0, 1 - t / self.steps)


@dataclass(frozen=True)
class UniformAdamConfig(PosteriorConfig):
    """The shared settings, ``prec_init`` not being used; gradients are taken at random operation weights."""

    def build(self, start: Tensor) -> UniformAdam:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return UniformAdam(start, _adam(self))


class NoisyAdam(Adam):
    """Adam whose gradients are taken at Gaussian draws around the mean."""

    def __init__(self, start: Tensor, config: NoisyAdamConfig) -> None:
        super().__init__(start, _adam(config))
        self.schedule = config

    @property
    def sigma(self) -> Tensor:
        """The same for every parameter."""
        return torch.full_like(self.mean, self.schedule.sigma(self.t))


class UniformAdam(Adam):
    """Adam whose gradients are taken wherever the operation weights are uniform on the simplex, whatever the mean.

    It estimates no posterior: ``sigma`` is 0 and ``draw`` gives the mean.
    """

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Points whose softmax, in groups of any size, has the flat Dirichlet distribution, shape ``[n, d]``."""
        return torch.empty(n, len(self.mean), dtype=self.mean.dtype).exponential_(generator=generator).log()


def _adam(config: PosteriorConfig) -> AdamConfig:
    return AdamConfig(lr=config.lr, beta1=config.beta1, beta2=config.beta2, weight_decay=config.prior)
