"""The checks that claims are decided by. Each takes runs and its claim's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis import statistics
from analysis.claims import confirmation, in_print, selection
from analysis.claims.finding import Finding, Pending, Verdict, describe
from analysis.runs import Runs, Setting, within
from analysis.statistics import Interval
from benchmarks.spec import Status

Check = Callable[..., Finding | Pending]


def pairs(
    runs: Runs, setting: Setting, better: str, worse: str, values: Callable[[pd.DataFrame], float]
) -> pd.DataFrame:
    """One number a run for both methods, at the seeds that both have: columns ``better`` and ``worse``."""
    columns = {}
    for name, method in (("better", better), ("worse", worse)):
        frame = runs.of(setting, method, epochs=True)
        columns[name] = pd.Series({int(str(seed)): values(run) for seed, run in frame.groupby("seed")}, dtype=float)
    return pd.DataFrame(columns).dropna()


def compare(
    runs: Runs, space: str, better: str, worse: str, values: Callable[[pd.DataFrame], float], margin: float,
    *, lower: bool = False,
) -> Finding | Pending:  # fmt: skip
    """A paired test of one number a run; ``lower`` where less is claimed. A diverged run leaves it undecided."""
    for setting in runs.settings_of(space, better, worse):
        if lost := _diverged(runs, setting, (better, worse)):
            return Finding(Verdict.UNDECIDED, f"diverged, so that pairs are lost: {', '.join(lost)}")
        table = pairs(runs, setting, better, worse, values)
        if table.empty:
            continue
        first, second = (table["worse"], table["better"]) if lower else (table["better"], table["worse"])
        unit = f"({worse} - {better})" if lower else "points"
        return Pending.of(first, second, margin=margin, setting=setting, unit=unit)
    return Finding(Verdict.UNDECIDED, f"not run: no setting of {space} has both {better} and {worse}")


def _diverged(runs: Runs, setting: Setting, methods: tuple[str, str]) -> list[str]:
    """Names of diverged runs of two methods in a setting."""
    failed = within(runs.failed, setting)
    chosen = (failed["status"] == Status.DIVERGED) & failed["label"].isin(methods)
    return [f"{row.label} at seed {row.seed}" for row in failed[chosen].itertuples()]


def paired(runs: Runs, *, space: str, better: str, worse: str, measure: str, margin: float) -> Finding | Pending:
    """The accuracy of the architectures found."""
    return compare(runs, space, better, worse, lambda run: float(run[measure].iloc[-1]), margin)


def early(runs: Runs, *, space: str, better: str, worse: str, measure: str, margin: float) -> Finding | Pending:
    """The mean accuracy over the first third of the epochs (epoch 0, before training, left out)."""

    def mean(run: pd.DataFrame) -> float:
        last = run["epoch"].max() / 3
        return float(run.loc[run["epoch"].between(1, last), measure].mean())

    return compare(runs, space, better, worse, mean, margin)


def mean_below(runs: Runs, *, space: str, better: str, worse: str, measure: str, margin: float) -> Finding | Pending:
    """The mean of a measured quantity over the search (epoch 0 left out); effects are worse minus better."""

    def mean(run: pd.DataFrame) -> float:
        return float(run.loc[run["epoch"] > 0, measure].mean()) if measure in run else float("nan")

    return compare(runs, space, better, worse, mean, margin, lower=True)


def count_below(runs: Runs, *, space: str, method: str, count: str, limit: float) -> Finding:
    """Whether the mean number of an operation over the search stays below a limit."""
    for setting in runs.settings_of(space, method):
        frame = runs.of(setting, method, epochs=True)
        frame = frame[frame["epoch"] > 0]
        if count not in frame or frame.empty:
            continue
        means = frame.groupby("seed")[count].mean()
        interval = statistics.mean_interval(means)
        share = float((frame[count] < limit).mean())
        return _bounded(
            setting, means, interval, "below", limit,
            f"mean {means.mean():.2f}; below {limit:g} in {share:.0%} of the epochs",
        )  # fmt: skip
    return Finding(Verdict.UNDECIDED, f"not run: no setting of {space} has {method}")


def noise_predicted(runs: Runs, *, space: str, method: str, factor: float) -> Finding:
    """Share of searches whose predicted E_q[L] - L(mu) is within a factor of the measured, at their last such epoch.

    A measurement that is not positive, where the prediction has the wrong sign or is pure noise, is outside.
    """
    for setting in runs.settings_of(space, method):
        frame = runs.of(setting, method, epochs=True)
        if not {"noise_measured", "noise_predicted"} <= set(frame):
            continue
        last = frame.dropna(subset=["noise_measured", "noise_predicted"]).groupby("seed").tail(1)
        if last.empty:
            continue
        ratio = (last["noise_predicted"] / last["noise_measured"]).where(last["noise_measured"] > 0)
        inside = statistics.rate(int(ratio.between(1 / factor, factor).sum()), len(ratio))
        return _bounded(
            setting, ratio, inside.interval, "above", 0.5,
            f"within a factor of {factor:g} in {inside.count} of {inside.n} searches, more than half is asked; "
            f"predicted / measured from {ratio.min():.2f} to {ratio.max():.2f}, median {ratio.median():.2f}",
        )  # fmt: skip
    return Finding(Verdict.UNDECIDED, f"not run: no setting of {space} has the effect of noise for {method}")


def not_testable(runs: Runs, *, reason: str) -> Finding:  # noqa: ARG001 - the signature of a check
    """A claim that nothing here can decide."""
    return Finding(Verdict.NOT_TESTABLE, reason)


def _bounded(
    setting: Setting,
    values: ArrayLike,
    interval: Interval,
    claimed: Literal["below", "above"],
    limit: float,
    effect: str,
) -> Finding:
    """A verdict by the side of a limit that an interval lies on."""
    n, side = np.size(values), interval.side_of(limit)
    verdict = Verdict.UNDECIDED if side is None else Verdict.HOLDS if side == claimed else Verdict.DOES_NOT_HOLD
    evidence = f"the interval lies {side} {limit:g}" if side else f"the interval includes {limit:g}"
    if n < statistics.MINIMUM_PAIRS:
        verdict, evidence = Verdict.UNDECIDED, f"n = {n} searches, at least {statistics.MINIMUM_PAIRS} are needed"
    if setting.is_digits:
        verdict, evidence = Verdict.UNDECIDED, f"only digits were searched on, which test no claim; {evidence}"
    return Finding(verdict, evidence, n, effect, interval if interval.is_finite else None, describe(setting))


CHECKS: dict[str, Check] = {
    check.__name__: check for check in (paired, early, mean_below, count_below, noise_predicted, not_testable)
}
CHECKS |= {check.__name__: check for module in (in_print, selection, confirmation) for check in module.CHECKS}


def parameters(check: Check) -> dict[str, Any]:
    """The keywords that a check takes, for tests of the ledger."""
    return {name: kind for name, kind in check.__annotations__.items() if name not in ("runs", "return")}
