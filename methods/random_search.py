"""The random baseline: one architecture, uniform over the encodings of the space.

As in the first row of BaLeNAS's Table 1 there is no choice among draws: a mean over seeds estimates the mean of the
space. (What the best of k draws would give is a property of the table, and analysis computes it exactly.)
"""

from __future__ import annotations

from benchmarks.spaces import Architecture
from benchmarks.spec import Method


class Random(Method):
    """One uniform draw a seed; trains nothing."""

    def architecture(self) -> Architecture:
        """The draw: always the same for a seed."""
        return self.problem.space.sample(self.problem.seeds.numpy("random architecture"))
