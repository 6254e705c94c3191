"""A study's tables and its rule, on invented runs whose cells are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.testing.compare import compare_images

from analysis import figures, make_study, regression, rendering, runs
from analysis.rendering import MeanSd, Table
from analysis.tables import study as tables
from benchmarks import spaces
from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, Seed, Split
from benchmarks.spec import RunRecord, Status
from benchmarks.store import Store
from benchmarks.studies import STUDIES, Row, Study
from tests.analysis.conftest import record

ROOT = Path(__file__).resolve().parents[2]
SPACE = "nas-bench-201"
BOTH = ("darts-1st", "balenas-1st")
MADE_UP = Study(
    name="made-up",
    space=SPACE,
    tier="quick",
    seeds=(0, 1, 2, 3),
    rows=(
        Row("shared", "the defaults", BOTH),
        Row("reading", "N", ("balenas-1st@data_size=4096",)),
        Row("reading", "delta", ("balenas-1st@prior_precision=10",)),
        Row("shared", "rate", BOTH, {"arch_lr": 0.3}),
        Row("control", "fixed", ("balenas-1st@optimizer=adam-fixed-noise",)),
    ),
)
RANKED = np.argsort(regression.load(SPACE).column(**regression.keywords(SPACE, "cifar10_test")))
"""Table rows from the worst CIFAR-10 test accuracy to the best."""


def ending_at(made: RunRecord, rank: float, **budget: float) -> RunRecord:
    """The run with a last cell of that rank (0 the worst, 1 the best), at a changed budget."""
    space, table = spaces.get(SPACE), regression.load(SPACE)
    cell = tuple(int(op) for op in table.architectures[RANKED[round(rank * (len(RANKED) - 1))]])
    last = dict(made.rows[-1]) | {"architecture": space.encode(cell)} | dict(table.accuracies(cell))
    last |= {f"count_{name}": n for name, n in space.operation_counts(cell).items()}
    spec = replace(made.spec, budget=replace(made.spec.budget, **budget))  # type: ignore[arg-type]
    return replace(made, spec=spec, rows=(*made.rows[:-1], last))


def store_of(folder: Path, ranks: dict[tuple[str, float], Sequence[float]], first_seed: int = 0) -> runs.Runs:
    """Runs by (method, architecture rate), one a rank."""
    store = Store(folder)
    for (method, rate), of_seed in ranks.items():
        for seed, rank in enumerate(of_seed, first_seed):
            store.append(ending_at(record(method, SPACE, seed), rank, arch_lr=rate))
    return runs.load([folder])


USUAL = 3e-2
EVERY = {
    ("darts-1st", USUAL): (0.5, 0.5, 0.6, 0.6),
    ("balenas-1st", USUAL): (0.4, 0.4, 0.4, 0.4),
    ("balenas-1st@data_size=4096", USUAL): (0.7, 0.7, 0.7, 0.5),
    ("balenas-1st@prior_precision=10", USUAL): (0.9, 0.9, 0.9, 0.9),
    ("darts-1st", 0.3): (0.8, 0.8, 0.8, 0.8),
    ("balenas-1st", 0.3): (0.75, 0.75, 0.75, 0.75),
    ("balenas-1st@optimizer=adam-fixed-noise", USUAL): (1.0, 1.0, 1.0, 1.0),
}


def test_the_rule_selects_readings_above_darts_with_the_same_knobs(tmp_path: Path) -> None:
    arms = tables.arms(store_of(tmp_path, EVERY), MADE_UP)
    readings, darts = tables.selected(arms, MADE_UP.seeds)
    # The control is best and the row at another rate beats DARTS's defaults, but not DARTS at that rate.
    assert [arm.method for arm in readings] == ["balenas-1st@prior_precision=10", "balenas-1st@data_size=4096"]
    assert (darts.method, darts.row.question) == ("darts-1st", "rate")


def test_the_rule_waits_for_every_run_and_leaves_out_what_failed(tmp_path: Path) -> None:
    part = {key: ranks for key, ranks in EVERY.items() if "prior" not in key[0]}
    loaded = store_of(tmp_path, part)
    with pytest.raises(UserError, match="1 rows lack runs, the first BaLeNAS"):
        tables.selected(tables.arms(loaded, MADE_UP), MADE_UP.seeds)
    for seed in MADE_UP.seeds:
        ended = Status.DIVERGED if seed == 2 else Status.DONE
        Store(tmp_path).append(ending_at(record("balenas-1st@prior_precision=10", SPACE, seed, status=ended), 1.0))
    arms = tables.arms(runs.load([tmp_path]), MADE_UP)
    assert [arm.method for arm in tables.selected(arms, MADE_UP.seeds)[0]] == ["balenas-1st@data_size=4096"]
    row = next(row for row in tables.outcomes(arms, MADE_UP).rows if row[1] == "delta")
    assert row[4] == 3 and row[6] == "diverged"


def test_outcomes_say_what_changed_and_compare_with_darts(tmp_path: Path) -> None:
    loaded = store_of(tmp_path, EVERY)
    arms = tables.arms(loaded, MADE_UP)
    table = tables.outcomes(arms, MADE_UP)
    assert len(table.rows) == 7
    rate = table.rows[5]
    assert rate[:5] == ("shared", "rate", "BaLeNAS (1st)", "arch_lr=0.3", 4)
    ours, darts = (loaded.finals.query(f"method == '{m}' and `budget.arch_lr` == 0.3") for m in BOTH[::-1])
    difference = (ours.set_index("seed")["cifar10_test"] - darts.set_index("seed")["cifar10_test"]).mean()
    assert rate[-2:] == (f"{difference:+.2f}", "0 of 4")
    assert rate[7] == MeanSd.of(ours["cifar10_test"])
    assert table.rows[4][-2] is None  # DARTS is compared with nothing
    assert "n = 4 of the seeds 0 to 3 finished" in table.caption and "quick tier" in table.caption


def test_measurements_leave_out_rows_without_runs(tmp_path: Path) -> None:
    part = {key: ranks for key, ranks in EVERY.items() if key[0] in BOTH}
    table = tables.measurements(tables.arms(store_of(tmp_path, part), MADE_UP), MADE_UP)
    assert [row[1] for row in table.rows] == [
        "DARTS (1st)", "BaLeNAS (1st)", "DARTS (1st) with arch_lr=0.3", "BaLeNAS (1st) with arch_lr=0.3",
    ]  # fmt: skip
    sigma = table.columns.index("mean sigma")
    assert [str(row[sigma]) for row in table.rows[:2]] == ["0.000 ± 0.000", "0.200 ± 0.000"]


CONFIRMING = replace(
    MADE_UP,
    name="confirming",
    seeds=tuple(range(100, 108)),
    rows=(Row("shared", "DARTS", ("darts-1st",)), MADE_UP.rows[1], MADE_UP.rows[2]),
)


def confirmed(tmp_path: Path, n: int) -> Table:
    ranks = {
        ("darts-1st", USUAL): np.linspace(0.5, 0.6, n),
        ("balenas-1st@data_size=4096", USUAL): np.linspace(0.7, 0.8, n),
        ("balenas-1st@prior_precision=10", USUAL): np.linspace(0.2, 0.1, n),
    }
    arms = tables.arms(store_of(tmp_path, {k: list(v) for k, v in ranks.items()}, 100), CONFIRMING)
    table = tables.verdicts(arms, CONFIRMING)
    assert table is not None
    return table


def test_verdicts_need_fresh_seeds_enough_and_carry_holm(tmp_path: Path) -> None:
    table = confirmed(tmp_path, 8)
    means = [row for row in table.rows if row[2] == "mean of trainings"]
    assert [row[-1] for row in means] == ["BaLeNAS before DARTS", "DARTS before BaLeNAS"]
    assert [row[-2] for row in means] == ["0.016", "0.016"]  # 2 / 2^8 each, twice over by Holm
    assert all(row[-1] is None for row in table.rows if row not in means)
    assert "over 2 comparisons" in table.notes[0]


def test_few_pairs_decide_nothing(tmp_path: Path) -> None:
    assert {row[-1] for row in confirmed(tmp_path, 5).rows} == {"undecided", None}


def test_single_trainings_are_those_of_the_table(tmp_path: Path) -> None:
    table = confirmed(tmp_path, 8)
    loaded, ground = runs.load([tmp_path]), regression.load(SPACE)
    keywords = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 200, "reduction": Seed(777)}
    single = {
        method: [ground.accuracy(spaces.get(SPACE).decode(cell), **keywords) for cell in frame["architecture"]]
        for method, frame in loaded.finals.sort_values("seed").groupby("method")
    }
    pairs = zip(single["balenas-1st@data_size=4096"], single["darts-1st"], strict=True)
    differences = [a - b for a, b in pairs if a is not None and b is not None]
    row = next(row for row in table.rows if row[2] == "training 777")
    assert row[3] == len(differences)
    assert str(row[4]) == str(MeanSd.of(differences))


def test_the_command_line(tmp_path: Path, make_store, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_store(methods=("random",), seeds=1)
    assert make_study.main(["--results", str(folder), "--output", str(tmp_path)]) == 2
    assert "no finished run of a study" in capsys.readouterr().err


def test_the_committed_study_is_fresh(tmp_path: Path) -> None:
    folder = ROOT / make_study.FOLDER
    loaded = runs.load([folder])
    made, picture = list(make_study.tables(loaded)), make_study.figure(loaded)
    stale = "stale study: run python -m analysis.make_study and commit what changed"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert make_study.BLOCK.replaced(readme, make_study.block(made, picture)) == readme, stale
    for table in made:
        assert (folder / f"{table.name}.csv").read_text() == rendering.comma_separated(table), stale
    fresh = tmp_path / "fresh.png"
    fresh.write_bytes(figures.render(picture, "png"))
    assert compare_images(str(folder / f"{picture.name}.png"), str(fresh), tol=5) is None, stale


def test_every_study_starts_with_darts() -> None:
    for study in STUDIES.values():
        assert study.rows[0].methods[0] == "darts-1st"
