"""BaLeNAS-TF (Zhang et al., CVPR 2022, Section 3.3): the best score of n draws from BaLeNAS's final posterior.

The search is the BaLeNAS run at the same seed, taken from the results store, never run twice. Defaults: SynFlow and 100
draws, as in the paper's Table 1.

Deviations:
    1. The paper does not say which order its BaLeNAS-TF row continues; both are methods here.
    2. Equal draws are scored once, and all networks share one initialisation (``methods.selection``).
"""

from __future__ import annotations

import torch

from benchmarks.errors import UserError
from benchmarks.spaces import Architecture
from benchmarks.spec import Method, SearchProblem, Trace
from methods.selection import Scorer, SelectionConfig


class BaLeNASTF(Method):
    """Draws of a posterior, chosen by a training-free proxy; the two orders differ in their upstream."""

    Config = SelectionConfig
    config: SelectionConfig

    def __init__(self, problem: SearchProblem, config: SelectionConfig) -> None:
        super().__init__(problem, config)
        if problem.upstream is None:
            raise UserError(f"{type(self).__name__} needs the finished run of {self.upstream}")
        alpha, sigma = (torch.tensor(problem.upstream[key], dtype=torch.float64) for key in ("alpha", "sigma"))
        self.alpha, self.sigma = alpha, self.spread(sigma)
        self.scorer = Scorer(problem, config)
        self.draws = self.draw(0)
        self.choice = self.scorer.best(self.draws)

    def spread(self, sigma: torch.Tensor) -> torch.Tensor:
        """The standard deviations to draw with, given those of the search, ``[parameters]``."""
        return sigma

    def draw(self, number: int) -> list[Architecture]:
        """The ``number``-th set of draws of the posterior."""
        generator = self.problem.seeds.generator("selection draws", number)
        noise = torch.randn(self.config.draws, len(self.alpha), generator=generator, dtype=self.alpha.dtype)
        return self.problem.space.discretise_many(self.alpha + self.sigma * noise)

    def measure(self, epoch: int) -> Trace:  # noqa: ARG002 - there is one epoch
        """What was scored, and what other sets of draws of the same posterior would have chosen.

        ``resampled`` holds the choices of ``Budget.resamplings`` further sets as positions in the space's enumeration,
        which is how analysis knows how much of a row is the luck of its draws.
        """
        space = self.problem.space
        mean = space.discretise(self.alpha)
        trace = self.scorer.trace(self.draws)
        picks = [self.scorer.best(self.draw(1 + i)) for i in range(self.problem.budget.resamplings)]
        return trace | {
            "mean_architecture": space.encode(mean),
            "mean_chosen": float(self.scorer.key(self.choice) == self.scorer.key(mean)),
            "resampled": [float(space.position(pick)) for pick in picks],
        }

    def architecture(self) -> Architecture:
        """The draw with the best score."""
        return self.choice


class BaLeNASTFFirst(BaLeNASTF):
    """After first-order BaLeNAS."""

    upstream = "balenas-1st"


class BaLeNASTFSecond(BaLeNASTF):
    """After second-order BaLeNAS."""

    upstream = "balenas-2nd"
