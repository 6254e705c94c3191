"""Seeds that share a supernet: recorded one by one, stopped and resumed like any other run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import harness, plan, run
from benchmarks.harness import Settings
from benchmarks.spec import Compute, RunRecord, Status
from benchmarks.store import Store

METHOD, SPACE, SEEDS = "balenas-1st", "nas-bench-201", [0, 1, 2]


def jobs() -> list[plan.Job]:
    made = plan.make(
        methods=[METHOD], space_names=[SPACE], seed_list=SEEDS, tier="smoke", compute=Compute(together=True)
    )
    (found,) = made.together
    return found


def settings(folder: Path) -> Settings:
    store = Store(folder)
    store.open()
    return Settings(store)


def result(record: RunRecord) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in record.rows]


def ignore(epoch: int, epochs: int) -> None:
    pass


def test_stopped_and_resumed(tmp_path: Path) -> None:
    whole = harness.execute_together(jobs(), settings(tmp_path / "whole"), [ignore] * 3)
    parts = settings(tmp_path / "parts")
    with pytest.raises(harness.Stopped):
        harness.execute_together(jobs(), parts, [ignore] * 3, lambda: True)
    resumed = harness.execute_together(jobs(), parts, [ignore] * 3)
    assert [record.facts["trained_together"] for record in resumed] == [3] * 3
    assert all(record.facts["resumed"] for record in resumed)
    for a, b in zip(whole, resumed, strict=True):
        assert a.status is Status.DONE
        assert result(a) == result(b)
    again = harness.execute_together(jobs(), parts, [ignore] * 3)
    assert [record.facts for record in again] == [record.facts for record in resumed]


def test_a_record_has_the_least_number_that_trained_together(tmp_path: Path) -> None:
    where = settings(tmp_path)
    with pytest.raises(harness.Stopped):  # one is an epoch ahead, which it trained alone
        harness.execute_together(jobs()[:1], where, [ignore], lambda: True)
    records = harness.execute_together(jobs(), where, [ignore] * 3)
    assert [record.facts["trained_together"] for record in records] == [1, 2, 2]


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    def broken(epoch: int, epochs: int) -> None:
        raise RuntimeError("this one breaks")

    records = harness.execute_together(jobs(), settings(tmp_path), [ignore, broken, ignore])
    assert [record.status for record in records] == [Status.DONE, Status.ERROR, Status.DONE]
    assert "this one breaks" in records[1].message


def test_command_line(tmp_path: Path) -> None:
    arguments = ["--methods", METHOD, "random", "--spaces", SPACE, "--seeds", "3", "--tier", "smoke", "--jobs", "1"]
    assert run.main([*arguments, "--output", str(tmp_path / "alone")]) == 0
    assert run.main([*arguments, "--together", "--output", str(tmp_path / "together")]) == 0
    alone, together = (
        {(r.spec.method, r.spec.seed): r for _, r in Store(tmp_path / name).scan() if isinstance(r, RunRecord)}
        for name in ("alone", "together")
    )
    assert alone.keys() == together.keys()
    for (method, _), record in alone.items():
        other = together[record.spec.method, record.spec.seed]
        assert (record.spec == other.spec) == (method == "random")
        if method != "random":
            assert other.facts["trained_together"] == 3
            # Adam's steps have the gradient's sign at first, so alpha shows its rounding; tests/methods has the proof.
            assert other.final["train_loss"] == pytest.approx(record.final["train_loss"], rel=1e-2)
