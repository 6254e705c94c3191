"""FLOPs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.proxies.probe import Probe, weighted_layers


def flops(probe: Probe) -> float:
    """Multiply-accumulates of the convolutions and linear layers for one image: the other control.

    NAS papers call this number FLOPs. Initialisation, labels and loss are not used; of the images only the size. Exact.
    Direction: larger is better.
    """
    replica = probe.replica().eval()
    total = 0

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d | nn.Linear)
        total += output[0].numel() * module.weight[0].numel()

    for layer in weighted_layers(replica):
        layer.register_forward_hook(count)
    with torch.no_grad():
        replica(probe.images[:1])
    return float(total)
