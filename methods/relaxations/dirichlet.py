"""Dirichlet draws with a gradient in their concentrations, for DrNAS (Chen et al., ICLR 2021, arXiv 2006.10355).

A Dirichlet draw is a set of gamma draws divided by their sum. Each is drawn as Gamma(c) = Gamma(c + 1) U^(1/c), U
uniform, and normalised in logarithms: small concentrations, whose gamma draws underflow, then cost no accuracy.
Gamma(c + 1) is differentiated implicitly (Figurnov et al., NeurIPS 2018, arXiv 1805.08498).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods.relaxations.softmax import softmax


def concentrations(alpha: Tensor) -> Tensor:
    """elu(alpha) + 1: DrNAS's map from architecture parameters to positive concentrations; 1 at alpha = 0."""
    # elu(alpha) + 1 itself rounds to 0 below -17 in single precision.
    return torch.where(alpha > 0, alpha + 1, alpha.clamp(max=0).exp())


def dirichlet(concentration: Tensor, sizes: Sequence[int], *, generator: torch.Generator) -> Tensor:
    """A Dirichlet draw of each group.

    Args:
        concentration: > 0, shape ``[..., d]``; every leading index gets a draw of its own.
        sizes: parameters of each group; they add up to d.
        generator: of the draws; torch's global one is not touched.

    Returns:
        Operation weights, shape ``[..., d]``, each group adding up to 1. Differentiable in ``concentration``: an
        unbiased pathwise gradient.
    """
    # The function behind torch.distributions.Gamma, which itself takes no generator.
    gamma = torch._standard_gamma(concentration + 1, generator=generator)
    log_uniform = -torch.empty_like(concentration).exponential_(generator=generator)
    return softmax(gamma.log() + log_uniform / concentration, sizes)
