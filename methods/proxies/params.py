"""Parameter count."""

from __future__ import annotations

from methods.proxies.probe import Probe


def params(probe: Probe) -> float:
    """Number of trainable parameters, batch norm included: the control that every proxy must beat.

    Initialisation, batch and loss are not used; the count is exact.
    Direction: larger is better.
    """
    return float(sum(p.numel() for p in probe.network.parameters()))
