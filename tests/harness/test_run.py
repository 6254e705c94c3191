"""The command line of the main job, as a user calls it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import run, spaces, store
from methods import METHODS

TOY = "tests.harness.toy"


def main(*arguments: object) -> int:
    return run.main([str(a) for a in arguments])


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--list") == 0
    out = capsys.readouterr().out
    for name in ("darts-1st", "balenas-tf-2nd", "nas-bench-1shot1-s3", "smoke", "paper"):
        assert name in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--all"),
        (["--methods", "dart", "--spaces", "nas-bench-201"], "darts-1st"),
        (["--methods", "no.such:Method", "--spaces", "nas-bench-201"], "PYTHONPATH"),
        (["--methods", "pathlib:Path", "--spaces", "nas-bench-201"], "benchmarks.spec.Method"),
        (["--methods", "random", "--spaces", "nas-bench-101"], "nas-bench-1shot1-s1"),
        (["--all", "--tier", "huge"], "smoke, quick, cpu, paper"),
        (["--all", "--seeds", "many"], "a count such as 4"),
        (["--all", "--data", "mnist"], "digits, cifar10"),
        (["--all", "--tier", "cpu", "--data", "digits"], "--data cifar10"),
        (["--all", "--tier", "cpu", "--data-dir", "/no/such/folder"], "/no/such/folder"),
        (["--all", "--jobs", "0"], "must be positive"),
        (["--all", "--output", "/proc/nowhere"], "choose a writable folder"),
    ],
)
def test_bad_arguments(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*arguments) == 2
    error = capsys.readouterr().err
    assert named in error
    assert len(error.splitlines()) == 1


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--all", "--tier", "smoke", "--output", tmp_path / "new", "--dry-run") == 0
    out = capsys.readouterr().out
    assert f"0 of {len(METHODS) * len(spaces.SPACES) * 4} runs done" in out
    assert not (tmp_path / "new").exists()


def test_faults_are_listed_and_the_rest_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = [f"{TOY}:{name}" for name in ("Walk", "Raising", "Diverging")]
    arguments = ["--methods", *methods, "--spaces", "nas-bench-201", "--seeds", 2, "--tier", "smoke"]
    assert main(*arguments, "--jobs", 1, "--output", tmp_path) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "2 runs done, 4 failed" in out
    assert "ZeroDivisionError: a fault of the method" in out
    frame = store.frame([tmp_path])
    assert sorted(frame["status"]) == ["diverged"] * 2 + ["done"] * 2 + ["error"] * 2
    assert main("--dry-run", *arguments, "--output", tmp_path) == 0
    assert "2 of 6 runs done" in capsys.readouterr().out


def test_redo(tmp_path: Path) -> None:
    arguments = ["--methods", "random", "--spaces", "nas-bench-201", "--seeds", 1, "--tier", "smoke", "--jobs", 1]
    assert main(*arguments, "--output", tmp_path) == 0
    (path,) = store.Store(tmp_path).files()
    first = path.stat().st_mtime_ns
    assert main(*arguments, "--output", tmp_path) == 0
    assert path.stat().st_mtime_ns == first
    assert main(*arguments, "--output", tmp_path, "--redo") == 0
    assert path.stat().st_mtime_ns > first


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, results = tmp_path / "gate", tmp_path / "results"
    monkeypatch.setenv("GATE", str(gate))
    arguments = ["--methods", f"{TOY}:Walk", f"{TOY}:Gated", "--spaces", "nas-bench-201", "--seeds", "3"]
    arguments += ["--tier", "smoke", "--output", str(results)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.run", *arguments, "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.time() + 120
    while len(list(tmp_path.glob("gate-*"))) < 2 and time.time() < deadline:  # both processes wait, two walks are done
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    try:
        _, err = process.communicate(timeout=60)
    finally:
        gate.touch()  # whatever still waits there ends
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert len(store.Store(results).files()) == 2
    assert main(*arguments, "--jobs", 1) == 0
    assert len(store.Store(results).files()) == 6
    assert set(store.frame([results])["status"]) == {"done"}
