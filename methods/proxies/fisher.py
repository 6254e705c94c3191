"""Fisher."""

from __future__ import annotations

from methods.proxies.probe import Probe


def fisher(probe: Probe) -> float:
    """Sum over channels of 1/2 mean_n (sum over pixels of z * dL/dz)^2, z the outputs of a layer for image n.

    Source: Theis et al. 2018 (arXiv 1801.05787) and Turner et al., ICLR 2020 (BlockSwap); as a NAS proxy,
    Abdelfattah et al., ICLR 2021. L is the batch mean of the loss, so dL/dz carries a factor 1/B.
    Layers: convolutions and linear layers, before batch norm, as the caller initialised them.
    Batch: the given images and labels; batch norm on, with batch statistics.
    Precision: float32 pass, float64 sums over images.
    Direction: larger is better.
    """
    backward = probe.backward
    total = 0.0
    for z, gradient in zip(backward.outputs, backward.output_gradients, strict=True):
        channel = (z * gradient).flatten(2).sum(2) if z.ndim == 4 else z * gradient
        total += float(channel.double().square().mean(0).sum()) / 2
    return total
