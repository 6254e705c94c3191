"""The check of the readings that a study confirmed on fresh seeds: the only ones of a study that carry a verdict."""

from __future__ import annotations

from functools import cache

import pandas as pd

from analysis import statistics
from analysis.claims.finding import Finding, Pending, Verdict
from analysis.runs import ROOT, Runs, load
from analysis.study import Arm, arms, rival
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
    held = runs if any(len(arm.accuracy) for arm in arms(runs, plan)) else _committed()
    of = arms(held, plan)
    if lacking := sum(not arm.has_ended for arm in of):
        return Finding(Verdict.UNDECIDED, f"not finished: {lacking} of {len(of)} rows of the study lack runs")
    named = [arm for arm in of if arm.row.question == change and not arm.is_darts]
    if len(named) != 1:
        raise UserError(f"the study {study} has {len(named)} readings named {change!r}, the claim needs one")
    return compared(held, plan, named[0], rival(named[0], of))


def compared(runs: Runs, study: Study, arm: Arm, other: Arm) -> Pending:
    """The paired test of two arms whose seeds have all ended."""
    setting = runs.setting_of(pd.concat([arm.finals, other.finals]).iloc[0])
    return Pending.of(arm.accuracy, other.accuracy, margin=statistics.margin(study.space), setting=setting)


@cache
def _committed() -> Runs:
    return load([FOLDER])


CHECKS = (confirmed,)
