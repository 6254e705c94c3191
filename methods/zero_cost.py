"""Zero-cost NAS (Abdelfattah et al., ICLR 2021; arXiv 2101.08134): the best score of n random architectures.

Defaults: SynFlow, in BaLeNAS's words the most reliable proxy; 100 draws, the largest size of its Table 2; a batch of 64
training images at an untrained network of NAS-Bench-201's size (C=16, N=5), or what the tier says.

Deviation: equal draws are scored once, and all networks share one initialisation of each operation
(``methods.proxies.initialise``), where the original draws every network anew.
"""

from __future__ import annotations

from benchmarks.spaces import Architecture
from benchmarks.spec import Method, SearchProblem, Trace
from methods.selection import Scorer, SelectionConfig


class ZeroCost(Method):
    """Uniform draws, chosen by a training-free proxy."""

    Config = SelectionConfig
    config: SelectionConfig

    def __init__(self, problem: SearchProblem, config: SelectionConfig) -> None:
        super().__init__(problem, config)
        rng = problem.seeds.numpy("zero-cost draws")
        self.draws = [problem.space.sample(rng) for _ in range(config.draws)]
        self.scorer = Scorer(problem, config)
        self.choice = self.scorer.best(self.draws)

    def measure(self, epoch: int) -> Trace:  # noqa: ARG002 - there is one epoch
        """What was scored."""
        return self.scorer.trace(self.draws)

    def architecture(self) -> Architecture:
        """The draw with the best score."""
        return self.choice
