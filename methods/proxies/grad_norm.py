"""Gradient norm."""

from __future__ import annotations

from methods.proxies.probe import Probe


def grad_norm(probe: Probe) -> float:
    """Sum over layers of the Euclidean norm of dL/dw.

    Source: Abdelfattah et al., ICLR 2021 (arXiv 2101.08134).
    Weights: of convolutions and linear layers, as the caller initialised them.
    Batch: the given images and labels; batch norm on, with batch statistics.
    Precision: float32 pass, float64 sum.
    Direction: larger is better.
    """
    return float(sum(g.double().norm() for g in probe.backward.gradients))
