"""SNIP."""

from __future__ import annotations

from methods.proxies.probe import Probe


def snip(probe: Probe) -> float:
    """Single-shot saliency: sum over weights of |w * dL/dw|, the loss's first-order change when a weight is removed.

    Source: Lee et al., ICLR 2019 (arXiv 1810.02340); as a NAS proxy, Abdelfattah et al., ICLR 2021.
    Weights: of convolutions and linear layers, as the caller initialised them.
    Batch: the given images and labels; batch norm on, with batch statistics.
    Precision: float32 pass, float64 sum.
    Direction: larger is better.
    """
    backward = probe.backward
    return float(sum((w * g).abs().double().sum() for w, g in zip(backward.weights, backward.gradients, strict=True)))
