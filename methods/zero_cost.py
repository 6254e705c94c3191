"""Zero-cost NAS (Abdelfattah et al., ICLR 2021; arXiv 2101.08134): the best score of n random architectures.

Defaults: SynFlow, the paper's most reliable proxy; 100 draws, BaLeNAS's Table 2 largest; batch 64 of training images.

Deviation: draws are with replacement and duplicates are scored once, which changes nothing but the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.spaces import Architecture
from benchmarks.spec import Method, SearchProblem, Trace
from methods.selection import Selection, SelectionConfig, select


@dataclass(frozen=True)
class ZeroCostConfig(SelectionConfig):
    """See ``SelectionConfig``."""


class ZeroCost(Method):
    """Uniform draws, chosen by a training-free proxy."""

    Config = ZeroCostConfig

    def __init__(self, problem: SearchProblem, config: ZeroCostConfig) -> None:
        super().__init__(problem, config)
        rng = problem.seeds.numpy("zero-cost draws")
        draws = [problem.space.sample(rng) for _ in range(config.draws)]
        self.selection: Selection = select(problem, draws, config)

    def architecture(self) -> Architecture:
        """The draw with the best score."""
        return self.selection.architecture

    def measure(self, epoch: int) -> Trace:
        """Scores, and how many draws were distinct."""
        return self.selection.trace()
