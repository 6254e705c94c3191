"""BaLeNAS (Zhang et al., CVPR 2022; arXiv 2111.13204): differentiable NAS via the Bayesian learning rule.

DARTS with one part exchanged: the architecture parameters are a Gaussian, learned by VAdam (Khan et al. 2018); the
gradient is taken at a draw of it, and the argmax of its mean is selected. What else differs from ``methods.darts`` is
the L2 that comes with the prior: delta/N = 4e-5 in place of 1e-3.

Defaults: betas (0.5, 0.999), prec_init 1, prior precision 1, N = 25,000 and one Monte Carlo sample, from the Vadam call
left in the first author's iDARTS repository; the learning rate (3e-4 there) and the second beta come from the tier.

Deviations:
    1. The optimizer is VAdam as its authors implement it, not Eq. (17)-(18) of the paper, which has no square root and
       no bias correction: at this learning rate its first step is 250 times as long at a gradient of 0.01, and more at
       greater ones. ``optimizer="eq17"`` runs the equations literally; see its config for a rate.
    2. sigma^2 = 1/(N s + delta), as in Eq. (13) and the code; the text after Eq. (18) prints 1/[N(s + delta)].
    3. Second order draws first and takes every term at the draw; ``unrolled_at="mean"`` is the left-over code's way.
    4. N stays 25,000 where the tier's validation split is smaller, so that sigma keeps the paper's scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.errors import one_of
from methods.differentiable import DifferentiableSearch, SearchConfig
from methods.optimizers import POSTERIORS, ArchitectureOptimizer, PosteriorConfig


@dataclass(frozen=True)
class BaLeNASConfig(SearchConfig):
    """Hyper-parameters of BaLeNAS.

    Attributes:
        optimizer: of the posterior; a name of ``methods.optimizers.POSTERIORS``. The tier's learning rate suits those
            that divide by a root (VAdam, Vprop, the controls). The others have another scale, which is the default of
            their configs; ``--budget arch_lr=1e-5`` sets it.
        beta1: decay of VAdam's first moment.
        prec_init: initial posterior precision, so that sigma starts at 1/sqrt(prec_init).
        prior_precision: delta, the precision of the zero-mean Gaussian prior.
        data_size: N, the number of data that the likelihood counts.
    """

    optimizer: str = "vadam"
    beta1: float = 0.5
    prec_init: float = 1.0
    prior_precision: float = 1.0
    data_size: int = 25_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rule().build(torch.zeros(1))

    def rule(self, **tier: Any) -> PosteriorConfig:
        """The optimizer's settings, given the tier's. Raises ``UserError`` for those out of range."""
        if self.optimizer not in POSTERIORS:
            raise one_of("posterior optimizer", self.optimizer, POSTERIORS)
        return POSTERIORS[self.optimizer](
            beta1=self.beta1,
            prec_init=self.prec_init,
            prior_precision=self.prior_precision,
            data_size=self.data_size,
            **tier,
        )


class BaLeNAS(DifferentiableSearch):
    """First or second order by ``config.order``."""

    Config = BaLeNASConfig
    config: BaLeNASConfig

    def build_optimizer(self, start: Tensor) -> ArchitectureOptimizer:
        """VAdam, or what ``config.optimizer`` names."""
        budget = self.problem.budget
        steps = budget.epochs * (budget.train_images // budget.batch_size)
        return self.config.rule(lr=budget.arch_lr, beta2=budget.arch_beta2, steps=steps).build(start)
