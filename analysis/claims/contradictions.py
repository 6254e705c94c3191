"""Points at which the paper contradicts itself, the benchmark or its sources, with evidence that is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from analysis import published
from analysis.claims.evidence import CHECKS
from analysis.runs import Runs
from benchmarks.errors import UserError, one_of


class Status(StrEnum):
    """What became of a point."""

    CONFIRMED = "confirmed (computed)"
    REFUTED = "not an error (computed)"
    READ = "read"
    NOT_VERIFIED = "not verified"
    OPEN = "open"


@dataclass(frozen=True)
class Point:
    """A doubtful point of the paper.

    Attributes:
        id: short name.
        where: place in the paper.
        statement: what is doubtful.
        status: see ``Status``.
        evidence: numbers, or what was read.
    """

    id: str
    where: str
    statement: str
    status: Status
    evidence: str


def load(runs: Runs, folder: Path = published.FOLDER) -> list[Point]:
    """Every point, its evidence computed now. Raises ``UserError`` for an unknown check or status."""
    points = []
    for entry in published.read(folder, "contradictions.toml")["point"]:
        rest = dict(entry)
        fixed = {key: rest.pop(key) for key in ("id", "where", "statement")}
        remark, check, status = rest.pop("remark", ""), rest.pop("check", None), rest.pop("status", None)
        if (check is None) == (status is None):
            raise UserError(f"contradictions.toml: point {fixed['id']} needs a check or a status, and not both")
        if check is None:
            points.append(Point(**fixed, status=Status(status), evidence=remark))
            continue
        if check not in CHECKS:
            raise one_of(f"check of point {fixed['id']}", check, CHECKS)
        found = CHECKS[check](runs, **rest)
        status = Status.OPEN if found.confirmed is None else Status.CONFIRMED if found.confirmed else Status.REFUTED
        if not found.computed and found.confirmed:
            status = Status.READ
        points.append(Point(**fixed, status=status, evidence="; ".join(filter(None, (found.text, remark)))))
    return points


def as_dicts(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Points as plain values, for JSON."""
    return [{**vars(point), "status": str(point.status)} for point in points]
