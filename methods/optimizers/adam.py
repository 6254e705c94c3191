"""Adam with L2 in the gradient (Kingma and Ba 2015), as DARTS steps its architecture parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.errors import UserError
from methods.optimizers.optimizer import ArchitectureOptimizer, check_decay, check_positive


@dataclass(frozen=True)
class AdamConfig:
    """Defaults of quark0/darts (``train_search.py``).

    Attributes:
        lr: learning rate.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: L2 coefficient.
    """

    lr: float = 3e-4
    beta1: float = 0.5
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        check_positive(lr=self.lr, eps=self.eps)
        check_decay(beta1=self.beta1, beta2=self.beta2)
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"weight_decay must be finite and >= 0, got {self.weight_decay}: choose e.g. 0.001")

    def build(self, start: Tensor) -> Adam:
        """An optimizer whose mean is ``start``, shape ``[d]``."""
        return Adam(start, self)


class Adam(ArchitectureOptimizer):
    """A point estimate; gradients of several points are averaged."""

    def __init__(self, start: Tensor, config: AdamConfig) -> None:
        super().__init__(start)
        self.config = config
        self.m = torch.zeros_like(self.mean)
        self.v = torch.zeros_like(self.mean)

    @property
    def sigma(self) -> Tensor:
        """Zeros."""
        return torch.zeros_like(self.mean)

    def step(self, points: Tensor, gradients: Tensor) -> None:  # noqa: ARG002 - the points are the mean
        """One step on the mean gradient."""
        c = self.config
        g = gradients.mean(0) + c.weight_decay * self.mean
        self.t += 1
        self.m = c.beta1 * self.m + (1 - c.beta1) * g
        self.v = c.beta2 * self.v + (1 - c.beta2) * g.square()
        m_hat = self.m / (1 - c.beta1**self.t)
        v_hat = self.v / (1 - c.beta2**self.t)
        self.mean = self.mean - c.lr * m_hat / (v_hat.sqrt() + c.eps)
