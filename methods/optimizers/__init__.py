"""Architecture optimizers: what is known about the architecture parameters, and how a gradient changes it."""

from __future__ import annotations

from methods.optimizers.adam import Adam, AdamConfig
from methods.optimizers.optimizer import ArchitectureOptimizer
from methods.optimizers.vadam import VAdam, VAdamConfig

POSTERIORS = {"vadam": VAdamConfig}
"""Optimizers of a Gaussian posterior that share VAdam's settings, by name."""

__all__ = ["POSTERIORS", "Adam", "AdamConfig", "ArchitectureOptimizer", "VAdam", "VAdamConfig"]
