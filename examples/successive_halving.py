"""A method of one's own in one file: successive halving by the loss of untrained networks.

PYTHONPATH=examples python -m benchmarks.run --methods successive_halving:Halving --spaces nas-bench-201
PYTHONPATH=examples python -m benchmarks.check successive_halving:Halving
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.errors import check_counts
from benchmarks.images import probe
from benchmarks.spaces import Architecture
from benchmarks.spec import Method, Trace


@dataclass(frozen=True)
class HalvingConfig:
    candidates: int = 8  # how many architectures enter

    def __post_init__(self) -> None:
        check_counts(candidates=self.candidates)


class Halving(Method):
    """Each epoch scores the survivors on a larger batch at a fresh initialisation and drops the worse half."""

    Config = HalvingConfig

    def __init__(self, problem: Any, config: HalvingConfig) -> None:
        super().__init__(problem, config)
        rng = problem.seeds.numpy("candidates")
        self.alive = [problem.space.sample(rng) for _ in range(config.candidates)]

    epochs = property(lambda self: self.config.candidates.bit_length() - 1)

    def train_epoch(self, epoch: int) -> Trace:
        self.alive = sorted(self.alive, key=lambda cell: self.loss(cell, epoch))[: len(self.alive) // 2]
        return {"survivors": len(self.alive)}

    def loss(self, architecture: Architecture, epoch: int) -> float:
        images = self.problem.images
        x, y = probe(images.train_images, images.train_labels, 8 * 2**epoch, mean=images.mean, std=images.std)
        with self.problem.seeds.scope("initialisation", epoch), torch.no_grad():
            net = self.problem.space.network(architecture, channels=4, cells_per_stage=1, classes=len(images.classes))
            return float(torch.nn.functional.cross_entropy(net(x), y))

    def architecture(self) -> Architecture:
        return self.alive[0]

    def state_dict(self) -> dict[str, Any]:
        return {"alive": self.alive}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alive = [tuple(a) for a in state["alive"]]
