"""GraSP."""

from __future__ import annotations

import torch

from methods.proxies.probe import Probe, gradients_of


def grasp(probe: Probe) -> float:
    """Gradient signal preservation: - sum over weights of w * (H g), H the Hessian of the loss, g its gradient.

    Source: Wang et al., ICLR 2020 (arXiv 2002.07376); as a NAS proxy, Abdelfattah et al., ICLR 2021.
    Weights: of convolutions and linear layers, as the caller initialised them.
    Batch: the given images and labels for g and H alike; batch norm on, with batch statistics.
    Precision: float32 passes, float64 sum. The sum cancels: single scores are noisy.
    Direction: the sign is such that larger is better; either sign occurs; 0 for a network whose weights do nothing.
    """
    weights = probe.forward.weights
    loss = probe.loss(probe.forward.logits, probe.labels)
    gradients = gradients_of(loss, weights, create_graph=True)
    product = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
    curved = gradients_of(product, weights, retain_graph=True)
    # Zero minus, because minus zero would be printed as -0.0.
    return 0.0 - float(sum((w.detach() * h).double().sum() for w, h in zip(weights, curved, strict=True)))
