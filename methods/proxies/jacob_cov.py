"""Jacobian covariance."""

from __future__ import annotations

import torch

from methods.proxies.probe import Probe, gradients_of

SHIFT = 1e-5
"""Added to the eigenvalues so that their logarithms and inverses exist."""


def jacob_cov(probe: Probe) -> float:
    """How uncorrelated the images' input gradients are: - sum over i of log(v_i + k) + 1 / (v_i + k).

    v are the eigenvalues of the correlation matrix ``[B, B]`` of the images' gradients of the summed logits in the
    input; k = 1e-5.

    Source: Mellor et al. 2020 (arXiv 2006.04647, first version); Abdelfattah et al., ICLR 2021.
    Weights: as the caller initialised them.
    Batch: the given images; labels and loss are not used; batch norm on, with batch statistics.
    Precision: float32 pass, float64 correlation and eigenvalues.
    Direction: larger is better; NaN for a network whose output does not depend on its input.
    """
    (gradient,) = gradients_of(probe.forward.logits.sum(), [probe.forward.images], retain_graph=True)
    rows = gradient.flatten(1).double()
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True)
    if not bool(torch.isfinite(rows).all()):
        return float("nan")
    values = torch.linalg.eigvalsh(rows @ rows.T).clamp(min=0) + SHIFT
    return -float((values.log() + 1 / values).sum())
