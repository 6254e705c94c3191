"""The claims ledger: ``results/published/claims.toml`` says what the paper claims, checks say what came out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from analysis import published
from analysis.claims.checks import CHECKS
from analysis.claims.finding import Finding, Pending, Verdict, corrected, decide
from analysis.runs import Runs
from benchmarks.errors import UserError, check_choices, one_of


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or of this suite about a reading of it.

    Attributes:
        id: short name.
        statement: what is claimed.
        where: section, table or figure of the paper.
        check: name of the check that decides it.
        parameters: what the check needs.
        family: claims whose p-values are corrected together.
        kind: ``claim`` of the paper; ``analogue``, the same quantity on another space; or ``reading``, a method that
            the paper may mean against DARTS at its best shared setting, a stricter rival than the paper's.
    """

    id: str
    statement: str
    where: str
    check: str
    parameters: Mapping[str, Any]
    family: str
    kind: Literal["claim", "analogue", "reading"] = "claim"

    def __post_init__(self) -> None:
        check_choices(self)

    @property
    def marked(self) -> str:
        """The statement, marked where it is not the paper's own."""
        return self.statement + (f" [{self.kind}]" if self.kind != "claim" else "")


def load(folder: Path = published.FOLDER) -> list[Claim]:
    """Every claim, in the order of the file. Raises ``UserError`` for an unknown check or a missing key."""
    claims = []
    for entry in published.read(folder, "claims.toml")["claim"]:
        rest = dict(entry)
        try:
            fixed = {key: rest.pop(key) for key in ("id", "statement", "where", "check")}
        except KeyError as error:
            raise UserError(f"claims.toml: a claim lacks {error}") from None
        if fixed["check"] not in CHECKS:
            raise one_of(f"check of claim {fixed['id']}", fixed["check"], CHECKS)
        family, kind = rest.pop("family", fixed["id"]), rest.pop("kind", "claim")
        claims.append(Claim(**fixed, parameters=rest, family=family, kind=kind))
    return claims


def judge(runs: Runs, claims: list[Claim]) -> list[tuple[Claim, Finding]]:
    """Check every claim; those of a family share Holm's correction, whether or not all of them have runs yet."""
    results = [CHECKS[claim.check](runs, **claim.parameters) for claim in claims]
    families: defaultdict[str, list[int]] = defaultdict(list)
    for position, (claim, result) in enumerate(zip(claims, results, strict=True)):
        if isinstance(result, Pending):
            families[claim.family].append(position)
    sizes = Counter(claim.family for claim in claims)
    findings: list[Finding | Pending] = list(results)
    for family, positions in families.items():
        pending = [result for i in positions if isinstance(result := results[i], Pending)]
        for i, result in zip(positions, corrected(pending, lacking=sizes[family] - len(pending)), strict=True):
            findings[i] = decide(result, sizes[family])
    return [(claim, f) for claim, f in zip(claims, findings, strict=True) if isinstance(f, Finding)]


def sentence(claim: Claim, finding: Finding) -> str:
    """What is claimed, what came out and what the verdict rests on."""
    interval = f"95 % interval {finding.interval.low:.2f} to {finding.interval.high:.2f}" if finding.interval else ""
    n = f"n = {finding.n}" if finding.n else ""
    numbers = ", ".join(filter(None, (finding.effect, interval, n)))
    return f"{claim.marked}. {numbers}{': ' * bool(numbers)}{finding.evidence}."


def summary(judged: Sequence[tuple[Claim, Finding]]) -> str:
    """How many claims hold, do not hold, and so on, in words."""
    counts = Counter(finding.verdict for _, finding in judged)
    words = {Verdict.HOLDS: "hold", Verdict.DOES_NOT_HOLD: "do not hold"}
    return ", ".join(f"{counts[verdict]} {words.get(verdict, str(verdict))}" for verdict in Verdict)


__all__ = ["Claim", "Finding", "Verdict", "judge", "load", "sentence", "summary"]
