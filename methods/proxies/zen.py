"""Zen-score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.proxies.probe import Probe

STEP = 0.01
"""Scale of the perturbation of the input."""
REPEATS = 4
"""Draws of weights and inputs whose scores are averaged (the paper's code: 32)."""


def zen(probe: Probe) -> float:
    """Expressivity: log E ||f(x) - f(x + 0.01 e)||_1 + sum over batch norms of log sigma.

    f is the last feature map before the global average pool, sigma^2 the mean channel variance of a batch norm's input.

    Source: Lin et al., ICCV 2021 (Zen-NAS, arXiv 2102.01063).
    Weights: drawn anew from N(0, 1) by the generator, biases 0; the caller's initialisation is not used.
    Batch: its shape only; x and e are drawn from N(0, 1).
    Precision: float32 pass, float64 sums.
    Direction: larger is better; -inf or NaN for a disconnected network.
    Deviations: 4 draws instead of 32; batch variances instead of running ones, which start at 1; residual links are
    kept, as in later comparisons of proxies.
    """
    replica = probe.replica()
    maps: list[Tensor] = []
    log_sigma: list[float] = []

    def variance(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mean = float(inputs[0].double().var((0, 2, 3), correction=0).mean())
        log_sigma.append(0.5 * math.log(mean) if mean > 0 else -math.inf)

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.ndim == 4:
            maps.append(output)
            del maps[:-1]

    for module in replica.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(variance)
        if not isinstance(module, nn.AdaptiveAvgPool2d):
            module.register_forward_hook(keep)  # of containers too, which may end by putting maps together
    scores = []
    with torch.no_grad():
        for _ in range(REPEATS):
            _draw(replica, probe.generator)
            x = torch.randn(probe.images.shape, generator=probe.generator)
            moved = x + STEP * torch.randn(probe.images.shape, generator=probe.generator)
            log_sigma.clear()
            replica(x)
            before, scale = maps[-1].double(), sum(log_sigma)
            replica(moved)
            difference = float((before - maps[-1].double()).abs().flatten(1).sum(1).mean())
            scores.append((math.log(difference) if difference > 0 else -math.inf) + scale)
    return math.fsum(scores) / REPEATS if all(map(math.isfinite, scores)) else min(scores)


def _draw(network: nn.Module, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.normal_(generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, _BatchNorm) and module.affine:
            module.weight.fill_(1)
            module.bias.zero_()
