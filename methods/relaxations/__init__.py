"""Relaxations: flat architecture parameters to flat operation weights, group by group."""

from __future__ import annotations

from methods.relaxations.dirichlet import concentrations, dirichlet
from methods.relaxations.gumbel import gumbel_softmax
from methods.relaxations.softmax import entropies, softmax

__all__ = ["concentrations", "dirichlet", "entropies", "gumbel_softmax", "softmax"]
