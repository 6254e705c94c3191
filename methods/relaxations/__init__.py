"""Relaxations: flat architecture parameters to flat operation weights, group by group."""

from __future__ import annotations

from methods.relaxations.softmax import entropies, softmax

__all__ = ["entropies", "softmax"]
