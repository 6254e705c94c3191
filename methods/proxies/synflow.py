"""SynFlow."""

from __future__ import annotations

from methods.proxies.probe import Probe


def synflow(probe: Probe) -> float:
    """Synaptic flow: sum over weights of |w * dR/dw|, R the summed outputs of the network made positive.

    Source: Tanaka et al., NeurIPS 2020 (arXiv 2006.05467); as a NAS proxy, Abdelfattah et al., ICLR 2021.
    Network: every parameter replaced by its absolute value, batch norm by the identity.
    Weights: of convolutions and linear layers, as the caller initialised them.
    Batch: none; one image of ones of the batch's size.
    Precision: float64. On NAS-Bench-201 at full size scores reach 7e49 and 5 % exceed float32; under Kaiming's
    initialisation, which some implementations use, they reach 5e66.
    Direction: larger is better; exactly 0 for a network whose output does not depend on its input.
    """
    return float(sum((w * g).abs().sum() for w, g in zip(probe.flow.weights, probe.flow.gradients, strict=True)))
