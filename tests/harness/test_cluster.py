"""The same command on a dask cluster of worker processes, one of which dies."""

from __future__ import annotations

import builtins
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run, workers
from benchmarks.claims import Claim, Claims
from benchmarks.status import survey
from benchmarks.store import Store
from tests.harness.test_kills import assert_clean, rows, wait_for

TOY = "tests.harness.toy"
FIXED = ["--spaces", "nas-bench-201", "--tier", "smoke"]


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    folder, found = tmp_path / "runs", list[Claim]()

    def kill_one() -> None:
        wait_for(lambda: any(claim.epoch >= 2 for claim in Claims(folder / "claims").all().values()))
        found.extend(claim for claim in Claims(folder / "claims").all().values() if claim.epoch >= 2)
        os.kill(found[0].owner.pid, signal.SIGKILL)

    arguments = ["--methods", f"{TOY}:Slow", f"{TOY}:Continuing", *FIXED, "--seeds", "3"]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        killer = threading.Thread(target=kill_one)
        killer.start()
        assert run.main([*arguments, "--output", str(folder), "--dask-scheduler", cluster.scheduler_address]) == 0
        killer.join()
    assert "9 runs done, 0 failed" in capsys.readouterr().out
    assert {tuple(states.items()) for states in survey(Store(folder)).counts.values()} == {(("done", 3),)}
    method, _, seed = found[0].label.partition(" on nas-bench-201, seed ")
    (log,) = (folder / "logs").glob(f"{method.replace(':', '.')}-*-seed-{seed}-*.log")
    pids = re.findall(r"start .*:(\d+)$", log.read_text(), re.MULTILINE)
    assert len(pids) == 2 and pids[0] == str(found[0].owner.pid) != pids[1]  # begun by the one, ended by another
    assert "continues after epoch" in log.read_text()
    starts = sum(path.read_text().count(" start ") for path in (folder / "logs").iterdir())
    assert starts == 9 + 1
    assert run.main([*arguments, "--output", str(tmp_path / "local"), "--jobs", "1"]) == 0
    assert rows(folder) == rows(tmp_path / "local")
    assert_clean(folder)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dask-scheduler", "tcp://127.0.0.1:9"], "start one with `dask scheduler`"),
        (["--dask-scheduler", "nonsense://"], "start one with `dask scheduler`"),
        (["--dask-scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], "give one"),
    ],
)
def test_mistakes(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(workers, "CONNECT", 1)
    assert run.main(["--methods", "random", *FIXED, "--output", str(tmp_path), *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert named in line


def test_workers_find_what_this_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have another working directory and environment, and perhaps a GPU."""
    handed: list[Any] = []
    monkeypatch.setattr(run, "Cluster", lambda address: workers.Here())
    monkeypatch.setattr(run.execution, "run", lambda plan, settings, **rest: handed.append(settings) or [])
    monkeypatch.setattr(run.torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    arguments = ["--methods", "random", *FIXED, "--output", "out", "--dask-scheduler", "x", "--device", "cuda"]
    for given, found in ((None, tmp_path / "data"), ("elsewhere", tmp_path / "elsewhere")):
        monkeypatch.delenv("BALENAS_DATA_DIR", raising=False)
        if given:
            monkeypatch.setenv("BALENAS_DATA_DIR", given)
        assert run.main(arguments) == 0
        assert handed[-1].data_dir == found and handed[-1].store.folder == tmp_path / "out"


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "distributed":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run.main(["--methods", "random", *FIXED, "--output", str(tmp_path), "--dask-scheduler", "tcp://x:1"]) == 2
    assert "balenas-bench[cluster]" in capsys.readouterr().err


@pytest.mark.parametrize(("devices", "expected"), [(0, [None] * 4), (1, [0, 0, 0, 0]), (3, [0, 1, 2, 0])])
def test_devices_go_round(devices: int, expected: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert [workers.take_device(number) for number in range(1, 5)] == expected
    assert chosen == [device for device in expected if device is not None]


def test_worker_processes_are_numbered() -> None:
    """Which is what the devices go by."""
    from joblib.externals.loky import ProcessPoolExecutor

    def number(_: int) -> int:  # local, so that it travels by value and the workers import little
        import time

        from benchmarks import workers

        time.sleep(0.2)
        return workers._number()

    with ProcessPoolExecutor(max_workers=2) as executor:
        numbers = set(executor.map(number, range(8)))
    assert len(numbers) == 2 and max(numbers) - min(numbers) == 1
