"""What can be told of a results folder and done with it: status, verify, merge, export, TensorBoard, estimates."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import environment, plan, run, status, store, tensorboard
from benchmarks.claims import Claims
from benchmarks.spec import RunRecord, Status
from benchmarks.store import __main__ as commands
from tests.harness.test_store import record

TOY = "tests.harness.toy"
REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "cpu"


def do(folder: Path, *methods: str, seeds: int = 2) -> int:
    fixed = ["--spaces", "nas-bench-201", "--tier", "smoke", "--jobs", "1", "--seeds", str(seeds)]
    return run.main(["--methods", *(f"{TOY}:{m}" for m in methods), *fixed, "--output", str(folder)])


def filled(folder: Path, *records: RunRecord) -> Path:
    results = store.Store(folder).open()
    for each in records:
        results.append(each)
    return folder


def test_status_counts_every_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(tmp_path, "Walk", "Raising", seeds=3) == 1
    results = store.Store(tmp_path)
    done = [r for r in results.records() if r.spec.method == f"{TOY}:Walk"]
    results.path(done[0].spec).unlink()
    results.path(done[1].spec).write_bytes(b"damaged")
    capsys.readouterr()
    with Claims(tmp_path / "claims").hold(done[0].spec) as report:
        report(2, 5)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        assert status.main([str(tmp_path)]) == 0
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    found = status.survey(results)
    walk, failing = ("smoke", "nas-bench-201", f"{TOY}:Walk"), ("smoke", "nas-bench-201", f"{TOY}:Raising")
    assert found.counts == {walk: {"done": 1, "missing": 2}, failing: {"failed": 3}}
    assert found.continued == 3  # the failing ones have checkpoints
    out = " ".join(capsys.readouterr().out.split())
    assert "all │ │ │ 1 │ 1 │ 3 │ 1" in out
    assert f"running: {done[0].spec.label}, epoch 2/5" in out
    assert "ZeroDivisionError: a fault of the method" in out
    assert "damaged: " in out and str(results.path(done[1].spec).name) in out


def test_status_of_the_reference_and_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([str(tmp_path / "none")]) == 2
    assert "no results folder" in capsys.readouterr().err
    found = status.survey(store.Store(REFERENCE))
    assert not found.damaged and not found.running
    assert all(set(states) == {"done"} for states in found.counts.values())


def test_the_reference_stays_readable_under_the_same_hashes() -> None:
    """Specs hash today as on the day that their files were named."""
    results = store.Store(REFERENCE)
    records = list(results.records())
    assert records
    for path, each in zip(results.files(), records, strict=True):
        assert results.path(each.spec) == path
    wanted = ("random", "nas-bench-201", 0)
    (first,) = [r for r in records if (r.spec.method, r.spec.space, r.spec.seed) == wanted]
    assert first.spec.hash.startswith("c5a51298eba9")


def test_a_damaged_plan_is_no_plan(tmp_path: Path) -> None:
    assert do(tmp_path, "Walk") == 0
    (path,) = (tmp_path / "plans").glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    assert store.Store(tmp_path).planned() == {}
    assert status.main([str(tmp_path)]) == 0


def test_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = filled(tmp_path / "a", record(0), record(1), record(2))
    assert commands.main(["verify", str(folder), str(REFERENCE)]) == 0
    assert "in order" in capsys.readouterr().out
    first, second, _ = store.Store(folder).files()
    first.write_bytes(first.read_bytes()[:100])
    second.rename(second.with_name("seed-9-000000000000.parquet"))
    assert commands.main(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[-1] == "1 of 3 files in order"
    assert any("not a readable run file" in line for line in lines)
    assert any("whose place is" in line for line in lines)
    assert commands.main(["verify", str(tmp_path / "none")]) == 2


def changed(original: RunRecord, **cells: Any) -> RunRecord:
    rows = (*original.rows[:-1], {**original.rows[-1], **cells})
    return dataclasses.replace(original, rows=rows)


def test_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = changed(record(1), seconds=9.0, seconds_measure=3.0)
    same = dataclasses.replace(same, facts={"processor": "another", "seconds_total": 7.0})
    a = filled(tmp_path / "a", record(0), changed(record(1), seconds=1.0))
    b = filled(tmp_path / "b", same, record(2))
    kept = {path: path.read_bytes() for path in store.Store(a).files()}
    assert commands.main(["merge", str(a), str(b)]) == 0
    assert "1 runs added" in capsys.readouterr().out
    assert sorted(r.spec.seed for r in store.Store(a).records()) == [0, 1, 2]
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert commands.main(["merge", str(a), str(b)]) == 0  # again: nothing to add
    assert "0 runs added" in capsys.readouterr().out
    assert commands.main(["merge", str(tmp_path / "new"), str(a), str(b)]) == 0
    assert commands.main(["verify", str(tmp_path / "new")]) == 0
    assert len(store.Store(tmp_path / "new").files()) == 3


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (changed(record(1), cifar10_test=94.36), "cifar10_test at epoch 1"),
        (changed(record(1), alpha=[0.2, 0.30000000000000004]), "alpha at epoch 1"),
        (dataclasses.replace(record(1), rows=record(1).rows[:1]), "length"),
        (dataclasses.replace(record(1), status=Status.ERROR, message="boom"), "status"),
    ],
    ids=["accuracy", "last digit", "length", "status"],
)
def test_merge_refuses_what_differs(
    tmp_path: Path, other: RunRecord, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a = filled(tmp_path / "a", record(0), record(1))
    b = filled(tmp_path / "b", record(2), other)
    before = {path: path.read_bytes() for path in a.rglob("*") if path.is_file()}
    assert commands.main(["merge", str(a), str(b)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line and str(a) in line and str(b) in line and "nothing was merged" in line
    assert {path: path.read_bytes() for path in a.rglob("*") if path.is_file()} == before


def test_merge_reads_all_before_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = filled(tmp_path / "a", record(0)), filled(tmp_path / "b", record(1), record(2))
    store.Store(b).files()[-1].write_bytes(b"half")
    assert commands.main(["merge", str(a), str(b)]) == 1
    assert "not a readable run file" in capsys.readouterr().err
    assert len(store.Store(a).files()) == 1
    assert commands.main(["merge", str(a), str(tmp_path / "none")]) == 2


def test_merge_does_not_write_over_what_was_done_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = filled(tmp_path / "a"), filled(tmp_path / "b", record(0), changed(record(1), cifar10_test=94.36))
    opened = store.Store.open

    def finished_meanwhile(results: store.Store) -> store.Store:
        for made in (record(0), record(1)):
            opened(results).append(made)
        return results

    monkeypatch.setattr(store.Store, "open", finished_meanwhile)
    assert commands.main(["merge", str(a), str(b)]) == 1
    assert "meanwhile: remove one of the two; 0 runs were added" in capsys.readouterr().err
    assert [r.final["cifar10_test"] for r in store.Store(a).records()] == [
        r.final["cifar10_test"] for r in (record(0), record(1))
    ]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = filled(tmp_path / "a", record(0), record(1, rows=(), status=Status.ERROR, message="Trace\nboom"))
    output = tmp_path / f"all.{suffix}"
    assert commands.main(["export", str(folder), "--output", str(output)]) == 0
    table = pd.read_csv(output) if suffix == "csv" else pd.read_parquet(output)
    assert list(table["status"]) == ["done", "done", "error"] and list(table["cifar10_test"])[:2] == [54.3, 94.37]
    assert table["message"].iloc[2] == "Trace\nboom"
    alpha = table["alpha"].iloc[1]
    assert list(json.loads(alpha) if suffix == "csv" else alpha) == [0.2, 0.3]
    assert commands.main(["export", str(folder), "--output", str(output), "--final"]) == 0
    assert "2 rows" in capsys.readouterr().out
    assert commands.main(["export", str(folder), "--output", str(tmp_path / "all.xlsx")]) == 2
    assert ".csv or .parquet" in capsys.readouterr().err


def test_tensorboard_shows_the_stored_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra 'tensorboard'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert do(tmp_path / "runs", "Walk", "Raising", seeds=1) == 1
    logs = tmp_path / "logs"
    assert tensorboard.main([str(tmp_path / "runs"), "--output", str(logs)]) == 0
    assert "2 runs" in capsys.readouterr().out
    for run_record in store.Store(tmp_path / "runs").records():
        spec = run_record.spec
        folder = logs / "smoke" / "nas-bench-201" / spec.method.replace(":", ".") / f"seed-0-{spec.hash[:12]}"
        events = EventAccumulator(str(folder)).Reload()
        numbers = {key for row in run_record.rows for key, value in row.items() if isinstance(value, int | float)}
        assert set(events.Tags()["scalars"]) == numbers - {"epoch"}
        for key in numbers - {"epoch"}:
            expected = [(row["epoch"], row[key]) for row in run_record.rows if row.get(key) is not None]
            assert [(e.step, e.value) for e in events.Scalars(key)] == [(e, pytest.approx(v)) for e, v in expected]
    assert tensorboard.main([str(tmp_path / "runs"), "--output", str(logs)]) == 2
    assert "name a new folder" in capsys.readouterr().err
    assert tensorboard.main([str(tmp_path / "none"), "--output", str(tmp_path / "x")]) == 2


def test_without_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert tensorboard.main([str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "balenas-bench[tensorboard]" in line


def test_estimates_say_what_they_rest_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = plan.make(methods=["random", "darts-1st"], space_names=["nas-bench-201"], seed_list=[0], tier="smoke").jobs
    random, darts = (job.spec for job in jobs)
    results = store.Store(tmp_path / "runs").open()

    def add(spec: Any, seed: int, seconds: float, **facts: Any) -> None:
        known = {"processor": environment.processor(), "seconds_total": seconds, "resumed": False, **facts}
        results.append(RunRecord(dataclasses.replace(spec, seed=seed), Status.DONE, "", ({"epoch": 0},), known))

    assert plan.estimate(jobs, results) == plan.Estimate(0.0, 0, 2)
    add(random, 1, 100.0, processor="another")
    assert plan.estimate(jobs, results) == plan.Estimate(100.0, 1, 1)
    add(dataclasses.replace(random, space="nas-bench-1shot1-s1"), 1, 50.0)
    assert plan.estimate(jobs, results) == plan.Estimate(50.0, 0, 1)
    for seed, seconds in enumerate((10.0, 20.0, 90.0), start=1):
        add(random, seed, seconds)
    add(random, 4, 1.0, resumed=True)  # part of a run says little about a whole one
    add(darts, 1, 5.0, processor="another")
    results.files()[0].with_name("seed-7-aaaaaaaaaaaa.parquet").write_bytes(b"damaged")  # nor does this
    assert plan.estimate(jobs, results) == plan.Estimate(25.0, 1, 0)
    other = plan.make(methods=["darts-1st@beta1=0.9"], space_names=["nas-bench-201"], seed_list=[0], tier="smoke")
    assert plan.estimate(other.jobs, results) == plan.Estimate(5.0, 1, 0)  # by the same method's usual settings
    fixed = ["--spaces", "nas-bench-201", "--tier", "smoke", "--jobs", "1", "--seeds", "1", "--dry-run"]
    methods = ["--methods", "random", "darts-1st", "darts-2nd"]
    assert run.main([*methods, *fixed, "--output", str(tmp_path / "runs")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the rest takes about 0.4 minutes on 1 process" in out
    assert "1 runs are priced by runs of another processor" in out
    assert "1 runs are not in this time" in out
