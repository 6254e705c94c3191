"""What the rows of a study came to, which readings its rule sends to confirmation, and how these fared there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import pandas as pd

from analysis import regression, statistics
from analysis.rendering import Cell, MeanSd, Table, span
from analysis.runs import Runs, describe, display, share
from analysis.tables.comparisons import MEASURE, all_skip, better_in, floor, mean_difference
from benchmarks import spaces, tiers
from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, Seed, Split
from benchmarks.spec import Budget, Status
from benchmarks.studies import READING, Row, Study

MOST = 3
"""How many readings are confirmed at most."""
TRIALS = (777, 888, 999)
"""NAS-Bench-201's training seeds at 200 epochs."""
RULE = (
    "Exploration chooses what is run again on fresh seeds, and decides nothing: no row carries a verdict. The rule, "
    "fixed before all runs but those at the defaults and of the second order: of the BaLeNAS rows that are no controls "
    "(a shared knob counts), those whose mean over all seeds is above that of the DARTS they are compared with, the "
    f"{MOST} highest; beside them the row 'shared' of DARTS with the highest mean."
)
AGAINST = (
    "Compared with the DARTS of the same row, and where the row has none, with DARTS at its defaults: rates of rules "
    "that are no Adam have another scale. Differences wait until every seed of both has ended."
)
DIVERGED = "A search that diverges has found nothing and counts as 0 %."
COLLAPSED = "Collapsed: skip connections only, or below the space's 5th percentile ({:.2f} %)."
CONFIRMED = (
    "Exact two-sided Wilcoxon signed-rank tests of mean accuracies, Holm-corrected over all {} readings; bootstrap "
    "intervals. No verdict before every seed of every row has ended. Rows of single trainings carry none: they show "
    "how far it hangs on the means. A cell that was not trained with a seed is left out of that row."
)
MEASUREMENTS = (
    ("sigma_mean", "mean sigma", 3),
    ("entropy_mean", "entropy", 3),
    ("probability_of_mean", "P(draw = mean's cell)", 2),
    ("hessian_spectral_norm", "Hessian norm", 2),
    ("hessian_posterior_spectral_norm", "Hessian norm, posterior", 2),
    ("gap_measured", "discretisation gap (nats)", 2),
    ("noise_measured", "E_q[L] - L(mu) (nats)", 4),
    ("noise_predicted", "half sum of sigma^2 H_ii", 4),
)
Values = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True, eq=False)
class Arm:
    """One method of one row.

    Attributes:
        row: the row.
        method: its name with hyper-parameters.
        seeds: the study's.
        finals: last rows of its finished runs, by seed.
        diverged: seeds of its diverged runs. Runs that failed otherwise are no answer and will be tried again.
    """

    row: Row
    method: str
    seeds: tuple[int, ...]
    finals: pd.DataFrame
    diverged: tuple[int, ...]

    @property
    def is_darts(self) -> bool:
        """Whether the method is DARTS."""
        return self.method.startswith("darts")

    @property
    def base(self) -> str:
        """The method as tables print it."""
        return display(self.method.partition("@")[0])

    @property
    def settings(self) -> str:
        """What differs from the defaults, in the command line's words."""
        shared = [f"{name}={value:g}" for name, value in self.row.budget.items()]
        return ", ".join(filter(None, [*self.method.partition("@")[2].split(","), *shared]))

    @property
    def name(self) -> str:
        """Method and settings in one."""
        return f"{self.base} with {self.settings}" if self.settings else self.base

    @property
    def accuracy(self) -> pd.Series:
        """CIFAR-10 test accuracy (%) by seed, of every run that has ended; 0 for a diverged one."""
        return self.by_seed(lambda finals: finals[MEASURE])

    @property
    def has_ended(self) -> bool:
        """Whether every seed has a result."""
        return len(self.accuracy) == len(self.seeds)

    def bounds(self, best: float) -> tuple[float, float]:
        """Between what its mean over all seeds lies, whatever its missing runs find; ``best`` is the space's (%)."""
        found, missing = float(self.accuracy.sum()), len(self.seeds) - len(self.accuracy)
        return found / len(self.seeds), (found + missing * best) / len(self.seeds)

    def by_seed(self, values: Values) -> pd.Series:
        """Some accuracy (%) of the finished runs by seed, and 0 for diverged ones."""
        found = pd.Series(values(self.finals).to_numpy(float), index=self.finals["seed"].astype(int))
        lost = pd.Series(0.0, index=list(self.diverged))
        return pd.Series(pd.concat([found, lost]) if len(lost) else found).sort_index()


def arms(runs: Runs, study: Study) -> list[Arm]:
    """Every method of every row with the runs that a store has of it, none included.

    Raises:
        UserError: a seed that was run twice, for instance on two copies of the images.
    """
    found = []
    usual = tiers.budget(study.tier, study.space)
    for row in study.rows:
        budget = replace(usual, **row.budget)  # type: ignore[arg-type]
        for method in row.methods:
            finals, failed = (_of(frame, study, method, budget) for frame in (runs.finals, runs.failed))
            diverged = failed.loc[failed["status"] == Status.DIVERGED, "seed"].astype(int)
            arm = Arm(row, method, study.seeds, finals.sort_values("seed"), tuple(diverged))
            if not arm.accuracy.index.is_unique:
                raise UserError(f"{arm.name} has two runs at a seed: name a results folder that has one of them")
            found.append(arm)
    return found


def _of(frame: pd.DataFrame, study: Study, method: str, budget: Budget) -> pd.DataFrame:
    chosen = (frame["method"] == method) & (frame["space"] == study.space) & frame["seed"].isin(study.seeds)
    for name, value in asdict(budget).items():
        chosen &= frame[f"budget.{name}"] == value
    return frame[chosen]


def rival(arm: Arm, of: Sequence[Arm]) -> Arm:
    """The DARTS that an arm is compared with: of the same row if that has one, else of the first row."""
    rows = [other for other in of if other.is_darts]
    return next((other for other in rows if other.row is arm.row), rows[0])


def selected(of: Sequence[Arm], best: float) -> tuple[list[Arm], Arm]:
    """What ``RULE`` sends to confirmation: readings, best first, and DARTS at its best shared setting.

    The choice stands as soon as no missing run can change it, so that hopeless rows need not be waited for.

    Args:
        of: every arm of the study.
        best: the space's best accuracy (%), which bounds what a missing run can find.

    Raises:
        UserError: missing runs can still change it.
    """
    bounds = {arm: arm.bounds(best) for arm in of}
    candidates = []
    for arm in of:
        if arm.is_darts or arm.row.kind == "control":
            continue
        (low, high), (low_of_rival, high_of_rival) = bounds[arm], bounds[rival(arm, of)]
        if high > low_of_rival:  # it can be above
            candidates.append((arm, low > high_of_rival))
    readings = _highest([arm for arm, _ in candidates], MOST, bounds)
    if unsure := [arm for arm, is_above in candidates if arm in readings and not is_above]:
        raise UserError(f"missing runs decide whether {unsure[0].name} is above {rival(unsure[0], of).name}")
    shared = [arm for arm in of if arm.is_darts and arm.row.kind == "shared"]
    return readings, _highest(shared, 1, bounds)[0]


def _highest(candidates: Sequence[Arm], n: int, bounds: Mapping[Arm, tuple[float, float]]) -> list[Arm]:
    order = sorted(candidates, key=lambda arm: -bounds[arm][0])
    chosen, others = order[:n], order[n:]
    for arm in others:
        if bounds[arm][1] > bounds[chosen[-1]][0]:
            raise UserError(f"missing runs decide whether {arm.name} or {chosen[-1].name} is higher")
    return chosen


def outcomes(runs: Runs, study: Study) -> Table:
    """Accuracy of every arm, seed by seed, and its difference to DARTS."""
    of, low = arms(runs, study), floor(study.space)
    rows: list[tuple[Cell, ...]] = []
    for arm in of:
        values, other = arm.accuracy, rival(arm, of)
        compared = not arm.is_darts and arm.has_ended and other.has_ended
        differences = values - other.accuracy
        finals = arm.finals[MEASURE].to_numpy(float)
        collapses = statistics.collapse_rate(finals, floor=low, all_skip=all_skip(arm.finals)) if len(finals) else None
        rows.append(
            (
                arm.row.kind,
                arm.row.question,
                arm.base,
                arm.settings or None,
                len(values),
                ", ".join(_printed(arm, seed) for seed in study.seeds),
                MeanSd.of(values) if len(values) > 1 else None,
                f"{collapses.count} of {collapses.n}" if collapses else None,
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
            *([RULE, _sent(of, study.space)] if study is READING else []),
            AGAINST,
            DIVERGED,
            COLLAPSED.format(low),
            *_superseded(runs),
        ),
    )  # fmt: skip


def _printed(arm: Arm, seed: int) -> str:
    if seed in arm.diverged:
        return "diverged"
    return f"{arm.accuracy[seed]:.2f}" if seed in arm.accuracy.index else "-"


def _sent(of: Sequence[Arm], space: str) -> str:
    best = float(regression.load(space).column(**regression.keywords(space, MEASURE)).max())
    try:
        readings, darts = selected(of, best)
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
            if name == "sigma_mean":  # a method without a posterior has no sigma, rather than one of 0
                values = values[values > 0]
            cells.append(MeanSd.of(values, digits))
        rows.append((arm.row.question, arm.name, len(arm.finals), *cells))
    return Table(
        f"{study.name}-measurements",
        f"What the searches of every row had come to ({study.name})",
        ("change", "method", "n", "skip connections, %", *(title for _, title, _ in MEASUREMENTS)),
        tuple(rows),
        caption(of, study, "At the last epoch; mean ± sd over searches, ddof 1, and the value itself where n = 1."),
        ("Hessians are of the loss of a fixed probe in the architecture parameters, without weight decay.",),
    )


def verdicts(runs: Runs, study: Study) -> Table:
    """Every reading of a confirmation study against its DARTS at equal fresh seeds: the only rows with a verdict."""
    of = arms(runs, study)
    pairs = [(arm, rival(arm, of)) for arm in of if not arm.is_darts]
    all_ended = all(arm.has_ended for arm in of)
    results = [_paired(arm.accuracy, other.accuracy) for arm, other in pairs]
    adjusted = statistics.holm([result.p for result in results if result]) if all_ended else []
    rows: list[tuple[Cell, ...]] = []
    for number, (arm, other) in enumerate(pairs):
        names, result = (arm.name, other.name), results[number]
        decided = (f"{adjusted[number]:.3f}", _verdict(result, adjusted[number])) if all_ended and result else None
        rows.append((*names, "mean of trainings", *_cells(result), *(decided or (None, "not finished"))))
        for trial in TRIALS:
            single = partial(_single, space=study.space, trial=trial)
            result = _paired(arm.by_seed(single), other.by_seed(single))
            rows.append((*names, f"training {trial}", *_cells(result), None, None))
    return Table(
        f"{study.name}-verdicts",
        f"Readings against DARTS on fresh seeds ({study.name})",
        (
            "reading", "against", "accuracy", "pairs", "mean difference ± sd", "95 % interval", "better in", "p (Holm)",
            "verdict",
        ),
        tuple(rows),
        caption(of, study, "CIFAR-10 test accuracy in points."),
        (CONFIRMED.format(len(pairs)), DIVERGED, *_superseded(runs)),
    )  # fmt: skip


def _verdict(result: statistics.Paired, p: float) -> str:
    if result.n < statistics.MINIMUM_PAIRS or p >= statistics.ALPHA:
        return "undecided"
    return "BaLeNAS before DARTS" if result.direction > 0 else "DARTS before BaLeNAS"


def _paired(first: pd.Series, second: pd.Series) -> statistics.Paired | None:
    """At the seeds that both have a value for; None if there is none."""
    both = pd.DataFrame({"a": first, "b": second}).dropna()
    return None if both.empty else statistics.paired(both["a"], both["b"])


def _cells(result: statistics.Paired | None) -> tuple[Cell, ...]:
    return (0, None, None, None) if result is None else (result.n, *mean_difference(result), better_in(result))


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


def _superseded(runs: Runs) -> list[str]:
    return [f"{runs.superseded} run(s) of older numerics are left out."] if runs.superseded else []
