"""Condition number of the neural tangent kernel."""

from __future__ import annotations

import torch

from methods.proxies.probe import Probe, weighted_layers


def ntk(probe: Probe) -> float:
    """- largest / smallest eigenvalue of the neural tangent kernel ``[B, B]`` of the summed logits.

    Source: Chen et al., ICLR 2021 (TE-NAS, arXiv 2102.11535).
    Weights: of convolutions and linear layers, as the caller initialised them (TE-NAS initialises by Kaiming's rule,
    and takes the scales of batch norm in too).
    Batch: the given images, one backward pass each; labels and loss are not used; batch norm on, with batch statistics.
    Precision: float64 throughout, since the smallest eigenvalue decides.
    Direction: the condition number is negated, so larger is better and -1 is best; -inf for a singular kernel.
    """
    replica = probe.replica().double()
    weights: list[torch.Tensor] = [layer.weight for layer in weighted_layers(replica)]
    logits = replica(probe.images.double()).sum(1)
    rows = []
    for logit in logits:
        gradients = torch.autograd.grad(logit, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    jacobian = torch.stack(rows)
    values = torch.linalg.eigvalsh(jacobian @ jacobian.T)
    # Below rounding error of the largest eigenvalue the smallest one is no more than noise.
    if values[0] <= values[-1] * torch.finfo(torch.float64).eps * len(values):
        return float("-inf")
    return -float(values[-1] / values[0])
