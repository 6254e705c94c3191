"""Architecture optimizers: what is known about the architecture parameters, and how a gradient changes it."""

from __future__ import annotations

from methods.optimizers.adam import Adam, AdamConfig
from methods.optimizers.bbb import BayesByBackprop, BayesByBackpropConfig
from methods.optimizers.eq17 import Eq17, Eq17Config, Eq17TwoRatesConfig
from methods.optimizers.ivon import IVON, IVONConfig
from methods.optimizers.noisy_adam import (
    AnnealedAdamConfig,
    NoisyAdam,
    NoisyAdamConfig,
    UniformAdam,
    UniformAdamConfig,
)
from methods.optimizers.optimizer import ArchitectureOptimizer
from methods.optimizers.posterior import Posterior, PosteriorConfig
from methods.optimizers.vadam import VAdam, VAdamConfig
from methods.optimizers.von import VON, VONConfig
from methods.optimizers.vprop import Vprop, VpropConfig

POSTERIORS: dict[str, type[PosteriorConfig]] = {
    "vadam": VAdamConfig,
    "vprop": VpropConfig,
    "von": VONConfig,
    "eq17": Eq17Config,
    "eq17-two-rates": Eq17TwoRatesConfig,
    "ivon": IVONConfig,
    "bbb": BayesByBackpropConfig,
    "adam-fixed-noise": NoisyAdamConfig,
    "adam-annealed-noise": AnnealedAdamConfig,
    "adam-uniform-weights": UniformAdamConfig,
}
"""Optimizers that share VAdam's settings, by name: rules for a Gaussian posterior, then controls."""

__all__ = [
    "IVON",
    "POSTERIORS",
    "VON",
    "Adam",
    "AdamConfig",
    "AnnealedAdamConfig",
    "ArchitectureOptimizer",
    "BayesByBackprop",
    "BayesByBackpropConfig",
    "Eq17",
    "Eq17Config",
    "Eq17TwoRatesConfig",
    "IVONConfig",
    "NoisyAdam",
    "NoisyAdamConfig",
    "Posterior",
    "PosteriorConfig",
    "UniformAdam",
    "UniformAdamConfig",
    "VAdam",
    "VAdamConfig",
    "VONConfig",
    "Vprop",
    "VpropConfig",
]
