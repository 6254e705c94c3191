"""Two commands on one results folder, and the claims by which they share it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import claims, execution, harness, plan, run, store
from benchmarks.claims import Claim, Claims, Held, Owner
from benchmarks.errors import UserError
from benchmarks.spec import RunRecord, RunSpec, Status
from benchmarks.workers import Workers
from tests.harness.test_kills import assert_clean, rows, start, wait_for

TOY = "tests.harness.toy"


def a_job(method: str = "Walk") -> plan.Job:
    jobs = plan.make(methods=[f"{TOY}:{method}"], space_names=["nas-bench-201"], seed_list=[0], tier="smoke").jobs
    return jobs[-1]


def put(folder: Path, spec: RunSpec, **changes: Any) -> Claim:
    """A claim of another process; by default one of this machine that is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    owner = dataclasses.replace(Owner.this(), pid=gone.pid, born="1")
    claim = Claim(spec.label, dataclasses.replace(owner, **changes))
    path = Claims(folder / "claims").path(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(claim)))
    return claim


def do(folder: Path, *arguments: str) -> int:
    fixed = ["--spaces", "nas-bench-201", "--seeds", "1", "--tier", "smoke", "--jobs", "1", "--output", str(folder)]
    return run.main(["--methods", f"{TOY}:Walk", *fixed, *arguments])


def test_two_commands_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "runs"
    monkeypatch.setenv("GATE", str(gate))
    both = [start(folder, "--methods", f"{TOY}:Gated", "--seeds", 6, "--jobs", 1) for _ in range(2)]
    # Both have begun a run, each its own, before either can end one.
    wait_for(lambda: len([c for c in Claims(folder / "claims").all().values() if c.epochs]) == 2)
    gate.touch()
    for process in both:
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        assert "6 runs done" in out  # each reports all, its own and the other's
    log = "".join(path.read_text() for path in (folder / "logs").iterdir())
    owners = Counter(re.findall(r"start .*:(\d+)$", log, re.MULTILINE))
    assert owners.total() == 6  # no run was begun twice
    assert set(owners) == {str(process.pid) for process in both}
    assert_clean(folder)
    assert len(rows(folder)) == 6


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param({}, id="gone"),
        pytest.param({"pid": os.getpid()}, id="its number is another process's now"),
    ],
)
def test_a_claim_of_a_dead_process_is_taken_over(tmp_path: Path, owner: dict[str, Any]) -> None:
    store.Store(tmp_path).open()
    put(tmp_path, a_job().spec, **owner)
    assert do(tmp_path) == 0
    assert_clean(tmp_path)


def test_a_zombie_holds_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = claims._born(child.pid)
    owner = dataclasses.replace(Owner.this(), pid=child.pid, born=str(born))
    assert born and not owner.is_dead
    child.kill()
    wait_for(lambda: owner.is_dead)  # nobody has waited for it yet
    child.wait()
    assert owner.is_dead


def test_a_damaged_claim_holds_nothing(tmp_path: Path) -> None:
    store.Store(tmp_path).open()
    put(tmp_path, a_job().spec)
    Claims(tmp_path / "claims").path(a_job().spec).write_bytes(b'{"label"')
    assert do(tmp_path) == 0


def test_a_silent_claim_of_another_machine_is_evicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "STALE_AFTER", 0.6)
    monkeypatch.setattr(execution, "POLL", 0.02)
    store.Store(tmp_path).open()
    put(tmp_path, a_job().spec, machine="elsewhere", host="node7", pid=4)
    begun = time.monotonic()
    assert do(tmp_path) == 0
    assert time.monotonic() - begun > 0.6
    out = " ".join(capsys.readouterr().out.split())
    assert "waiting for 1 chains held by node7:4" in out
    assert "1 runs done" in out
    assert_clean(tmp_path)


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_living_claim_is_waited_for_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """The other machine touches its claim, with a clock that is years off, and ends the run with a failure."""
    monkeypatch.setattr(claims, "STALE_AFTER", 1.0)
    monkeypatch.setattr(execution, "POLL", 0.02)
    results, spec = store.Store(tmp_path).open(), a_job().spec
    put(tmp_path, spec, machine="elsewhere")
    path, real = Claims(tmp_path / "claims").path(spec), time.time

    def other() -> None:
        for number in range(15):
            time.sleep(0.1)
            os.utime(path, (number, number + jump * 0.01))
            monkeypatch.setattr(time, "time", lambda: real() + jump)
        harness.fail(a_job(), harness.Settings(results), "it failed there")
        path.unlink()

    thread = threading.Thread(target=other)
    thread.start()
    code = do(tmp_path)
    thread.join()
    assert code == 1  # how it ended there is how it ended; it is not tried again by this command
    record = results.get(spec)
    assert record is not None and record.status is Status.ERROR and record.message == "it failed there"
    assert do(tmp_path) == 0  # but by the next


def test_who_was_evicted_stops_without_a_word_in_the_store(tmp_path: Path) -> None:
    job, results = a_job(), store.Store(tmp_path).open()
    here = Claims(tmp_path / "claims")
    with here.hold(job.spec) as report:

        def slept(epoch: int, epochs: int) -> None:
            if epoch == 2:
                put(tmp_path, job.spec, machine="elsewhere")
            report(epoch, epochs)

        with pytest.raises(Held):
            harness.execute(job, harness.Settings(results), slept)
    assert results.get(job.spec) is None
    claim = here.get(job.spec)
    assert claim is not None and claim.owner.machine == "elsewhere"  # and it is left to its new owner


def test_one_process_holds_a_run_at_a_time(tmp_path: Path) -> None:
    """Forty threads after one stale claim, as forty commands would be: one gets it."""
    spec, got, lost = a_job().spec, [], []
    put(tmp_path, spec)
    everybody, done = threading.Barrier(40), threading.Barrier(40)

    def try_it() -> None:
        everybody.wait()
        try:
            with Claims(tmp_path / "claims").hold(spec):
                got.append(1)
                done.wait()
        except Held:
            lost.append(1)
            done.wait()

    threads = [threading.Thread(target=try_it) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(lost)) == (1, 39)


def test_a_claim_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.02)
    here, spec = Claims(tmp_path / "claims"), a_job().spec
    with here.hold(spec):
        before = here.touched(spec)
        wait_for(lambda: here.touched(spec) != before, 10)
    assert here.touched(spec) is None


def test_a_run_that_kills_its_process_fails_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As when the kernel ends what uses too much memory: loky loses all workers with it, the other runs go on."""
    methods = [f"{TOY}:{name}" for name in ("Killing", "Slow")]
    fixed = ["--spaces", "nas-bench-201", "--seeds", "1", "--tier", "smoke", "--jobs", "2", "--output", str(tmp_path)]
    assert run.main(["--methods", *methods, *fixed]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "1 runs done, 1 failed" in out
    assert "its process died each time: killed from outside, or out of memory" in out
    frame = store.frame([tmp_path])
    assert dict(zip(frame["method"], frame["status"], strict=True)) == {methods[0]: "error", methods[1]: "done"}


class Losing(Workers):
    """A cluster that gives up what its workers die of, having tried it elsewhere."""

    retries = True

    def __init__(self, folder: Path, *, begun: bool) -> None:
        self.folder, self.begun = folder, begun

    def map(self, work: Any, tasks: Any) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            dies = task.jobs[0].spec.method.endswith("Killing")
            if dies and self.begun:
                put(self.folder, task.jobs[0].spec, machine="elsewhere")
            yield task, None if dies else work(task)


def losing(folder: Path, *, begun: bool) -> list[RunRecord]:
    methods = [f"{TOY}:Walk", f"{TOY}:Killing"]
    jobs = plan.make(methods=methods, space_names=["nas-bench-201"], seed_list=[0], tier="smoke")
    settings = harness.Settings(store.Store(folder).open())
    return execution.run(jobs, settings, workers=Losing(folder, begun=begun), console=Console())


def test_what_a_cluster_gives_up_is_a_failed_run(tmp_path: Path) -> None:
    records = losing(tmp_path, begun=True)
    assert [record.status for record in records] == [Status.DONE, Status.ERROR]
    assert "its process died each time" in records[1].message
    assert_clean(tmp_path)


def test_workers_that_never_begin_are_not_tried_for_ever(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="die before they begin"):
        losing(tmp_path, begun=False)
    assert len(store.Store(tmp_path).files()) == 1
