"""A mean-field Gaussian over the architecture parameters, with precision N s + delta.

VAdam and its kin share this posterior and its settings; they differ in how s and the mean move. Notation of BaLeNAS
(arXiv 2111.13204, Eq. 13-18): N the number of data, delta the precision of the zero-mean Gaussian prior, and
lambda = delta/N the weight of the prior in the loss of one datum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.errors import UserError
from methods.optimizers.optimizer import ArchitectureOptimizer, check_decay, check_positive


@dataclass(frozen=True)
class PosteriorConfig(ABC):
    """Settings that all rules share, so that one can be exchanged for another by name.

    Defaults are those of the Vadam call left in BaLeNAS's first author's iDARTS repository. A rule says in its own
    config which of them it reads differently or not at all.

    Attributes:
        lr: learning rate of the mean.
        beta1: decay of the first moment.
        beta2: decay of s.
        prec_init: initial posterior precision; sigma starts at 1/sqrt(prec_init).
        prior_precision: delta.
        data_size: N.
        steps: architecture steps of the whole search, for schedules (here 50 epochs of 391 steps).
    """

    lr: float = 3e-4
    beta1: float = 0.5
    beta2: float = 0.999
    prec_init: float = 1.0
    prior_precision: float = 1.0
    data_size: int = 25_000
    steps: int = 19_550

    def __post_init__(self) -> None:
        check_positive(
            lr=self.lr,
            prec_init=self.prec_init,
            prior_precision=self.prior_precision,
            data_size=self.data_size,
            steps=self.steps,
        )
        check_decay(beta1=self.beta1, beta2=self.beta2)

    @property
    def prior(self) -> float:
        """Lambda: the prior's L2 coefficient in a mean loss."""
        return self.prior_precision / self.data_size

    @abstractmethod
    def build(self, start: Tensor) -> ArchitectureOptimizer:
        """An optimizer whose mean is ``start``, shape ``[d]``."""


class Posterior(ArchitectureOptimizer):
    """State of the rules that keep s.

    Attributes:
        s: curvature of the mean loss by parameter, whatever the rule takes for it, shape ``[d]``.
    """

    def __init__(self, start: Tensor, config: PosteriorConfig) -> None:
        if config.prec_init < config.prior_precision:
            raise UserError(
                f"prec_init {config.prec_init} is below prior_precision {config.prior_precision}: "
                "raise it to that at least, the posterior is no wider than the prior"
            )
        super().__init__(start)
        self.s = torch.full_like(self.mean, (config.prec_init - config.prior_precision) / config.data_size)
        self.data_size, self.prior_precision = config.data_size, config.prior_precision

    @property
    def precision(self) -> Tensor:
        """N s + delta, shape ``[d]``."""
        return self.data_size * self.s + self.prior_precision

    @property
    def sigma(self) -> Tensor:
        """1 / sqrt(N s + delta)."""
        return self.precision.rsqrt()

    def price_estimate(self, points: Tensor, gradients: Tensor) -> Tensor:
        """The Hessian's diagonal from gradients at draws: mean of (theta - mu) g / sigma^2, shape ``[d]``.

        By Price's theorem (Stein's lemma) its expectation is E_q[diag H]; a single estimate may be negative.
        """
        return ((points - self.mean) * gradients).mean(0) * self.precision
