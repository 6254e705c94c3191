"""One run: what is recorded, what survives, what a fault leaves behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import check, environment, harness, plan, spaces
from benchmarks.errors import UserError
from benchmarks.spec import RunRecord, Status
from benchmarks.store import Store
from methods import resolve


def job(method: str = "tests.harness.toy:Walk", space: str = "nas-bench-201", **settings: Any) -> plan.Job:
    (found,) = plan.make(methods=[method], space_names=[space], seed_list=[0], tier="smoke").jobs[-1:]
    config = dataclasses.asdict(resolve(method, settings)[1])
    return dataclasses.replace(found, spec=dataclasses.replace(found.spec, config=config))


def settings(folder: Path, **changes: Any) -> harness.Settings:
    return harness.Settings(Store(folder).open(), **changes)


def execute(a_job: plan.Job, where: harness.Settings) -> RunRecord:
    return harness.execute(a_job, where, lambda epoch, epochs: None)


def without_seconds(record: RunRecord) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in record.rows]


@pytest.mark.parametrize("space", spaces.SPACES)
def test_rows_hold_the_choice_and_its_ground_truth(tmp_path: Path, space: str) -> None:
    record = execute(job(space=space), settings(tmp_path))
    assert [row["epoch"] for row in record.rows] == [0, 1, 2, 3, 4, 5]
    assert record.status is Status.DONE
    assert 10 <= record.final["cifar10_test"] <= 94.4
    assert record.final["regret_cifar10_test"] >= 0
    assert "distance" not in record.rows[0] or record.rows[0]["distance"] is None
    assert record.facts["version_torch"] and record.facts["images_sha256"] == record.spec.images
    assert record.facts["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert len(record.facts["ground_truth_digest"]) == 64


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = execute(job(), settings(tmp_path / "whole"))
    again = settings(tmp_path / "again", time_limit=1e-9)
    for _ in range(5):
        record = execute(job(), again)
        assert record.status is Status.TIMEOUT
        checkpoints = list((tmp_path / "again" / "checkpoints").iterdir())
    assert len(checkpoints) == 1
    record = execute(job(), dataclasses.replace(again, time_limit=None))
    assert record.facts["resumed"]
    assert without_seconds(record) == without_seconds(whole)
    assert not list((tmp_path / "again" / "checkpoints").iterdir())


def test_checkpoints_come_at_the_cadence_asked_for(tmp_path: Path) -> None:
    where = settings(tmp_path, checkpoint_every=2)
    failing = job(fault="raise", at=4)
    assert execute(failing, where).status is Status.ERROR
    record = execute(failing, where)
    assert record.facts["resumed"]
    log = where.store.log(failing.spec).read_text()
    assert "continues after epoch 2" in log  # although epoch 3 was searched
    assert log.count("epoch 3/5") == 2 and log.count("epoch 2/5") == 1


def test_a_run_takes_one_thread(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    try:
        execute(job(), settings(tmp_path))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_a_done_run_is_not_done_again(tmp_path: Path) -> None:
    where = settings(tmp_path)
    first = execute(job(), where)
    assert execute(job(), where).facts["seconds_total"] == first.facts["seconds_total"]


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("diverge", Status.DIVERGED, "the walk is not finite"),
        ("raise", Status.ERROR, "ZeroDivisionError: a fault of the method"),
        ("memory", Status.ERROR, "MemoryError"),
    ],
)
def test_a_fault_becomes_a_record(tmp_path: Path, fault: str, status: Status, message: str) -> None:
    where = settings(tmp_path)
    failing = job(fault=fault)
    execute(failing, where)
    record = where.store.get(failing.spec)
    assert record is not None
    assert record.status is status
    assert message in record.message
    assert [row["epoch"] for row in record.rows] == [0, 1, 2]
    assert record.rows[-1]["cifar10_test"] > 0


def test_an_upstream_run_is_taken_from_the_store(tmp_path: Path) -> None:
    jobs = plan.make(
        methods=["tests.harness.toy:Continuing"], space_names=["nas-bench-201"], seed_list=[0], tier="smoke"
    ).jobs
    assert [j.spec.method for j in jobs] == ["tests.harness.toy:Walk", "tests.harness.toy:Continuing"]
    where = settings(tmp_path)
    early = execute(jobs[1], where)
    assert early.status is Status.ERROR and "run it first" in early.message
    first, second = (execute(j, where) for j in jobs)
    assert second.final["architecture"] == first.final["architecture"]
    assert second.spec.upstream == first.spec.hash
    # No accuracy, and the same as `benchmarks.check` gives.
    assert second.final["given"] == "architecture distance epoch"
    (row,) = check.run_through(check.Make("tests.harness.toy:Continuing", "nas-bench-201")(0))
    assert row["given"] == second.final["given"]


def stopped_after(a_job: plan.Job, where: harness.Settings, epoch: int) -> None:
    epochs = iter(range(epoch + 1))
    with pytest.raises(harness.Stopped):
        harness.execute(a_job, where, lambda *_: None, lambda: next(epochs) == epoch)


def test_a_run_of_several_processes_names_the_facts_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_job, where = job(), settings(tmp_path)
    for revision in ("first", "second"):
        monkeypatch.setattr(environment, "facts", lambda revision=revision: {"revision": revision, "python": "3"})
        stopped_after(a_job, where, 1)
    record = execute(a_job, where)
    assert record.facts["revision"] == "first; second" and record.facts["python"] == "3"
    assert "began on another revision" in capsys.readouterr().err


def test_fewest_trained_together_is_kept_across_processes(tmp_path: Path) -> None:
    a_job, where = job(), settings(tmp_path)
    run = harness.Run(a_job, where, lambda *_: None, lambda: False)
    run.begin()
    run.facts["trained_together"] = 1
    run.advance({})
    again = harness.Run(a_job, where, lambda *_: None, lambda: False)
    again.begin()
    assert again.epoch == 1 and again.facts["trained_together"] == 1


def test_doing_again_starts_over_and_goes_on_only_from_itself(tmp_path: Path) -> None:
    a_job, where, redoing = job(), settings(tmp_path), settings(tmp_path, redo=True)
    stopped_after(a_job, where, 2)
    stopped_after(a_job, redoing, 1)
    run = harness.Run(a_job, redoing, lambda *_: None, lambda: False)
    run.begin()
    assert (run.epoch, run.checkpoint.resumed) == (2, True)
    failing = job(fault="raise", at=3)
    assert execute(failing, redoing).status is Status.ERROR
    assert not where.store.checkpoint(failing.spec).exists()  # its code may be mended before it is done again
    assert execute(failing, where).status is Status.ERROR
    assert where.store.checkpoint(failing.spec).exists()


def test_images_must_be_the_planned_ones(tmp_path: Path) -> None:
    changed = job()
    changed = dataclasses.replace(changed, spec=dataclasses.replace(changed.spec, images="0" * 64))
    assert "images of digits changed" in execute(changed, settings(tmp_path)).message


@pytest.mark.parametrize(
    ("says", "mistake"),
    [
        ("tensor", "'loss' of a trace is of type Tensor: give a plain number"),
        ("list", "'loss' of a trace is of type list"),
        ("kinds", "'loss' of a trace was a number and is a text: give one kind at all epochs"),
        ("taken", "may not have 'images', which the harness writes"),
        ("accuracy", "may not have 'cifar10_test', which the harness writes"),
        ("count", "may not have 'count_draws', which the harness writes"),
        ("huge", "'loss' of a trace is of type int: give a plain number"),
    ],
)
def test_a_trace_that_cannot_be_kept_is_a_fault_of_its_run(tmp_path: Path, says: str, mistake: str) -> None:
    where = settings(tmp_path)
    record = execute(job("tests.harness.toy:Telling", says=says), where)
    assert (record.status, mistake in record.message) == (Status.ERROR, True)
    kept = where.store.get(record.spec)
    assert kept is not None and (kept.status, kept.message) == (record.status, record.message)
    with pytest.raises(UserError, match=mistake):
        check.run_through(check.Make("tests.harness.toy:Telling", "nas-bench-201", settings={"says": says})(0))


def test_what_a_trace_may_hold(tmp_path: Path) -> None:
    record = execute(job("tests.harness.toy:Telling", says="much"), settings(tmp_path))
    assert record.status is Status.DONE
    assert [row.get("now_and_then") for row in record.rows] == [None, None, 2, None, 4, None]
    assert record.final["wide"] == [1, 2.5] and record.final["number"] == 2.5


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        *((text, "not numbers") for text in ("", "x", "1,x", "1.5", ",")),
        *((text, "at least 0") for text in ("-1", "3,-1", "0", "00", "+0", "-0", " 0 ")),
        ("3,3", "name one twice"),
    ],
)
def test_seeds_that_are_none(text: str, mistake: str) -> None:
    with pytest.raises(UserError, match=mistake):
        plan.seeds(text)


def test_seeds() -> None:
    assert plan.seeds("4") == [0, 1, 2, 3]
    assert plan.seeds("3,5,8") == [3, 5, 8]
    assert plan.seeds("3,") == [3]
