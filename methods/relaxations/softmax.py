"""The softmax relaxation of DARTS (Liu et al. 2019, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def softmax(alpha: Tensor, sizes: Sequence[int]) -> Tensor:
    """A softmax over each group.

    Args:
        alpha: architecture parameters, shape ``[..., d]``.
        sizes: parameters of each group; they add up to d.

    Returns:
        Operation weights, shape ``[..., d]``, in (0, 1), each group adding up to 1.
    """
    return torch.cat([part.softmax(-1) for part in alpha.split(list(sizes), dim=-1)], dim=-1)


def entropies(weights: Tensor, sizes: Sequence[int], *, normalised: bool = False) -> Tensor:
    """Entropy of the weights in each group.

    Args:
        weights: operation weights, shape ``[..., d]``.
        sizes: parameters of each group.
        normalised: divide by the largest possible entropy, so that 1 is uniform and 0 decided; else in nats.

    Returns:
        Shape ``[..., groups]``.
    """
    parts = weights.split(list(sizes), dim=-1)
    nats = torch.stack([torch.special.entr(part).sum(-1) for part in parts], dim=-1)
    if not normalised:
        return nats
    return nats / torch.tensor([math.log(size) for size in sizes], dtype=nats.dtype)
