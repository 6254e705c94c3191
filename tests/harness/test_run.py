"""The command line of the main job, as a user calls it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import make_tables
from benchmarks import run, spaces, status, store
from benchmarks.spec import Status
from benchmarks.workers import Processes
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
        (["--all", "--time-limit", "nan"], "must be positive"),
        (["--all", "--seeds", ""], "not numbers"),
        (["--all", "--tables", "/no/such/folder"], "/no/such/folder has no nas-bench-201.parquet"),
        (["--all", "--output", __file__, "--dry-run"], "is a file"),
        (["--all", "--output", str(Path(__file__).parent), "--dry-run"], "not ours"),
        (["--methods", "zero-cost", "zero-cost@draws=100", "--spaces", "nas-bench-201"], "are the same search"),
        (["--methods", "zero-cost@", "--spaces", "nas-bench-201"], "has no value"),
    ],
)
def test_bad_arguments(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*arguments) == 2
    error = capsys.readouterr().err
    assert named in error
    assert len(error.splitlines()) == 1


def test_an_output_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--all", "--output", "/proc/nowhere") == run.CANNOT_WRITE
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot write /proc/nowhere" in line


def test_no_option_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main("--all", "--seed", "3")  # seeds 0 to 2, or seed 3?
    assert "--seed" in capsys.readouterr().err


def test_options_add_up_and_what_is_named_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["--methods", "random", "darts-1st", "--methods", "zero-cost", "random"]
    places = ["--spaces", "nas-bench-201", "nas-bench-201"]
    assert main(*names, *places, "--seeds", 1, "--tier", "smoke", "--output", "new", "--dry-run") == 0
    assert "0 of 3 runs done" in capsys.readouterr().out


BROKEN = {
    "syntax": ("def", "does not import, SyntaxError: "),
    "name": ("\nx = y", "does not import, NameError: name 'y' is not defined (own_name.py, line 2)"),
    "dependency": ("import no_such_package", "does not import, ModuleNotFoundError: No module named 'no_such_package'"),
    "absent": ("from benchmarks.spec import Method\nclass Other(Method): ...", "is not there: choose from Other"),
    "function": ("def Own(): ...", "is no subclass of benchmarks.spec.Method: choose from (it has none)"),
    "config": (
        "from benchmarks.spec import Method\nclass Own(Method):\n    class Config: ...",
        "Own.Config must be a frozen dataclass in which every field has a default",
    ),
    "default": (
        "import dataclasses as d, benchmarks.spec as s\nclass Own(s.Method): Config = d.make_dataclass('C', ['n'])",
        "in which every field has a default",
    ),
    "json": (
        (
            "import dataclasses as d, benchmarks.spec as s\n"
            "class Own(s.Method): Config = d.make_dataclass('C', [('n', int, 1j)])"
        ),
        "has a value that a spec cannot hold",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_method_file_with_a_mistake(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, said = BROKEN[kind]
    (tmp_path / f"own_{kind}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert main("--methods", f"own_{kind}:Own", "--spaces", "nas-bench-201", "--output", tmp_path / "runs") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["own/file.py:Own", ".own:Own", ":Own"])
def test_what_is_no_name_of_a_module(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--methods", name, "--spaces", "nas-bench-201", "--dry-run") == 2
    assert "write package.module:Class" in capsys.readouterr().err


def test_done_runs_do_not_pass_for_looked_up_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--methods", "random", "--spaces", "nas-bench-201", "--tier", "smoke", "--seeds", 1, "--jobs", 1]
    assert main(*arguments, "--output", tmp_path) == 0
    results = store.Store(tmp_path)
    (made,) = results.records()
    results.append(replace(made, facts={**made.facts, "ground_truth_digest": "another"}))
    assert main(*arguments, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has random on nas-bench-201, seed 0 with accuracies of other tables" in line
    assert main(*arguments, "--output", tmp_path, "--redo") == 0
    assert main(*arguments, "--output", tmp_path) == 0


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


def test_brackets_in_a_message_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--methods", f"{TOY}:Walk@fault=markup", f"{TOY}:Walk", "--spaces", "nas-bench-201", "--seeds", 1]
    folder = tmp_path / "[red]"
    assert main(*arguments, "--tier", "smoke", "--jobs", 1, "--output", folder) == 1
    out = "".join(capsys.readouterr().out.split())
    assert out.count("noweightsin[/data/weights],shape[n,30]") == 2 and "1runsdone,1failed" in out
    assert out.count(f"{folder}") == 2
    assert status.main([str(folder)]) == 0
    assert "noweightsin[/data/weights],shape[n,30]" in "".join(capsys.readouterr().out.split())


def test_a_method_without_an_end_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--methods", f"{TOY}:Backwards", "--spaces", "nas-bench-201", "--seeds", 1, "--tier", "smoke"]
    assert main(*arguments, "--jobs", 1, "--output", tmp_path) == 1
    assert "is -1: choose a whole number" in " ".join(capsys.readouterr().out.split())


def test_redo(tmp_path: Path) -> None:
    arguments = ["--methods", "random", "--spaces", "nas-bench-201", "--seeds", 1, "--tier", "smoke", "--jobs", 1]
    assert main(*arguments, "--output", tmp_path) == 0
    (path,) = store.Store(tmp_path).files()
    first = path.stat().st_mtime_ns
    assert main(*arguments, "--output", tmp_path) == 0
    assert path.stat().st_mtime_ns == first
    assert main(*arguments, "--output", tmp_path, "--redo") == 0
    assert path.stat().st_mtime_ns > first


def test_a_redo_that_fails_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--methods", f"{TOY}:Walk", "--spaces", "nas-bench-201", "--seeds", 1, "--tier", "smoke", "--jobs", 1]
    assert main(*arguments, "--output", tmp_path) == 0
    results = store.Store(tmp_path)
    (before,) = results.files()
    finished = before.read_bytes()
    assert main(*arguments, "--output", tmp_path, "--redo", "--time-limit", 1e-9) == 1
    assert "its earlier result is kept in" in capsys.readouterr().err
    (failed,) = results.records()
    (kept,) = (path for path in (tmp_path / "replaced").rglob("*") if path.is_file())
    assert kept.relative_to(tmp_path / "replaced") == before.relative_to(tmp_path)
    assert failed.status is Status.TIMEOUT and kept.read_bytes() == finished
    assert main(*arguments, "--output", tmp_path, "--redo", "--time-limit", 1e-9) == 1
    assert kept.read_bytes() == finished  # a failed run is no result to keep
    kept.replace(before)
    capsys.readouterr()
    assert main("--dry-run", *arguments, "--output", tmp_path) == 0
    assert capsys.readouterr().out == "1 of 1 runs done\n"  # and no empty table of what is to do


def test_an_accuracy_that_the_table_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--methods", "random", "--spaces", "nas-bench-201", "--seeds", 2, "--tier", "smoke", "--jobs", 1]
    assert main(*arguments, "--output", tmp_path) == 0
    results = store.Store(tmp_path)
    for made in list(results.records()):
        results.append(replace(made, rows=tuple({**row, "cifar10_test": None} for row in made.rows)))
    capsys.readouterr()
    assert main(*arguments, "--output", tmp_path) == 0
    assert capsys.readouterr().out.count("not in the table") == 3


def test_a_path_without_permission_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(store.Store, "check", lambda self: closed(self.folder))
    monkeypatch.setattr(store.Store, "must_exist", lambda self: closed(self.folder))
    arguments = ["--methods", "random", "--spaces", "nas-bench-201", "--tier", "smoke", "--output", tmp_path]
    said = f"error: no permission for {tmp_path}: mend its permissions, or name another path"
    assert main(*arguments) == 2
    assert capsys.readouterr().err.splitlines() == [said]
    assert status.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [said]
    assert make_tables.main(["--results", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == said


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_ctrl_c_waits_for_a_moment_without_locks(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    workers, taken = Processes(2), []
    try:
        with pytest.raises(KeyboardInterrupt) if handler is signal.default_int_handler else nullcontext():
            for task, result in workers.map(abs, [-1, -2, -3]):
                os.kill(os.getpid(), signal.SIGINT)
                taken.append((task, result))  # is reached
        workers.kill()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(result == -task for task, result in taken)
    assert len(taken) == (1 if handler is signal.default_int_handler else 3)


@pytest.fixture
def _heeds_ctrl_c() -> Iterator[None]:
    """Processes started in the background of a shell ignore it, and so do theirs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeds_ctrl_c")
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
