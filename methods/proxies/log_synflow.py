"""Log-SynFlow."""

from __future__ import annotations

from methods.proxies.probe import Probe


def log_synflow(probe: Probe) -> float:
    """SynFlow with damped gradients: sum over weights of |w * log(1 + dR/dw)|.

    Source: Cavagnero et al., WACV 2023 (FreeREA, arXiv 2207.05135). It is not the logarithm of SynFlow.
    Network, weights, batch, precision: those of SynFlow.
    Direction: larger is better; exactly 0 for a network whose output does not depend on its input.
    """
    return float(
        sum((w * g.log1p()).abs().sum() for w, g in zip(probe.flow.weights, probe.flow.gradients, strict=True))
    )
