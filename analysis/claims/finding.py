"""What a check of a claim returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import pandas as pd

from analysis import statistics
from analysis.runs import Setting
from analysis.statistics import MINIMUM_PAIRS, Conclusion, Interval, Paired


class Verdict(StrEnum):
    """What became of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    UNDECIDED = "undecided"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Finding:
    """A verdict with what it rests on.

    Attributes:
        verdict: see ``Verdict``.
        evidence: one line.
        n: pairs, searches or architectures; None where there are none.
        effect: size of the effect in words.
        interval: its 95 % interval.
        setting: tier and images, or what else the verdict was reached on.
    """

    verdict: Verdict
    evidence: str
    n: int | None = None
    effect: str = ""
    interval: Interval | None = None
    setting: str = ""

    @property
    def qualified(self) -> str:
        """The verdict, with the tier wherever that is not the paper's."""
        decided = self.verdict in (Verdict.HOLDS, Verdict.DOES_NOT_HOLD)
        return f"{self.verdict} ({self.setting})" if decided and self.setting else str(self.verdict)


@dataclass(frozen=True)
class Pending:
    """A test that waits for its family's correction.

    Attributes:
        result: of the pairs, positive in the sense of the claim.
        p: two-sided; ``result`` has it without a correction.
        p_equivalent: that the mean difference lies within ``margin``.
        margin: of equivalence.
        unit: of the effect.
        setting: where.
    """

    result: Paired
    p: float
    p_equivalent: float
    margin: float
    unit: str
    setting: Setting

    @classmethod
    def of(cls, first: pd.Series, second: pd.Series, *, margin: float, setting: Setting, unit: str = "points") -> Self:
        """The test of two methods' values over the same seeds, of which the first is claimed to be larger."""
        result = statistics.paired(first, second)
        return cls(result, result.p, statistics.equivalence(first - second, margin), margin, unit, setting)


def corrected(family: Sequence[Pending], *, lacking: int = 0) -> list[Pending]:
    """The tests of a family with Holm's correction; those that lack runs still count."""
    p_values = statistics.holm([*(test.p for test in family), *[1.0] * lacking])[: len(family)]
    equivalents = statistics.holm([*(test.p_equivalent for test in family), *[1.0] * lacking])[: len(family)]
    return [
        replace(test, p=p, p_equivalent=p_equivalent)
        for test, p, p_equivalent in zip(family, p_values, equivalents, strict=True)
    ]


def decide(test: Pending, family: int) -> Finding:
    """The verdict of a paired test whose p-values are corrected. A difference within the margin is none."""
    result = test.result
    conclusion = statistics.conclude(
        result.n, p=test.p, p_equivalent=test.p_equivalent, direction=result.direction, tests=family, ties=result.ties
    )
    counted = f"n = {result.n}" + (f" with {result.ties} equal" if result.ties else "")
    verdict, why = {
        Conclusion.FEW: (Verdict.UNDECIDED, f"n = {result.n} pairs, at least {MINIMUM_PAIRS} are needed"),
        Conclusion.EQUIVALENT: (Verdict.DOES_NOT_HOLD, f"both are equivalent within ±{test.margin:g}"),
        Conclusion.LARGER: (Verdict.HOLDS, "the difference has the claimed sign"),
        Conclusion.SMALLER: (Verdict.DOES_NOT_HOLD, "the difference has the opposite sign"),
        Conclusion.OPEN: (Verdict.UNDECIDED, "neither different nor equivalent"),
        Conclusion.UNATTAINABLE: (
            Verdict.UNDECIDED, f"not equivalent, and {counted} is too few to show a difference on its own"
        ),
    }[conclusion]  # fmt: skip
    corrected = f", Holm over {family}" if family > 1 else ""
    better = f"better in {result.wins} of {result.n} pairs" + (f", {result.ties} equal" if result.ties else "")
    evidence = f"{why}; {better}, exact Wilcoxon p = {test.p:.3g}{corrected}"
    if test.setting.is_digits:
        verdict, evidence = Verdict.UNDECIDED, f"only digits were searched on, which test no claim; {evidence}"
    return Finding(
        verdict,
        evidence,
        result.n,
        f"{result.mean:+.3g} {test.unit}".strip(),
        result.interval if result.interval.is_finite else None,
        describe(test.setting),
    )


def describe(setting: Setting) -> str:
    """Tier and images for a verdict; a reduced tier says so."""
    return setting.title if setting.is_papers else f"{setting.title}: not the paper's setting"
