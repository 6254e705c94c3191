"""DARTS: Differentiable Architecture Search (Liu, Simonyan, Yang; ICLR 2019; arXiv 1806.09055).

Softmax relaxation, Adam on the architecture parameters, first-order or unrolled gradient, argmax.

Defaults: Adam betas (0.5, 0.999) and weight decay 1e-3 from quark0/darts and AutoDL's NAS-Bench-201 configuration; the
learning rate (3e-4 there) and the second beta come from the tier.

Deviations:
    1. Validation minibatches are a permutation of the split; AutoDL draws them with replacement.
    2. Gradients are clipped over the supernet's weights only; AutoDL's clip also counts stale architecture gradients.
    3. The supernet's batch norm uses batch statistics without running averages; searching is the same either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from methods.differentiable import DifferentiableSearch, SearchConfig
from methods.optimizers import AdamConfig, ArchitectureOptimizer


@dataclass(frozen=True)
class DARTSConfig(SearchConfig):
    """Hyper-parameters of DARTS.

    Attributes:
        beta1: decay of Adam's first moment.
        arch_weight_decay: L2 of Adam on the architecture parameters.
    """

    beta1: float = 0.5
    arch_weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.adam()

    def adam(self, **tier: Any) -> AdamConfig:
        """Adam's settings, given the tier's. Raises ``UserError`` for those out of range."""
        return AdamConfig(beta1=self.beta1, weight_decay=self.arch_weight_decay, **tier)


class DARTS(DifferentiableSearch):
    """First or second order by ``config.order``."""

    Config = DARTSConfig
    config: DARTSConfig

    def build_optimizer(self, start: Tensor) -> ArchitectureOptimizer:
        """Adam."""
        budget = self.problem.budget
        return self.config.adam(lr=budget.arch_lr, beta2=budget.arch_beta2).build(start)
