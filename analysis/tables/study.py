"""What the rows of a study came to, which readings its rule sends to confirmation, and how these fared there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from analysis import regression, statistics
from analysis.claims.confirmation import compared
from analysis.claims.finding import corrected, decide
from analysis.rendering import Cell, MeanSd, Table, span
from analysis.runs import Runs, describe, share
from analysis.statistics import MINIMUM_PAIRS
from analysis.study import RULE, Arm, arms, optimum, planned_pairs, rival, selected
from analysis.tables.comparisons import all_skip, floor, mean_difference
from benchmarks import spaces
from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, Seed, Split
from benchmarks.studies import Study

TRIALS = (777, 888, 999)
"""NAS-Bench-201's training seeds at 200 epochs."""
AGAINST = (
    "Compared with the DARTS of the same row, and where the row has none, with that of the first row: rates of rules "
    "that are no Adam have another scale. Differences wait until every seed of both has ended."
)
BESIDE = "{} is no planned rival: rows against it carry no verdict, and their intervals no correction."
TOO_FEW = "Planned with {} pairs, and a verdict takes {}: sizes and directions only."
DIVERGED = "A search that diverges has found nothing and counts as 0 %."
COLLAPSED = "Collapsed: skip connections only, or below the space's 5th percentile ({:.2f} %), or diverged."
CONFIRMED = (
    "Exact two-sided Wilcoxon signed-rank tests of mean accuracies, Holm-corrected over all {} readings; Student's t "
    "intervals. The order also does not hold where both are equivalent within ±{:g} points. No verdict before every "
    "seed of every reading and of its DARTS has ended. Rows of single trainings carry none: they show how far it hangs "
    "on the means. A cell that was not trained with a seed is left out of that row."
)
PROBE = (
    "Hessians, gaps and losses over draws are those of {} fixed validation images, in the architecture parameters and "
    "without weight decay. E_q[L] - L(mu) is from few draws, whose standard error in a search stands beside it. The "
    "tables of the mechanism have it from more draws and images, at seed 0."
)
MEASUREMENTS = (
    ("sigma_mean", "mean sigma", 3),
    ("entropy_mean", "entropy, 1 is uniform", 3),
    ("probability_of_mean", "P(draw = mean's cell)", 2),
    ("hessian_spectral_norm", "Hessian norm", 2),
    ("hessian_posterior_spectral_norm", "Hessian norm, posterior", 2),
    ("gap_measured", "discretisation gap (nats)", 2),
    ("noise_measured", "E_q[L] - L(mu) (nats)", 4),
    ("noise_standard_error", "its standard error", 4),
    ("noise_predicted", "half sum of sigma^2 H_ii", 4),
)


def outcomes(runs: Runs, study: Study) -> Table:
    """Accuracy of every arm, seed by seed, and its difference to DARTS."""
    of, low = arms(runs, study), floor(study.space)
    rows: list[tuple[Cell, ...]] = []
    for arm in of:
        values, other = arm.accuracy, rival(arm, of)
        compared = not arm.is_darts and arm.has_ended and other.has_ended
        differences = values - other.accuracy
        rows.append(
            (
                arm.row.kind,
                arm.row.question,
                arm.base,
                arm.settings or None,
                len(values),
                ", ".join(_printed(arm, seed) for seed in study.seeds),
                MeanSd.of(values) if len(values) > 1 else None,
                _collapses(arm, low),
                None if arm.is_darts else other.name,
                f"{differences.mean():+.2f}" if compared else None,
                f"{(differences > 0).sum()} of {len(differences)}" if compared else None,
            )
        )
    return Table(
        f"{study.name}-outcomes",
        f"CIFAR-10 test accuracy of every row ({study.name})",
        (
            "kind", "change", "method", "settings", "n", "each seed", "mean ± sd", "collapsed", "against",
            "mean difference", "seeds won",
        ),
        tuple(rows),
        caption(of, study, "Test accuracy in % at 200 epochs; sd with ddof 1."),
        (
            *([] if study.confirms else [RULE, _sent(of, study.space)]),
            AGAINST,
            DIVERGED,
            COLLAPSED.format(low),
            *runs.omissions,
        ),
    )  # fmt: skip


def _collapses(arm: Arm, low: float) -> str | None:
    if not len(arm.accuracy):
        return None
    skips = arm.by_seed(lambda finals: pd.Series(all_skip(finals)))
    rate = statistics.collapse_rate(arm.accuracy, floor=low, all_skip=skips > 0)
    return f"{rate.count} of {rate.n}"


def _printed(arm: Arm, seed: int) -> str:
    if seed in arm.diverged:
        return "diverged"
    return f"{arm.accuracy[seed]:.2f}" if seed in arm.accuracy.index else "-"


def _sent(of: Sequence[Arm], space: str) -> str:
    try:
        readings, darts = selected(of, optimum(space))
    except UserError as waiting:
        missing = sum(not arm.has_ended for arm in of)
        return f"The rule waits: {missing} of {len(of)} rows lack runs, and {waiting}."
    names = "; ".join(arm.name for arm in readings) or "no reading"
    certain = "" if all(arm.has_ended for arm in of) else " Missing runs cannot change this."
    return f"Sent to confirmation: {names}; against {darts.name}.{certain}"


def measurements(runs: Runs, study: Study) -> Table:
    """What the searches of every arm had come to at their last epoch."""
    of = [arm for arm in arms(runs, study) if len(arm.finals)]
    rows: list[tuple[Cell, ...]] = []
    for arm in of:
        cells = [MeanSd.of(share(arm.finals, ["skip_connect"]), 0)]
        for name, _, digits in MEASUREMENTS:
            values = arm.finals[name].astype(float) if name in arm.finals else pd.Series(dtype=float)
            if name == "sigma_mean" and not arm.has_sigma:  # it has none, rather than one of 0
                values = values[:0]
            cells.append(MeanSd.of(values, digits))
        rows.append((arm.row.question, arm.name, len(arm.finals), *cells))
    return Table(
        f"{study.name}-measurements",
        f"What the searches of every row had come to ({study.name})",
        ("change", "method", "n", "skip connections, %", *(title for _, title, _ in MEASUREMENTS)),
        tuple(rows),
        caption(of, study, "At the last epoch; mean ± sd over searches, ddof 1, and the value itself where n = 1."),
        (PROBE.format(int(of[0].finals["budget.hessian_images"].iloc[0])),),
    )


def verdicts(runs: Runs, study: Study) -> Table:
    """Every reading of a confirmation study against its DARTS at equal fresh seeds: the only rows with a verdict."""
    of, is_small = arms(runs, study), len(study.seeds) < MINIMUM_PAIRS
    pairs = planned_pairs(of)
    has_ended = all(arm.has_ended for pair in pairs for arm in pair)
    rivals = [other for _, other in pairs]
    beside = [arm for arm in of if arm.is_darts and arm not in rivals and len(arm.accuracy)]
    tests = corrected([compared(runs, study, *pair) for pair in pairs]) if has_ended else []
    verdicts = [(None if is_small else f"{test.p:.3f}", decide(test, len(tests)).verdict) for test in tests]
    rows: list[tuple[Cell, ...]] = []
    for number, (arm, other) in enumerate(pairs):
        names, result = (arm.name, other.name), _paired(arm.accuracy, other.accuracy)
        decided = verdicts[number] if has_ended else (None, "not finished")
        rows.append((*names, "mean of trainings", *_cells(result), *decided))
        for trial in TRIALS:
            single = partial(_single, space=study.space, trial=trial)
            result = _paired(arm.by_seed(single), other.by_seed(single))
            rows.append((*names, f"training {trial}", *_cells(result), None, None))
        for further in beside:
            result = _paired(arm.accuracy, further.accuracy)
            rows.append((arm.name, further.name, "mean of trainings", *_cells(result), None, None))
    return Table(
        f"{study.name}-verdicts",
        f"Readings against DARTS on fresh seeds ({study.name})",
        (
            "reading", "against", "accuracy", "pairs", "mean difference ± sd", "95 % interval", "better in", "p (Holm)",
            "BaLeNAS before DARTS",
        ),
        tuple(rows),
        caption(of, study, "CIFAR-10 test accuracy in points."),
        (
            CONFIRMED.format(len(pairs), statistics.margin(study.space)),
            *(BESIDE.format(further.name) for further in beside),
            *([TOO_FEW.format(len(study.seeds), MINIMUM_PAIRS)] if is_small else []),
            DIVERGED,
            *runs.omissions,
        ),
    )  # fmt: skip


def _paired(first: pd.Series, second: pd.Series) -> statistics.Paired | None:
    """At the seeds that both have a value for; None if there is none."""
    both = pd.DataFrame({"a": first, "b": second}).dropna()
    return None if both.empty else statistics.paired(both["a"], both["b"])


def _cells(result: statistics.Paired | None) -> tuple[Cell, ...]:
    return (0, None, None, None) if result is None else (result.n, *mean_difference(result), result.better_in)


def _single(finals: pd.DataFrame, space: str, trial: int) -> pd.Series:
    cells = [spaces.get(space).decode(str(name)) for name in finals["architecture"]]
    values = regression.load(space).accuracy(
        cells, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200, reduction=Seed(trial)
    )
    return pd.Series(values)


def caption(of: Sequence[Arm], study: Study, extra: str) -> str:
    """Space, tier, images and how many seeds have ended, before ``extra``."""
    example = next(arm.finals.iloc[0] for arm in of if len(arm.finals))
    n = span(len(arm.accuracy) for arm in of)
    seeds = f"n = {n} of the seeds {min(study.seeds)} to {max(study.seeds)} ended"
    return f"{study.space}, {describe(example)}; {seeds}. {extra}"
