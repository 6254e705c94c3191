"""Processes ended by SIGKILL at random moments, then the same command again: the same bits, nothing lost or doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import run, store
from benchmarks.spec import Status
from benchmarks.status import survey

ROOT = Path(__file__).parents[2]
METHODS = ("random", "zero-cost", "darts-1st", "darts-2nd", "balenas-1st", "balenas-2nd", "balenas-tf-1st")


def rows(folder: Path) -> dict[str, str]:
    """By spec hash, every digit of every row that is no time. NaN equals itself, since it is compared as text."""
    found: dict[str, str] = {}
    for record in store.Store(folder).records():
        assert record.spec.hash not in found
        assert record.status is Status.DONE
        found[record.spec.hash] = json.dumps(
            [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in record.rows]
        )
    return found


def assert_clean(folder: Path) -> None:
    """No checkpoint, claim, half-written or damaged file is left."""
    left = [
        path for path in folder.rglob("*") if path.suffix in (".pt", ".tmp", ".json") or path.parent.name == "damaged"
    ]
    assert [path.name for path in left] == ["RESULTS-STORE.json"]


def test_twenty_kills_change_no_bit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.harness.killing", str(tmp_path), "20", *METHODS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] >= 20
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == found["seeds"] * len(METHODS)
    assert_clean(tmp_path / "killed")
    whole, killed = ((tmp_path / f"states-{name}").read_text().splitlines() for name in ("whole", "killed"))
    assert set(killed) == set(whole)  # weights, optimizer and posterior, after every epoch
    assert len(killed) > len(whole)  # the kills cost epochs, which were searched again


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.run", "--spaces", "nas-bench-201", "--tier", "smoke"]
    command += ["--output", str(folder), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("whom", ["command", pytest.param("group", marks=pytest.mark.slow)])
def test_the_true_command_line_goes_on_after_sigkill(
    tmp_path: Path, whom: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed with its workers, or alone, when its orphans stop by themselves after the epoch that they are at."""
    rng = random.Random(whom)
    arguments = ["--methods", "tests.harness.toy:Slow", "--seeds", 4, "--jobs", 2]
    process = start(tmp_path / "killed", *arguments)
    wait_for(lambda: list(tmp_path.glob("killed/checkpoints/*.pt")))
    time.sleep(rng.uniform(0, 0.3))
    (os.kill if whom == "command" else os.killpg)(process.pid, signal.SIGKILL)
    process.wait()
    arguments = ["--spaces", "nas-bench-201", "--tier", "smoke", *map(str, arguments[:-1]), "1", "--output"]
    assert run.main([*arguments, str(tmp_path / "killed")]) == 0
    assert "4 runs done" in capsys.readouterr().out
    assert survey(store.Store(tmp_path / "killed")).counts.popitem()[1] == {"done": 4}
    assert run.main([*arguments, str(tmp_path / "whole")]) == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert_clean(tmp_path / "killed")
