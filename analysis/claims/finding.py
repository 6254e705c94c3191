"""What a check of a claim returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analysis import statistics
from analysis.runs import Setting
from analysis.statistics import MINIMUM_PAIRS, Conclusion, Interval


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
        n: pairs.
        effect: mean difference, positive in the sense of the claim.
        interval: of the mean difference.
        direction: 1 if the signed ranks agree with the claim, -1 if they contradict it.
        p: two-sided.
        p_equivalent: that the difference lies within ``margin``.
        margin: of equivalence.
        unit: of the effect.
        setting: where.
        wins: pairs that agree with the claim.
        ties: pairs in which both are equal.
    """

    n: int
    effect: float
    interval: Interval
    direction: int
    p: float
    p_equivalent: float
    margin: float
    unit: str
    setting: Setting
    wins: int
    ties: int


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
    conclusion = statistics.conclude(
        test.n, p=test.p, p_equivalent=test.p_equivalent, direction=test.direction, tests=family, ties=test.ties
    )
    counted = f"n = {test.n}" + (f" with {test.ties} equal" if test.ties else "")
    verdict, why = {
        Conclusion.FEW: (Verdict.UNDECIDED, f"n = {test.n} pairs, at least {MINIMUM_PAIRS} are needed"),
        Conclusion.EQUIVALENT: (Verdict.DOES_NOT_HOLD, f"both are equivalent within ±{test.margin:g}"),
        Conclusion.LARGER: (Verdict.HOLDS, "the difference has the claimed sign"),
        Conclusion.SMALLER: (Verdict.DOES_NOT_HOLD, "the difference has the opposite sign"),
        Conclusion.OPEN: (Verdict.UNDECIDED, "neither different nor equivalent"),
        Conclusion.UNATTAINABLE: (
            Verdict.UNDECIDED, f"not equivalent, and {counted} is too few to show a difference on its own"
        ),
    }[conclusion]  # fmt: skip
    corrected = f", Holm over {family}" if family > 1 else ""
    better = f"better in {test.wins} of {test.n} pairs" + (f", {test.ties} equal" if test.ties else "")
    evidence = f"{why}; {better}, exact Wilcoxon p = {test.p:.3g}{corrected}"
    if test.setting.is_digits:
        verdict, evidence = Verdict.UNDECIDED, f"only digits were searched on, which test no claim; {evidence}"
    return Finding(
        verdict,
        evidence,
        test.n,
        f"{test.effect:+.3g} {test.unit}".strip(),
        test.interval if test.interval.is_finite else None,
        describe(test.setting),
    )


def describe(setting: Setting) -> str:
    """Tier and images for a verdict; a reduced tier says so."""
    return setting.title if setting.is_papers else f"{setting.title}: not the paper's setting"
