"""A study's tables and its rule, on invented runs whose cells are chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from analysis import claims, figures, make_study, published, regression, rendering, runs, statistics, study
from analysis.claims import Claim, Finding, confirmation
from analysis.rendering import MeanSd, Table
from analysis.tables import comparisons
from analysis.tables import study as tables
from benchmarks import spaces
from benchmarks.errors import UserError
from benchmarks.ground_truth import Dataset, Seed, Split
from benchmarks.spec import Compute, RunRecord, Status
from benchmarks.store import Store
from benchmarks.studies import STUDIES, Row, Study
from tests.analysis.conftest import record

ROOT = Path(__file__).resolve().parents[2]
SPACE = "nas-bench-201"
BOTH = ("darts-1st", "balenas-1st")
MADE_UP = Study(
    name="made-up",
    space=SPACE,
    tier="cpu",
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
            store.append(ending_at(record(method, SPACE, seed, "cpu"), rank, arch_lr=rate))
    return runs.load([folder])


USUAL = 3e-3
BEST = 100.0
EVERY = {
    ("darts-1st", USUAL): (0.5, 0.5, 0.6, 0.6),
    ("balenas-1st", USUAL): (0.4, 0.4, 0.4, 0.4),
    ("balenas-1st@data_size=4096", USUAL): (0.7, 0.7, 0.7, 0.5),
    ("balenas-1st@prior_precision=10", USUAL): (0.9, 0.9, 0.9, 0.9),
    ("darts-1st", 0.3): (0.8, 0.8, 0.8, 0.8),
    ("balenas-1st", 0.3): (0.75, 0.75, 0.75, 0.75),
    ("balenas-1st@optimizer=adam-fixed-noise", USUAL): (1.0, 1.0, 1.0, 1.0),
}


def test_the_rule_selects_readings_above_the_darts_they_are_compared_with(tmp_path: Path) -> None:
    arms = study.arms(store_of(tmp_path, EVERY), MADE_UP)
    readings, darts = study.selected(arms, BEST)
    # The control is best and the row at another rate beats DARTS's defaults, but not DARTS at that rate.
    assert [arm.method for arm in readings] == ["balenas-1st@prior_precision=10", "balenas-1st@data_size=4096"]
    assert (darts.method, darts.row.question) == ("darts-1st", "rate")


def with_ranks(folder: Path, changed: dict[tuple[str, float], Sequence[float]]) -> list[study.Arm]:
    return study.arms(store_of(folder, EVERY | changed), MADE_UP)


DELTA, N, RATE = ("balenas-1st@prior_precision=10", USUAL), ("balenas-1st@data_size=4096", USUAL), ("darts-1st", 0.3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({DELTA: ()}, "whether BaLeNAS (1st) with prior_precision=10 is above DARTS (1st)"),
        ({("darts-1st", USUAL): (0.5, 0.5)}, "is above DARTS (1st)"),
        ({RATE: (0.8, 0.8, 0.8)}, "whether BaLeNAS (1st) with arch_lr=0.3 is above DARTS (1st) with arch_lr=0.3"),
        ({RATE: (0.8, 0.8, 0.8), ("balenas-1st", 0.3): (0.0,) * 4}, "DARTS (1st) with arch_lr=0.3 or DARTS (1st)"),
    ],
)  # fmt: skip
def test_the_rule_waits_for_runs_that_decide(tmp_path: Path, changed: dict, words: str) -> None:
    of = with_ranks(tmp_path, changed)
    with pytest.raises(UserError, match="missing runs decide") as raised:
        study.selected(of, BEST)
    assert words in str(raised.value)


@pytest.mark.parametrize("seeds", range(5))
def test_whatever_missing_runs_find_an_early_choice_stands(tmp_path: Path, seeds: int) -> None:
    """A reading far below DARTS need not be waited for once its best possible mean is below."""
    hopeless = {DELTA: (0.0,) * seeds, ("darts-1st", USUAL): (0.9,) * 4, N: (1.0,) * 4}
    of = with_ranks(tmp_path, hopeless)
    best = max(arm.accuracy.max() for arm in of)
    try:
        early = [arm.method for arm in study.selected(of, best)[0]]
    except UserError:
        assert seeds < 1
        return
    assert early == ["balenas-1st@data_size=4096"]
    for rank in (0.0, 1.0):
        full = with_ranks(tmp_path / str(rank), hopeless | {DELTA: (0.0,) * seeds + (rank,) * (4 - seeds)})
        assert [arm.method for arm in study.selected(full, best)[0]] == early


FIVE = replace(
    MADE_UP,
    rows=(
        Row("shared", "the defaults", ("darts-1st",)),
        *(Row("reading", f"N = {n}", (f"balenas-1st@data_size={n}",)) for n in (1, 2, 3, 4, 5)),
    ),
)
READINGS = [row.methods[0] for row in FIVE.rows[1:]]


def arm_of(row: Row, accuracies: Sequence[float] | np.ndarray) -> study.Arm:
    """A row whose first seeds ended so."""
    finals = pd.DataFrame({"seed": range(len(accuracies)), runs.MEASURE: np.asarray(accuracies, float)})
    return study.Arm(row, row.methods[0], FIVE.seeds, finals, ())


def five(*of_readings: Sequence[float]) -> list[study.Arm]:
    return [arm_of(row, found) for row, found in zip(FIVE.rows, ((10.0,) * 4, *of_readings), strict=True)]


def test_three_readings_are_sent_at_most() -> None:
    of = five((50.0,) * 4, (90.0,) * 4, (60.0,) * 4, (80.0,) * 4, (70.0,) * 4)
    assert [arm.method for arm in study.selected(of, BEST)[0]] == [READINGS[1], READINGS[3], READINGS[4]]


def test_of_equal_means_the_first_of_the_table_is_sent() -> None:
    of = five((30.0,) * 4, (50.0,) * 4, (90.0,) * 4, (50.0,) * 4, (90.0,) * 4)
    assert [arm.method for arm in study.selected(of, BEST)[0]] == [READINGS[2], READINGS[4], READINGS[1]]


def test_a_missing_run_that_can_draw_level_is_waited_for() -> None:
    """A reading earlier in the table would be sent in place of one that it equals."""
    of = five((BEST,) * 3, (BEST,) * 4, (BEST,) * 4, (BEST,) * 4, (20.0,) * 4)
    with pytest.raises(UserError, match="missing runs decide"):
        study.selected(of, BEST)
    assert len(study.selected(of, BEST - 1)[0]) == 3  # where it cannot draw level, it is not


def test_an_early_choice_is_that_of_every_completion() -> None:
    """Whatever the accuracies, ties among them: the choice stands once it is made."""
    rng, decided = np.random.default_rng(0), 0
    for _ in range(300):
        whole = rng.choice([10.0, 54.3, 94.0], size=(6, 4))
        ended = rng.choice([1, 2, 3, 4], size=6, p=[0.05, 0.05, 0.2, 0.7])
        cut = [(row, values[:n]) for row, values, n in zip(FIVE.rows, whole, ended, strict=True)]
        try:
            early, darts = study.selected([arm_of(*part) for part in cut], best=94.0)
        except UserError:
            continue
        decided += bool((ended < 4).any())
        late, _ = study.selected([*map(arm_of, FIVE.rows, whole)], best=94.0)
        assert {arm.method for arm in early} == {arm.method for arm in late}
        assert darts.method == "darts-1st"
    assert decided >= 20


def test_missing_runs_are_not_compared(tmp_path: Path) -> None:
    part = {key: ranks for key, ranks in EVERY.items() if "prior" not in key[0]}
    loaded = store_of(tmp_path, part)
    table = tables.outcomes(loaded, replace(MADE_UP, seeds=(*MADE_UP.seeds, 4)))
    assert {row[-2] for row in table.rows} == {None}  # no difference before every seed has ended
    assert {row[5].split(", ")[-1] for row in table.rows} == {"-"}
    # A run that failed by no fault of the method is no answer.
    Store(tmp_path).append(ending_at(record("balenas-1st", SPACE, 3, "cpu", status=Status.TIMEOUT), 1.0, arch_lr=USUAL))
    arms = study.arms(runs.load([tmp_path]), MADE_UP)
    assert [arm.has_ended for arm in arms] == [True, False, True, False, True, True, True]


@pytest.mark.parametrize("method", ["balenas-1st@prior_precision=10", "darts-1st"])
def test_a_diverged_run_counts_as_nothing_found(tmp_path: Path, method: str) -> None:
    store_of(tmp_path, EVERY)
    made = ending_at(record(method, SPACE, 2, "cpu", status=Status.DIVERGED), 1.0, arch_lr=USUAL)
    Store(tmp_path).append(made)
    loaded = runs.load([tmp_path])
    arms = study.arms(loaded, MADE_UP)
    arm = next(arm for arm in arms if arm.method == method)
    assert arm.has_ended and arm.accuracy[2] == 0
    readings, _ = study.selected(arms, BEST)
    names = [reading.method for reading in readings]
    if method == "darts-1st":  # its mean falls below that of BaLeNAS at the defaults
        assert names == ["balenas-1st@prior_precision=10", "balenas-1st@data_size=4096", "balenas-1st"]
    else:
        assert names == ["balenas-1st@data_size=4096"]
    row = next(row for row in tables.outcomes(loaded, MADE_UP).rows if row[5].count("diverged"))
    assert row[4] == 4 and row[5].split(", ")[2] == "diverged"
    low = comparisons.floor(SPACE)
    assert row[7] == f"{sum(arm.accuracy < low)} of 4"  # none of these cells has skip connections only
    assert not comparisons.all_skip(arm.finals).any() and arm.accuracy.min() < low


def test_outcomes_say_what_changed_and_compare_with_darts(tmp_path: Path) -> None:
    loaded = store_of(tmp_path, EVERY)
    table = tables.outcomes(loaded, MADE_UP)
    assert len(table.rows) == 7
    rate = table.rows[5]
    assert rate[:5] == ("shared", "rate", "BaLeNAS (1st)", "arch_lr=0.3", 4)
    ours, darts = (loaded.finals.query(f"method == '{m}' and `budget.arch_lr` == 0.3") for m in BOTH[::-1])
    difference = (ours.set_index("seed")["cifar10_test"] - darts.set_index("seed")["cifar10_test"]).mean()
    assert rate[-3:] == ("DARTS (1st) with arch_lr=0.3", f"{difference:+.2f}", "0 of 4")
    assert rate[6] == MeanSd.of(ours["cifar10_test"])
    assert table.rows[4][-3:] == (None, None, None)  # DARTS is compared with nothing
    assert table.rows[3][-3] == "DARTS (1st)"  # no DARTS in its row
    assert "n = 4 of the seeds 0 to 3 ended" in table.caption and "cpu tier" in table.caption


def test_a_seed_that_was_run_twice_is_named(tmp_path: Path) -> None:
    store_of(tmp_path, EVERY)
    made = ending_at(record("darts-1st", SPACE, 0, "cpu"), 0.5, arch_lr=USUAL)
    Store(tmp_path).append(replace(made, spec=replace(made.spec, images="1" * 64)))
    with pytest.raises(UserError, match="two runs at a seed"):
        study.arms(runs.load([tmp_path]), MADE_UP)


@pytest.mark.parametrize("changed", [{"images": "1" * 64}, {"compute": Compute(precision="bfloat16")}])
def test_a_study_mixes_neither_images_nor_devices(tmp_path: Path, changed: dict) -> None:
    """Even where no seed was run twice: the pairs would differ in more than the method."""
    store_of(tmp_path, {("darts-1st", USUAL): (0.5,) * 4})
    for seed in range(4):
        made = ending_at(record("balenas-1st", SPACE, seed, "cpu"), 0.6, arch_lr=USUAL)
        Store(tmp_path).append(replace(made, spec=replace(made.spec, **changed)))
    with pytest.raises(UserError, match="differ in images or in how they were computed") as raised:
        study.arms(runs.load([tmp_path]), MADE_UP)
    assert ("bfloat16" if "compute" in changed else "1" * 64) in str(raised.value)


def test_newer_numerics_replace_only_the_same_budget(tmp_path: Path) -> None:
    store_of(tmp_path, EVERY)
    made = ending_at(record("darts-1st", SPACE, 0, "cpu"), 0.1, arch_lr=0.3)
    newer = replace(made.spec, numerics=made.spec.numerics + 1)
    Store(tmp_path).append(replace(made, spec=newer))
    loaded = runs.load([tmp_path])
    arms = {arm.name: arm for arm in study.arms(loaded, MADE_UP)}
    assert arms["DARTS (1st)"].has_ended
    assert arms["DARTS (1st) with arch_lr=0.3"].accuracy[0] == made.rows[-1]["cifar10_test"]
    assert any("1 run(s) are left out" in note for note in tables.outcomes(loaded, MADE_UP).notes)
    assert arms["DARTS (1st)"].has_sigma is False and arms["BaLeNAS (1st) with data_size=4096"].has_sigma


def test_a_search_that_diverged_with_two_numerics_counts_once(tmp_path: Path) -> None:
    store_of(tmp_path, EVERY)
    lost = record("darts-1st", SPACE, 0, "cpu", status=Status.DIVERGED)
    for numerics in (7, 8):
        Store(tmp_path).append(replace(lost, spec=replace(lost.spec, numerics=numerics)))
    loaded = runs.load([tmp_path])
    (arm, *_) = study.arms(loaded, MADE_UP)
    assert arm.method == "darts-1st" and arm.has_ended and 0 not in arm.diverged and loaded.superseded == 2
    only = tmp_path / "only"
    for numerics in (7, 8):
        Store(only).open().append(replace(lost, spec=replace(lost.spec, numerics=numerics)))
    Store(only).append(record("darts-1st", SPACE, 1, "cpu"))
    (arm, *_) = study.arms(runs.load([only]), MADE_UP)
    assert arm.diverged == (0,)


def test_the_figure_shows_every_search(tmp_path: Path) -> None:
    store_of(tmp_path, EVERY | {DELTA: (0.9, 0.9, 0.9)})
    made = ending_at(record(DELTA[0], SPACE, 3, "cpu", status=Status.DIVERGED), 1.0, arch_lr=USUAL)
    Store(tmp_path).append(made)
    arms = study.arms(runs.load([tmp_path]), MADE_UP)
    axis = figures.study.build(arms, MADE_UP).figure.axes[0]
    drawn = {line.get_ydata()[0]: line.get_xdata() for line in axis.lines if line.get_marker() in "oD"}
    for height, arm in enumerate(reversed(arms)):
        assert np.sort(drawn[height]) == pytest.approx(np.sort(arm.accuracy.clip(lower=figures.study.LOW)))
    assert drawn[3].min() == figures.study.LOW  # prior precision, whose last seed diverged
    means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "|"]
    assert means == pytest.approx([arm.accuracy.mean() for arm in reversed(arms)])


def test_measurements_leave_out_rows_without_runs(tmp_path: Path) -> None:
    part = {key: ranks for key, ranks in EVERY.items() if key[0] in BOTH}
    table = tables.measurements(store_of(tmp_path, part), MADE_UP)
    assert [row[1] for row in table.rows] == [
        "DARTS (1st)", "BaLeNAS (1st)", "DARTS (1st) with arch_lr=0.3", "BaLeNAS (1st) with arch_lr=0.3",
    ]  # fmt: skip
    sigma = table.columns.index("mean sigma")
    assert [str(row[sigma]) for row in table.rows[:2]] == ["None", "0.200 ± 0.000"]


CONFIRMING = replace(
    MADE_UP,
    name="confirming",
    confirms="made-up",
    seeds=tuple(range(100, 108)),
    rows=(Row("shared", "DARTS", ("darts-1st",)), MADE_UP.rows[1], MADE_UP.rows[2]),
)


def confirmed(tmp_path: Path, n: int) -> Table:
    ranks = {
        ("darts-1st", USUAL): np.linspace(0.5, 0.6, 8),
        ("balenas-1st@data_size=4096", USUAL): np.linspace(0.7, 0.8, n),
        ("balenas-1st@prior_precision=10", USUAL): np.linspace(0.2, 0.1, 8),
    }
    return tables.verdicts(store_of(tmp_path, {k: list(v) for k, v in ranks.items()}, 100), CONFIRMING)


def means(table: Table) -> list[tuple[rendering.Cell, ...]]:
    """The planned tests, which alone have a last cell."""
    return [row for row in table.rows if row[-1] is not None]


def test_verdicts_carry_holm(tmp_path: Path) -> None:
    table = confirmed(tmp_path, 8)
    assert [row[-1] for row in means(table)] == ["holds", "does not hold"]
    assert [row[-2] for row in means(table)] == ["0.016", "0.016"]  # 2 / 2^8 each, twice over by Holm
    assert all(row[2] == "mean of trainings" for row in means(table))
    assert all(row[-2:] == (None, None) for row in table.rows if row not in means(table))
    assert "over all 2 readings" in table.notes[0]


def ledger(loaded: runs.Runs) -> list[Finding]:
    changes = [row.question for row in CONFIRMING.rows[1:]]
    entries = [
        Claim(change, "a reading", "Table 1", "confirmed", {"study": "confirming", "change": change}, "readings")
        for change in changes
    ]
    return [finding for _, finding in claims.judge(loaded, entries)]


def test_the_ledger_says_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STUDIES, "confirming", CONFIRMING)
    table = confirmed(tmp_path, 8)
    findings = ledger(runs.load([tmp_path]))
    assert [finding.verdict for finding in findings] == [row[-1] for row in means(table)]
    assert ["p = 0.0156" in finding.evidence for finding in findings] == [True, True]  # 2 / 2^8, twice over by Holm
    assert {finding.n for finding in findings} == {8}
    assert all("Holm over 2" in found.evidence and "not the paper's setting" in found.setting for found in findings)


def test_the_ledger_takes_the_committed_study_where_runs_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STUDIES, "confirming", CONFIRMING)
    monkeypatch.setattr(confirmation, "_committed", lambda: runs.load([tmp_path / "committed"]))
    confirmed(tmp_path / "committed", 8)
    store_of(tmp_path / "other", {("darts-1st", USUAL): (0.5,)})
    assert [finding.verdict for finding in ledger(runs.load([tmp_path / "other"]))] == ["holds", "does not hold"]
    # Runs of the study itself come first, however few.
    store_of(tmp_path / "other", {("darts-1st", USUAL): (0.5,)}, 100)
    found = ledger(runs.load([tmp_path / "other"]))
    assert {(finding.verdict, finding.n) for finding in found} == {("undecided", None)}
    names = "BaLeNAS (1st) with data_size=4096; BaLeNAS (1st) with prior_precision=10; DARTS (1st)"
    assert f"the study lacks runs of {names}" in found[0].evidence


@pytest.mark.parametrize("change", ["no such row", "two in one"])
def test_a_claim_names_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    two = Row("reading", "two in one", tuple(f"balenas-1st@data_size={n}" for n in (1, 2)))
    monkeypatch.setitem(STUDIES, "confirming", replace(CONFIRMING, rows=(CONFIRMING.rows[0], two)))
    ranks = {(method, USUAL): (0.5,) * 8 for method in ("darts-1st", *two.methods)}
    with pytest.raises(UserError, match=f"readings named '{change}', the claim needs one"):
        confirmation.confirmed(store_of(tmp_path, ranks, 100), study="confirming", change=change)


def test_no_verdict_while_runs_are_missing(tmp_path: Path) -> None:
    table = confirmed(tmp_path, 7)  # enough for a test, and not what was planned
    assert [row[3] for row in means(table)] == [7, 8]
    assert {row[-2:] for row in means(table)} == {(None, "not finished")}


@pytest.mark.parametrize("seeds", [0, 1, 8])
def test_darts_beside_the_readings_has_no_part_in_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: int
) -> None:
    beside = replace(CONFIRMING, rows=(*CONFIRMING.rows, Row("shared", "beside", ("darts-1st",), {"arch_lr": 0.3})))
    monkeypatch.setitem(STUDIES, "confirming", beside)
    alone = means(confirmed(tmp_path, 8))
    loaded = store_of(tmp_path, {("darts-1st", 0.3): (1.0,) * seeds}, 100)
    table = tables.verdicts(loaded, beside)
    assert means(table) == alone
    further = [row for row in table.rows if row[1] == "DARTS (1st) with arch_lr=0.3"]
    assert [row[3] for row in further] == ([seeds] * 2 if seeds else [])
    assert all(row[-2:] == (None, None) and row[6] == f"0 of {seeds}" for row in further)
    assert [finding.verdict for finding in ledger(loaded)] == ["holds", "does not hold"]


@pytest.mark.parametrize("n", [4, 8])
def test_a_study_too_small_for_a_verdict_says_so(tmp_path: Path, n: int) -> None:
    confirmed(tmp_path, 8)
    table = tables.verdicts(runs.load([tmp_path]), replace(CONFIRMING, seeds=CONFIRMING.seeds[:n]))
    assert {row[-1] for row in means(table)} == ({"undecided"} if n == 4 else {"holds", "does not hold"})
    assert {row[-2] for row in means(table)} == ({None} if n == 4 else {"0.016"})
    assert any("and a verdict takes 6" in note for note in table.notes) == (n == 4)


def test_a_diverged_run_is_a_loss(tmp_path: Path) -> None:
    confirmed(tmp_path, 8)
    for seed in (100, 101, 102, 103):
        made = record("balenas-1st@data_size=4096", SPACE, seed, "cpu", status=Status.DIVERGED)
        Store(tmp_path).append(ending_at(made, 1.0, arch_lr=USUAL))
    row = means(tables.verdicts(runs.load([tmp_path]), CONFIRMING))[0]
    assert row[3] == 8 and row[6] == "4 of 8" and row[-1] == "undecided"


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


@pytest.fixture(scope="module")
def committed() -> runs.Runs:
    return runs.load([ROOT / make_study.FOLDER])


@pytest.fixture(scope="module")
def made(committed: runs.Runs) -> make_study.Made:
    return make_study.make(committed)


def test_the_committed_study_is_fresh(made: make_study.Made, tmp_path: Path) -> None:
    folder = ROOT / make_study.FOLDER
    stale = "stale study: run python -m analysis.make_study and commit what changed"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert make_study.BLOCK.replaced(readme, made.block) == readme, stale
    for table in made.tables:
        assert (folder / f"{table.name}.csv").read_text() == rendering.comma_separated(table), stale
    for picture in made.pictures:
        fresh = tmp_path / f"{picture.name}.png"
        fresh.write_bytes(figures.render(picture, "png"))
        assert compare_images(str(folder / fresh.name), str(fresh), tol=5) is None, stale


def test_the_text_quotes_the_tables(committed: runs.Runs, made: make_study.Made) -> None:
    """Every verdict's numbers are in the text, and every number of the text is in the tables or follows from print."""
    folder = ROOT / make_study.FOLDER
    prose = (folder / "README.md").read_text(encoding="utf-8").partition("**None of")[2].partition("python -m")[0]
    flat = " ".join(prose.split())
    for row in means(tables.verdicts(committed, STUDIES["confirmation"])):
        assert isinstance(row[4], MeanSd) and re.search(
            rf"{row[4].mean:.2f} (points )?\((95 % interval )?{row[5]}\)", flat
        )
        assert row[-1] == "undecided"
    random = regression.load(SPACE).population(**regression.keywords(SPACE, "cifar10_test"))
    printed = {label: published.find("Table 1").row(label).cells[1].value for label in ("BaLeNAS (1st)", "DARTS (1st)")}
    known = f"{random.mean:.2f} {printed['BaLeNAS (1st)'] - printed['DARTS (1st)']:.2f} "
    known += " ".join(rendering.markdown(table) for table in made.tables)
    known += " 0.12 0.96 1.28 3.02 16.62 3.34"  # differences: test_how_coarsely_exploration_chose
    known += " 6.73 21.88 81.12 86.03 0.33"  # test_how_balenas_fares_with_every_setting_and_reading
    known += " 7.51"  # test_what_is_left_of_the_lead_over_darts_at_its_defaults
    assert set(re.findall(r"\d+\.\d+", flat)) <= set(re.findall(r"\d+\.\d+", known))


DRAWS, IVON = "weights train at a draw, not at the mean", "IVON, a hundred times the rate"
LONG = "second moment of 1,000 steps, as in the author's code"
LITERAL, BACKPROP = "Eq. 17 and 18 literally, one rate", "Bayes by Backprop (Eq. 7)"
GAP, SKIPS, NORM = "discretisation gap (nats)", "skip connections, %", "Hessian norm"
QUOTED = (
    ("confirmation-outcomes", LONG, "DARTS (1st)", "mean ± sd", "91.44 ± 1.53"),
    ("confirmation-outcomes", "the defaults", "DARTS (1st)", "mean ± sd", "89.39 ± 2.38"),
    ("confirmation-measurements", "the defaults", "DARTS (1st)", NORM, "0.75 ± 0.09"),
    ("confirmation-measurements", "the defaults", "DARTS (1st)", GAP, "1.00 ± 0.27"),
    ("confirmation-measurements", "the defaults", "DARTS (1st)", SKIPS, "46 ± 26"),
    ("confirmation-measurements", DRAWS, "BaLeNAS (1st)", NORM, "0.16 ± 0.05"),
    ("confirmation-measurements", LONG, "DARTS (1st)", NORM, "0.82 ± 0.25"),
    ("confirmation-measurements", DRAWS, "BaLeNAS (1st)", GAP, "0.33 ± 0.20"),
    ("confirmation-measurements", LONG, "DARTS (1st)", GAP, "0.92 ± 0.23"),
    ("confirmation-measurements", DRAWS, "BaLeNAS (1st)", SKIPS, "58 ± 13"),
    ("confirmation-measurements", LONG, "DARTS (1st)", SKIPS, "44 ± 18"),
    ("reading-measurements", "the defaults", "BaLeNAS (1st)", NORM, "0.76 ± 0.17"),
    ("reading-measurements", "the defaults", "DARTS (1st)", NORM, "0.71 ± 0.22"),
    ("reading-measurements", IVON, "BaLeNAS (1st)", "entropy, 1 is uniform", "0.709 ± 0.124"),
    ("reading-outcomes", LONG, "BaLeNAS (1st)", "mean ± sd", "75.91 ± 15.80"),
    ("reading-outcomes", DRAWS, "BaLeNAS (1st)", "mean ± sd", "89.39 ± 6.10"),
    ("reading-measurements", DRAWS, "BaLeNAS (1st)", SKIPS, "54 ± 25"),
    ("reading-measurements", "the defaults", "DARTS (1st)", SKIPS, "63 ± 28"),
    ("reading-outcomes", "twice the length", "BaLeNAS (1st)", "mean ± sd", "72.00 ± 15.39"),
    ("reading-outcomes", "prior precision 0.1", "BaLeNAS (1st)", "mean ± sd", "89.38 ± 4.15"),
    ("reading-outcomes", "prior precision 10", "BaLeNAS (1st)", "mean ± sd", "82.67 ± 18.92"),
    ("reading-outcomes", "prior precision 100", "BaLeNAS (1st)", "mean ± sd", "81.11 ± 17.95"),
    ("reading-outcomes", "N is the validation split's true size", "BaLeNAS (1st)", "mean ± sd", "78.57 ± 10.00"),
    ("reading-outcomes", "four Monte Carlo samples a step", "BaLeNAS (1st)", "mean ± sd", "85.15 ± 10.27"),
    ("reading-outcomes", "DARTS with the L2 of BaLeNAS's prior, delta/N", "DARTS (1st)", "mean ± sd", "85.95 ± 10.17"),
    ("reading-outcomes", "BaLeNAS with DARTS's L2: N = 1,000, so sigma too", "BaLeNAS", "mean ± sd", "75.36 ± 14.99"),
    ("reading-measurements", LITERAL, "BaLeNAS (1st)", "mean sigma", "0.961 ± 0.005"),
    ("reading-measurements", LITERAL, "BaLeNAS (1st)", "entropy, 1 is uniform", "0.098 ± 0.009"),
    ("reading-outcomes", "the same, s with its own rate", "BaLeNAS (1st)", "mean ± sd", "77.97 ± 16.56"),
    ("reading-outcomes", "the same at ten times the rate", "BaLeNAS (1st)", "mean ± sd", "60.84 ± 13.10"),
    ("reading-outcomes", BACKPROP, "BaLeNAS (1st)", "mean ± sd", "63.87 ± 19.14"),
    ("reading-outcomes", "VON: the exact rule", "BaLeNAS (1st)", "mean ± sd", "84.44 ± 14.22"),
    ("reading-outcomes", "VON, ten times the rate", "BaLeNAS (1st)", "mean ± sd", "78.35 ± 17.36"),
    ("reading-outcomes", "Bayes by Backprop, ten times the rate", "BaLeNAS (1st)", "mean ± sd", "61.77 ± 14.94"),
    ("reading-outcomes", "Vprop: no first moment", "BaLeNAS (1st)", "mean ± sd", "79.09 ± 18.07"),
    ("reading-measurements", BACKPROP, "BaLeNAS (1st)", NORM, "0.53 ± 0.15"),
    ("reading-outcomes", "fixed noise, sigma 1", "Control", "mean ± sd", "62.61 ± 9.60"),
    ("reading-outcomes", "fixed noise, sigma 0.3", "Control", "mean ± sd", "82.20 ± 9.93"),
    ("reading-outcomes", "fixed noise, sigma 0.1", "Control", "mean ± sd", "86.15 ± 5.08"),
    ("reading-outcomes", "noise that falls from sigma 1 to 0", "Control", "mean ± sd", "68.30 ± 9.77"),
    ("reading-outcomes", "architecture step at uniform weights", "Control", "mean ± sd", "80.33 ± 8.31"),
    ("reading-outcomes", "the defaults", "BaLeNAS (1st)", "mean ± sd", "87.14 ± 5.87"),
    ("reading-outcomes", "the defaults", "DARTS (1st)", "mean ± sd", "82.94 ± 19.10"),
    ("reading-measurements", "fixed noise, sigma 1", "Control", SKIPS, "92 ± 10"),
    ("reading-measurements", "fixed noise, sigma 0.3", "Control", NORM, "0.55 ± 0.03"),
    ("reading-measurements", "the defaults", "BaLeNAS (1st)", "mean sigma", "0.260 ± 0.027"),
    ("reading-measurements", DRAWS, "BaLeNAS (1st)", NORM, "0.15 ± 0.05"),
    ("reading-measurements", "fixed noise, sigma 1", "Control", NORM, "0.44 ± 0.36"),
    ("reading-measurements", "fixed noise, sigma 1", "Control", "entropy, 1 is uniform", "0.534 ± 0.104"),
    ("reading-measurements", "noise that falls from sigma 1 to 0", "Control", NORM, "0.50 ± 0.15"),
    ("reading-measurements", "noise that falls from sigma 1 to 0", "Control", "entropy, 1 is uniform", "0.771 ± 0.082"),
    ("confirmation-32x32-outcomes", LONG, "DARTS (1st)", "mean ± sd", "91.67 ± 2.22"),
    ("confirmation-32x32-measurements", DRAWS, "BaLeNAS (1st)", NORM, "0.21 ± 0.05"),
    ("confirmation-32x32-measurements", LONG, "DARTS (1st)", NORM, "0.97 ± 0.59"),
    ("confirmation-32x32-measurements", DRAWS, "BaLeNAS (1st)", SKIPS, "25 ± 10"),
)
"""What the text quotes with a spread: table, change, method, column, cell."""


def test_every_spread_of_the_text_is_that_of_its_cell(made: make_study.Made) -> None:
    folder = ROOT / make_study.FOLDER
    prose = (folder / "README.md").read_text(encoding="utf-8").partition("**None of")[2].partition("## Why skip")[0]
    by_name = {table.name: table for table in made.tables}
    for name, change, method, column, expected in QUOTED:
        table = by_name[name]
        (row,) = (r for r in table.rows if change in r[:2] and any(str(cell).startswith(method) for cell in r[1:3]))
        assert rendering.text(row[table.columns.index(column)]) == expected, (name, change, column)
    assert set(re.findall(r"[\d.]+ ± \d[\d.]*\d", " ".join(prose.split()))) == {quoted[-1] for quoted in QUOTED}


def test_which_undecided_rows_are_flattest(made: make_study.Made) -> None:
    table = next(table for table in made.tables if table.name == "reading-measurements")
    entropy, norm = (table.columns.index(name) for name in ("entropy, 1 is uniform", NORM))
    undecided = [row for row in table.rows if row[2] == 4 and row[entropy].mean > 0.85]
    flattest = sorted(undecided, key=lambda row: row[norm].mean)
    assert [row[0] for row in flattest[:3]] == [DRAWS, BACKPROP, "fixed noise, sigma 0.3"]


def first_order_readings(of: Sequence[study.Arm]) -> list[study.Arm]:
    return [arm for arm in of if arm.row.kind == "reading" and arm.method.startswith("balenas-1st")]


def test_what_is_left_of_the_lead_over_darts_at_its_defaults(committed: runs.Runs) -> None:
    explored, fresh = (study.arms(committed, STUDIES[name]) for name in ("reading", "confirmation"))
    sent, _ = study.selected(explored, study.optimum(SPACE))
    lead = {arm.row.question: arm.accuracy - explored[0].accuracy for arm in sent}
    assert all(differences[1:].mean() < 0 for differences in lead.values())  # seed 0 makes it
    (usual,) = (arm for arm in fresh if arm.is_darts and arm is not fresh[0])
    assert (usual.name, usual.accuracy.min() > comparisons.floor(SPACE)) == ("DARTS (1st)", True)
    left = {arm.row.question: statistics.paired(arm.accuracy, usual.accuracy) for arm in fresh if not arm.is_darts}
    assert {q: (f"{lead[q].mean():.2f}", f"{left[q].mean:+.2f}") for q in lead} == {
        "IVON": ("7.85", "-5.37"), IVON: ("8.69", "+0.64"), DRAWS: ("6.45", "+1.02"),
    }  # fmt: skip
    assert all(result.interval.side_of(0) is None for result in left.values())
    (draws,) = (arm.accuracy for arm in fresh if arm.row.question == DRAWS)
    assert f"{(draws - usual.accuracy)[105]:.2f}" == "-7.51"
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "never collapses on the fresh ones; there IVON lies at -5.37 points from it, IVON at a hundred" in text
    assert "at a hundred times its rate at +0.64 and weights at draws at +1.02, no interval leaves out 0" in text


def test_how_balenas_fares_with_every_setting_and_reading(committed: runs.Runs) -> None:
    of = study.arms(committed, STUDIES["reading"])
    by = {
        arm.row.question: arm.accuracy - rival.accuracy
        for arm, rival in study.planned_pairs(of)
        if rival.row is arm.row and arm.row.kind == "shared"
    }
    ahead = [question for question, differences in by.items() if differences.mean() > 0]
    assert (len(by), ahead) == (7, ["the defaults", "a tenth of the architecture rate"])
    assert {question for question, d in by.items() if not (d > 0).any()} == {LONG, "twice the length"}
    default = of[1].accuracy
    vadam = [arm for arm in first_order_readings(of) if "optimizer=" not in arm.method]
    of_default = [statistics.paired(arm.accuracy, default) for arm in vadam]
    assert (of[1].name, len(vadam)) == ("BaLeNAS (1st)", 6)
    assert all(abs(result.mean) < result.sd for result in of_default)
    spreads = [result.sd for result in of_default]
    assert f"{min(spreads):.2f} to {max(spreads):.2f}" == "6.73 to 21.88"
    others = {arm.row.question: arm.accuracy[1:].mean() for arm in vadam}
    below = {question: f"{mean:.2f}" for question, mean in others.items() if mean < default[1:].mean()}
    assert (f"{default[1:].mean():.2f}", below) == ("86.03", {"N is the validation split's true size": "81.12"})
    of_reference = [claim for claim in claims.load() if claim.id == "nas-bench-201-first-order"]
    ((_, finding),) = claims.judge(runs.load([ROOT / "results" / "reference" / "cpu"]), of_reference)
    assert (finding.effect, finding.n) == ("-0.327 points", 8)


def test_how_coarsely_exploration_chose(committed: runs.Runs) -> None:
    """The counts and differences in the text."""
    best, of = study.optimum(SPACE), study.arms(committed, STUDIES["reading"])
    last = study.selected(of, best)[0][-1].accuracy.mean()
    readings = first_order_readings(of)
    first = {arm: (arm.accuracy[0] + 3 * best) / 4 for arm in readings}
    assert (len(readings), sum(bound < last for bound in first.values())) == (17, 12)
    assert of[0].is_darts and of[0].accuracy.mean() < last
    sent, darts = study.selected(of, best)
    ahead = {arm.row.question: f"{arm.accuracy.mean() - darts.accuracy.mean():+.2f}" for arm in sent}
    assert ahead == {"IVON": "+0.12", IVON: "+0.96", DRAWS: "-1.28"}
    slow_darts, slow = (arm for arm in of if arm.row.question == "a tenth of the architecture rate")
    by_seed = slow.accuracy - slow_darts.accuracy
    assert by_seed.min() >= 0 and f"{by_seed[0]:.2f} {by_seed[1:].max():.2f}" == "16.62 3.34"
    literal, vadam = next(arm for arm in of if arm.row.question == LITERAL), of[1].accuracy.mean()
    skips_only = literal.finals["count_skip_connect"] == 6
    assert len(skips_only) == 4 and skips_only.all()
    rules = [arm for arm in readings if "optimizer=" in arm.method and "ivon" not in arm.method]
    assert all(arm.bounds(best)[1] < vadam for arm in rules)
    ahead_of_darts = [arm.row.question for arm in rules if arm.bounds(best)[1] > of[0].accuracy.mean()]
    assert ahead_of_darts == ["VON: the exact rule"]
    (weaker,) = (arm for arm in of if arm.row.question.startswith("DARTS with the L2"))
    assert f"{weaker.accuracy.mean() - of[0].accuracy.mean():.2f}" == "3.02"
    assert f"{of[1].accuracy.mean() - of[0].accuracy.mean():.2f}" == "4.21"
    wide, narrow = (
        next(arm.accuracy for arm in of if arm.row.question == f"fixed noise, sigma {sigma}") for sigma in ("1", "0.1")
    )
    assert (wide < of[0].accuracy).sum() == 3
    assert f"{of[1].accuracy.mean() - narrow.mean():.2f}" == "0.99"


def test_confirmations_are_what_the_rule_sends_on(committed: runs.Runs) -> None:
    for plan in STUDIES.values():
        if plan.confirms:
            explored = STUDIES[plan.confirms]
            readings, darts = study.selected(study.arms(committed, explored), study.optimum(explored.space))
            sent = [(arm.row.question, (arm.method,), arm.row.budget) for arm in (darts, *readings)]
            assert [(row.question, row.methods, row.budget) for row in plan.rows[: len(sent)]] == sent
            assert {row.methods for row in plan.rows[len(sent) :]} <= {("darts-1st",)}  # beside them, without a verdict


def test_the_ledger_has_every_confirmed_reading_in_one_family() -> None:
    """As the table of verdicts corrects over all readings of a study."""
    held = [claim for claim in claims.load() if claim.check == "confirmed"]
    assert len({claim.family for claim in held}) == 1
    assert [claim.parameters["study"] for claim in held] == ["confirmation"] * len(held)
    changes = [claim.parameters["change"] for claim in held]
    readings = [row.question for row in STUDIES["confirmation"].rows if row.methods != ("darts-1st",)]
    assert changes == readings


def test_every_study_starts_with_darts() -> None:
    for plan in STUDIES.values():
        assert plan.rows[0].methods[0] == "darts-1st"
