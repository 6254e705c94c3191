"""The check of the readings that a study confirmed on fresh seeds: the only ones of a study that carry a verdict."""

from __future__ import annotations

from functools import cache

import pandas as pd

from analysis import statistics
from analysis.claims.finding import Finding, Pending, Verdict
from analysis.runs import ROOT, Runs, load
from analysis.study import Arm, arms, planned_pairs
from benchmarks.errors import UserError
from benchmarks.studies import STUDIES, Study

FOLDER = ROOT / "results" / "studies" / "reading"


def confirmed(runs: Runs, *, study: str, change: str) -> Finding | Pending:
    """A reading against the DARTS of its study, by the committed runs of the study where the given ones lack it.

    Args:
        runs: any runs.
        study: name of a study of ``benchmarks.studies``.
        change: the question of its row.

    Raises:
        UserError: the study has no such row, or one with several readings.
    """
    plan = STUDIES[study]
    held, pairs = runs, planned_pairs(arms(runs, plan))
    if not any(len(arm.accuracy) for pair in pairs for arm in pair):
        held = _committed()
        pairs = planned_pairs(arms(held, plan))
    if waiting := sorted({arm.name for pair in pairs for arm in pair if not arm.has_ended}):
        return Finding(Verdict.UNDECIDED, f"not finished: the study lacks runs of {'; '.join(waiting)}")
    named = [pair for pair in pairs if pair[0].row.question == change]
    if len(named) != 1:
        raise UserError(f"the study {study} has {len(named)} readings named {change!r}, the claim needs one")
    return compared(held, plan, *named[0])


def compared(runs: Runs, study: Study, arm: Arm, other: Arm) -> Pending:
    """The paired test of two arms whose seeds have all ended."""
    setting = runs.setting_of(pd.concat([arm.finals, other.finals]).iloc[0])
    return Pending.of(arm.accuracy, other.accuracy, margin=statistics.margin(study.space), setting=setting)


@cache
def _committed() -> Runs:
    return load([FOLDER])


CHECKS = (confirmed,)
