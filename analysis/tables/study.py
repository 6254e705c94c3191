"""What the rows of a study came to, which readings its rule sends to confirmation, and how these fared there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from analysis import regression, statistics
from analysis.rendering import Cell, MeanSd, Table
from analysis.runs import Runs, describe, display
from analysis.tables.comparisons import COLLAPSED, MEASURE, all_skip, floor
from benchmarks import spaces, tiers
from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, Seed, Split
from benchmarks.spec import Budget
from benchmarks.studies import READING, Row, Study

MOST = 3
"""How many readings are confirmed at most."""
TRIALS = (777, 888, 999)
"""NAS-Bench-201's training seeds at 200 epochs."""
EXPLORATION = (
    "Exploration chooses what is run again on fresh seeds, and decides nothing: no row here carries a verdict. The "
    "rule, fixed before the runs: of the BaLeNAS rows that are no controls, those whose mean is above that of DARTS "
    f"with the same knobs, the {MOST} best; beside them DARTS at its best shared setting."
)
CONFIRMED = (
    "Exact two-sided Wilcoxon signed-rank tests, Holm-corrected over {} comparisons; bootstrap intervals. No verdict "
    f"on fewer than {statistics.MINIMUM_PAIRS} pairs."
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


@dataclass(frozen=True)
class Arm:
    """One method of one row.

    Attributes:
        row: the row.
        method: its name with hyper-parameters.
        finals: last rows of its finished runs, by seed.
        unfinished: how its other runs ended, e.g. ``diverged``.
    """

    row: Row
    method: str
    finals: pd.DataFrame
    unfinished: tuple[str, ...]

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
        """CIFAR-10 test accuracy (%) by seed."""
        return self.finals.set_index("seed")[MEASURE].astype(float)


def arms(runs: Runs, study: Study) -> list[Arm]:
    """Every method of every row with the runs that a store has of it, none included."""
    found = []
    usual = tiers.budget(study.tier, study.space)
    for row in study.rows:
        budget = replace(usual, **row.budget)  # type: ignore[arg-type]
        for method in row.methods:
            finals, failed = (_of(frame, study, method, budget) for frame in (runs.finals, runs.failed))
            found.append(Arm(row, method, finals.sort_values("seed"), tuple(failed["status"])))
    return found


def _of(frame: pd.DataFrame, study: Study, method: str, budget: Budget) -> pd.DataFrame:
    chosen = (frame["method"] == method) & (frame["space"] == study.space) & frame["seed"].isin(study.seeds)
    for name, value in asdict(budget).items():
        chosen &= frame[f"budget.{name}"] == value
    return frame[chosen]


def rival(arm: Arm, of: Sequence[Arm]) -> Arm:
    """DARTS with the same knobs: of the same row if that has one, else of the first row (the defaults)."""
    rows = [other for other in of if other.is_darts]
    return next((other for other in rows if other.row is arm.row), rows[0])


def selected(of: Sequence[Arm], seeds: Sequence[int]) -> tuple[list[Arm], Arm]:
    """The readings to confirm, best first, and DARTS at its best shared setting.

    Raises:
        UserError: runs are missing.
    """
    missing = [arm for arm in of if len(arm.finals) + len(arm.unfinished) < len(seeds)]
    if missing:
        raise UserError(f"{len(missing)} rows lack runs, the first {missing[0].name}: finish the exploration first")
    whole = [arm for arm in of if not arm.unfinished]
    candidates = [arm for arm in whole if not arm.is_darts and arm.row.kind != "control"]
    better = [arm for arm in candidates if arm.accuracy.mean() > rival(arm, of).accuracy.mean()]
    shared = [arm for arm in whole if arm.is_darts and arm.row.kind == "shared"]
    order = sorted(better, key=lambda arm: -arm.accuracy.mean())
    return order[:MOST], max(shared, key=lambda arm: arm.accuracy.mean())


def outcomes(of: Sequence[Arm], study: Study) -> Table:
    """Accuracy of every arm, seed by seed, and its difference to DARTS with the same knobs."""
    low = floor(study.space)
    rows: list[tuple[Cell, ...]] = []
    for arm in of:
        values, other = arm.accuracy, rival(arm, of).accuracy
        both = values.index.intersection(other.index)
        differences = (values[both] - other[both]).to_numpy()
        compared = not arm.is_darts and len(both) > 0
        collapses = np.sum((values.to_numpy() < low) | all_skip(arm.finals)) if len(values) else 0
        rows.append(
            (
                arm.row.kind,
                arm.row.question,
                arm.base,
                arm.settings or None,
                len(values),
                ", ".join(f"{value:.2f}" for value in values) or None,
                ", ".join(arm.unfinished) or None,
                MeanSd.of(values),
                f"{collapses} of {len(values)}" if len(values) else None,
                f"{differences.mean():+.2f}" if compared else None,
                f"{(differences > 0).sum()} of {len(both)}" if compared else None,
            )
        )
    return Table(
        f"{study.name}-outcomes",
        f"CIFAR-10 test accuracy of every row ({study.name})",
        (
            "kind", "change", "method", "settings", "n", "each seed", "not finished", "mean ± sd", "collapsed",
            "minus DARTS with the same knobs", "seeds won",
        ),
        tuple(rows),
        _caption(of, study, "Test accuracy in % at 200 epochs; sd with ddof 1."),
        (*([EXPLORATION] if study is READING else []), COLLAPSED.format(low)),
    )  # fmt: skip


def measurements(of: Sequence[Arm], study: Study) -> Table:
    """What the searches of every arm had come to at their last epoch."""
    rows: list[tuple[Cell, ...]] = []
    for arm in (arm for arm in of if len(arm.finals)):
        counts = arm.finals[[name for name in arm.finals if str(name).startswith("count_")]].dropna(axis=1)
        cells = [MeanSd.of(100 * counts["count_skip_connect"] / counts.sum(axis=1), 0)]
        for name, _, digits in MEASUREMENTS:
            cells.append(MeanSd.of(arm.finals[name].astype(float), digits) if name in arm.finals else None)
        rows.append((arm.row.question, arm.name, len(arm.finals), *cells))
    return Table(
        f"{study.name}-measurements",
        f"What the searches of every row had come to ({study.name})",
        ("change", "method", "n", "skip connections, %", *(title for _, title, _ in MEASUREMENTS)),
        tuple(rows),
        _caption(of, study, "At the last epoch; mean ± sd over searches, ddof 1."),
        ("Hessians are of the loss of a fixed probe in the architecture parameters, without weight decay.",),
    )


def verdicts(of: Sequence[Arm], study: Study) -> Table | None:
    """Every reading against every DARTS of a confirmation study, at equal fresh seeds: the only rows with a verdict.

    Holm's correction goes over all of the table's comparisons of mean accuracies. Rows of single trainings of
    NAS-Bench-201 show how far the verdict hangs on its means, and carry none.
    """
    pairs = [(arm, other) for arm in of if not arm.is_darts for other in of if other.is_darts]
    pairs = [(arm, other) for arm, other in pairs if len(_both(arm, other, _means)[0])]
    if not pairs:
        return None
    found = [statistics.paired(*_both(arm, other, _means)) for arm, other in pairs]
    rows: list[tuple[Cell, ...]] = []
    for (arm, other), result, p in zip(pairs, found, statistics.holm([f.p for f in found]), strict=True):
        verdict = "undecided"
        if result.n >= statistics.MINIMUM_PAIRS and p < statistics.ALPHA:
            verdict = "BaLeNAS before DARTS" if result.direction > 0 else "DARTS before BaLeNAS"
        rows.append((arm.name, other.name, "mean of trainings", *_paired(result), f"{p:.3f}", verdict))
        for trial in TRIALS:
            first, second = _both(arm, other, partial(_single, space=study.space, trial=trial))
            if len(first):
                single = statistics.paired(first, second)
                rows.append((arm.name, other.name, f"training {trial}", *_paired(single), None, None))
    return Table(
        f"{study.name}-verdicts",
        f"Readings against DARTS on fresh seeds ({study.name})",
        (
            "reading", "against", "accuracy", "pairs", "mean difference ± sd", "95 % interval", "better in", "p (Holm)",
            "verdict",
        ),
        tuple(rows),
        _caption(of, study, "CIFAR-10 test accuracy in points."),
        (
            CONFIRMED.format(len(pairs)),
            "A cell that NAS-Bench-201 did not train with a seed is left out of that seed's row.",
        ),
    )  # fmt: skip


def _paired(result: statistics.Paired) -> Iterator[Cell]:
    yield result.n
    yield MeanSd(result.mean, None if np.isnan(result.sd) else result.sd)
    yield f"{result.interval.low:.2f} to {result.interval.high:.2f}"
    yield f"{result.wins} of {result.n}" + (f", {result.ties} equal" if result.ties else "")


def _both(arm: Arm, other: Arm, values: Callable[[pd.DataFrame], pd.Series]) -> tuple[np.ndarray, np.ndarray]:
    table = pd.DataFrame({"a": values(arm.finals), "b": values(other.finals)}).dropna()
    return table["a"].to_numpy(float), table["b"].to_numpy(float)


def _means(finals: pd.DataFrame) -> pd.Series:
    return finals.set_index("seed")[MEASURE]


def _single(finals: pd.DataFrame, space: str, trial: int) -> pd.Series:
    cells = [spaces.get(space).decode(str(name)) for name in finals["architecture"]]
    values = regression.load(space).accuracy(
        cells, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200, reduction=Seed(trial)
    )
    return pd.Series(values, index=finals["seed"])


def _caption(of: Sequence[Arm], study: Study, extra: str) -> str:
    counts = [len(arm.finals) for arm in of]
    example = next(arm.finals.iloc[0] for arm in of if len(arm.finals))
    n = str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    seeds = f"n = {n} of the seeds {min(study.seeds)} to {max(study.seeds)} finished"
    return f"{study.space}, {describe(example)}; {seeds}. {extra}"
