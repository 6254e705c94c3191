"""Gumbel softmax: a categorical draw of each group, relaxed so that it has a gradient.

Jang et al. and Maddison et al., ICLR 2017 (arXiv 1611.01144, 1611.00712); SNAS searches with the soft draw (Xie et al.,
arXiv 1812.09926), GDAS with the hard one (Dong and Yang, CVPR 2019, arXiv 1910.04465).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.errors import UserError
from methods.relaxations.softmax import softmax


def gumbel_softmax(
    alpha: Tensor, sizes: Sequence[int], *, temperature: float, generator: torch.Generator, hard: bool = False
) -> Tensor:
    """softmax((alpha + Gumbel noise) / temperature) in each group; as the temperature falls to 0, a one-hot draw.

    Args:
        alpha: architecture parameters, shape ``[..., d]``; every leading index gets a draw of its own.
        sizes: parameters of each group; they add up to d.
        temperature: > 0.
        generator: of the noise; torch's global one is not touched.
        hard: straight-through: the value is the one-hot of the largest weight, its other weights exact zeros, and the
            gradient is that of the soft draw.

    Returns:
        Operation weights, shape ``[..., d]``, each group adding up to 1. Differentiable in ``alpha``.

    Raises:
        UserError: the temperature is not positive.
    """
    if not temperature > 0:
        raise UserError(f"the temperature of a Gumbel softmax must be positive, got {temperature}: choose e.g. 1.0")
    noise = -torch.empty_like(alpha).exponential_(generator=generator).log()  # minus the log of Exp(1) is Gumbel
    soft = softmax((alpha + noise) / temperature, sizes)
    if not hard:
        return soft
    with torch.no_grad():
        one_hot = torch.cat([_one_hot_of_largest(part) for part in soft.split(list(sizes), dim=-1)], dim=-1)
    return one_hot + (soft - soft.detach())  # in this order the zeros and ones are exact


def _one_hot_of_largest(weights: Tensor) -> Tensor:
    return torch.zeros_like(weights).scatter_(-1, weights.argmax(-1, keepdim=True), 1.0)
