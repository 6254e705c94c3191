"""What a study's runs came to, method by method, and the rule that chooses what is run again on fresh seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from analysis import regression
from analysis.runs import MEASURE, Runs, display
from benchmarks.errors import UserError
from benchmarks.spec import Budget, Status
from benchmarks.studies import Row, Study

MOST = 3
"""How many readings are confirmed at most."""
RULE = (
    "Exploration chooses what is run again on fresh seeds, and decides nothing: no row carries a verdict. The rule: "
    "of the BaLeNAS rows that are no controls (a shared knob counts), those whose mean over all seeds is above that of "
    f"the DARTS they are compared with, the {MOST} highest; beside them the row 'shared' of DARTS with the highest "
    "mean; of equal means the one that stands first in the table."
)
_ORIGIN = ["images", "compute.device", "compute.precision", "compute.compile", "compute.together"]
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
    def has_sigma(self) -> bool:
        """Whether its architecture parameters have a spread. Operation weights that are drawn at random are no such."""
        return not (self.is_darts or "optimizer=adam-uniform-weights" in self.method)

    @property
    def base(self) -> str:
        """The method as tables print it. A control runs BaLeNAS's loop without being it."""
        return "Control" if self.row.kind == "control" else display(self.method.partition("@")[0])

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
        UserError: a seed that was run twice, or runs on two copies of the images or two kinds of device.
    """
    found, origins = [], set[tuple[str, ...]]()
    for row in study.rows:
        for method in row.methods:
            finals, failed = (_of(frame, study, method, study.budget(row)) for frame in (runs.finals, runs.failed))
            diverged = failed.loc[failed["status"] == Status.DIVERGED, "seed"].astype(int)
            arm = Arm(row, method, study.seeds, finals.sort_values("seed"), tuple(diverged))
            if not arm.accuracy.index.is_unique:
                raise UserError(f"{arm.name} has two runs at a seed: name a results folder that has one of them")
            found.append(arm)
            origins |= {tuple(map(str, row)) for row in pd.concat([finals, failed])[_ORIGIN].to_numpy()}
    if len(origins) > 1:
        raise UserError(
            f"runs of the study {study.name} differ in images or in how they were computed "
            f"({'; '.join(' '.join(origin) for origin in sorted(origins))}): name a results folder that has one of them"
        )
    return found


def _of(frame: pd.DataFrame, study: Study, method: str, budget: Budget) -> pd.DataFrame:
    chosen = (frame["method"] == method) & (frame["space"] == study.space) & frame["seed"].isin(study.seeds)
    for name, value in asdict(budget).items():
        chosen &= frame[f"budget.{name}"] == value
    return frame[chosen]


def optimum(space: str) -> float:
    """The space's highest accuracy (%), which no run can exceed."""
    return regression.load(space).optimum(**regression.keywords(space, MEASURE)).value


def rival(arm: Arm, of: Sequence[Arm]) -> Arm:
    """The DARTS that an arm is compared with: of the same row if that has one, else of the first row."""
    rows = [other for other in of if other.is_darts]
    return next((other for other in rows if other.row is arm.row), rows[0])


def planned_pairs(of: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Every arm but those of DARTS with its ``rival``: what a confirmation gives verdicts on."""
    return [(arm, rival(arm, of)) for arm in of if not arm.is_darts]


def selected(of: Sequence[Arm], best: float) -> tuple[list[Arm], Arm]:
    """What ``RULE`` sends to confirmation: readings, best first, and DARTS at its best shared setting.

    The choice stands as soon as no missing run can change it, so that hopeless rows need not be waited for.

    Args:
        of: every arm of the study.
        best: the space's ``optimum`` (%), which bounds what a missing run can find.

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
    order = sorted(candidates, key=lambda arm: -bounds[arm][0])  # stable: of equals, the first of the table
    chosen, others = order[:n], order[n:]
    for arm in others:
        low, high = bounds[arm]
        if low < high >= bounds[chosen[-1]][0]:
            raise UserError(f"missing runs decide whether {arm.name} or {chosen[-1].name} is higher")
    return chosen
