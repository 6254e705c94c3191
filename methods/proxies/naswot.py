"""NASWOT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.proxies.probe import Probe


def naswot(probe: Probe) -> float:
    """NAS without training: log |det K|, K_ij the number of ReLUs that images i and j switch alike.

    Source: Mellor et al., ICML 2021 (arXiv 2006.04647).
    Weights: as the caller initialised them.
    Batch: the given images; labels and loss are not used; batch norm on, with batch statistics.
    Precision: float32 pass, exact counts, determinant in float64.
    Direction: larger is better; -inf where two images switch every ReLU alike.
    """
    replica = probe.replica()
    batch = len(probe.images)
    kernel = torch.zeros(batch, batch, dtype=torch.float64)

    def count(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # With signs s = +-1 of n units, s_i.s_j = alike - different and alike + different = n.
        signs = (output > 0).flatten(1).float().mul_(2).sub_(1)
        kernel.add_((signs @ signs.T).double().add_(signs.shape[1]).div_(2))

    for module in replica.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(count)
    with torch.no_grad():
        replica(probe.images)
    return float(torch.linalg.slogdet(kernel).logabsdet)
