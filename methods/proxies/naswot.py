"""NASWOT."""

from __future__ import annotations

import torch

from methods.proxies.probe import Probe


def naswot(probe: Probe) -> float:
    """NAS without training: log |det K|, K_ij the number of ReLUs that images i and j switch alike.

    Source: Mellor et al., ICML 2021 (arXiv 2006.04647).
    Weights: as the caller initialised them.
    Batch: the given images; labels and loss are not used; batch norm on, with batch statistics.
    Precision: float32 pass, exact counts, determinant in float64.
    Direction: larger is better; -inf where two images switch every ReLU alike.
    """
    batch = len(probe.images)
    kernel = torch.zeros(batch, batch, dtype=torch.float64)
    for activation in probe.forward.activations:
        # With signs s = +-1 of n units, s_i.s_j = alike - different and alike + different = n.
        signs = (activation > 0).flatten(1).float().mul_(2).sub_(1)
        kernel += (signs @ signs.T).double().add_(signs.shape[1]).div_(2)
    return float(torch.linalg.slogdet(kernel).logabsdet)
