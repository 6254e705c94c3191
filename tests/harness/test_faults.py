"""What may go wrong around a run: each time one clear line, earlier results intact, nothing damaged read as data."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import files, harness, run, store
from benchmarks.spec import Status
from tests.harness.test_harness import job, settings
from tests.harness.test_kills import assert_clean, rows, start, wait_for

TOY = "tests.harness.toy"


def do(folder: Path, *arguments: object, method: str = "Walk") -> int:
    fixed = ["--spaces", "nas-bench-201", "--tier", "smoke", "--jobs", "1", "--output", str(folder)]
    return run.main(["--methods", f"{TOY}:{method}", *fixed, *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in store.Store(folder).files()}


@pytest.mark.parametrize("jobs", [1, 2])
def test_sigterm_ends_the_epoch_and_keeps_it(tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "runs"
    monkeypatch.setenv("GATE", str(gate))
    process = start(folder, "--methods", f"{TOY}:Gated", "--seeds", 3, "--jobs", jobs, "--checkpoint-every", 100)
    wait_for(lambda: len(list(tmp_path.glob("gate-*"))) == jobs)
    os.killpg(process.pid, signal.SIGTERM)  # to all processes of the job, as Slurm does
    wait_for(lambda: not list(folder.glob("commands/*.json")))
    gate.touch()  # in the midst of the first epoch of every worker
    _, err = process.communicate(timeout=180)
    assert process.returncode == run.TERMINATED == 143, err
    assert err.splitlines() == ["stopped after the running epochs; the same command goes on where this one stopped"]
    assert sum("stopped after epoch 1" in path.read_text() for path in folder.glob("logs/*")) == jobs
    assert len(list(folder.glob("checkpoints/*.pt"))) == jobs  # although none was due
    assert do(folder, "--seeds", 3, method="Gated") == 0
    assert sum(record.facts["resumed"] for record in store.Store(folder).records()) == jobs
    if jobs == 1:
        assert do(tmp_path / "whole", "--seeds", 3, method="Gated") == 0
        assert rows(tmp_path / "whole") == rows(folder)


def test_sigterm_twice_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE", str(tmp_path / "never"))
    folder = tmp_path / "runs"
    process = start(folder, "--methods", f"{TOY}:Gated", "--seeds", 1, "--jobs", 1)
    wait_for(lambda: list(tmp_path.glob("never-*")))
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: not list(folder.glob("commands/*.json")))
    time.sleep(0.2)
    assert process.poll() is None  # the epoch, which never ends, is waited for
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == -signal.SIGTERM


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "flipped":  # a bit in every kilobyte: some bits of a Parquet file say nothing, such as its writer's name
        data = bytes(byte ^ 4 if number % 1000 == 100 else byte for number, byte in enumerate(data))
    path.write_bytes({"truncated": data[:-9], "half": data[: len(data) // 2], "empty": b""}.get(kind, data))


KINDS = ["truncated", "flipped", "half", "empty"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_result_is_moved_aside_and_done_again(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert do(tmp_path, "--seeds", 2) == 0
    whole, before = rows(tmp_path), contents(tmp_path)
    victim = store.Store(tmp_path).files()[0]
    damage(victim, kind)
    damaged = victim.read_bytes()
    capsys.readouterr()
    assert do(tmp_path, "--seeds", 2, "--dry-run") == 0
    assert "1 of 2 runs done" in capsys.readouterr().out
    assert victim.read_bytes() == damaged  # a dry run changes nothing
    assert do(tmp_path, "--seeds", 2) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {victim}") and f"moved to {tmp_path / 'damaged' / victim.name}" in line
    assert (tmp_path / "damaged" / victim.name).read_bytes() == damaged
    assert rows(tmp_path) == whole
    del before[str(victim)]
    assert before.items() <= contents(tmp_path).items()
    damage(victim, kind)  # a second time, the first remains are kept
    assert do(tmp_path, "--seeds", 2) == 0
    assert len(list((tmp_path / "damaged").iterdir())) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_is_moved_aside(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    execute = lambda where: harness.execute(job(), where, lambda epoch, epochs: None)  # noqa: E731
    whole = execute(settings(tmp_path / "whole"))
    folder = tmp_path / "runs"
    execute(settings(folder, time_limit=1e-9))
    path = store.Store(folder).checkpoint(job().spec)
    damage(path, kind)
    record = execute(settings(folder))
    assert record.status is Status.DONE and not record.facts["resumed"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not match its checksum" in line and str(folder / "damaged" / path.name) in line
    assert [r.get("distance") for r in record.rows] == [r.get("distance") for r in whole.rows]


class Hostile:
    """What runs a shell command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_hostile_checkpoint_runs_no_code(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    proof, buffer, spec = tmp_path / "proof", io.BytesIO(), job().spec
    content = {"spec": spec.hash, "rows": "[]", "state": Hostile(proof)}
    if form == "pickle":
        buffer.write(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, buffer, _use_new_zipfile_serialization=form == "zip")
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
        assert proof.exists()  # it does run where loading is careless
        proof.unlink()
    where = settings(tmp_path / "runs")
    path = where.store.checkpoint(spec)
    path.parent.mkdir()
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())  # the checksum is the right one
    record = harness.execute(job(), where, lambda epoch, epochs: None)
    assert record.status is Status.DONE and not record.facts["resumed"]
    assert not proof.exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be continued" in line
    assert (tmp_path / "runs" / "damaged" / path.name).exists()


def test_a_hostile_result_runs_no_code(tmp_path: Path) -> None:
    assert do(tmp_path, "--seeds", 1) == 0
    (path,) = store.Store(tmp_path).files()
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "proof")))
    assert do(tmp_path, "--seeds", 1) == 0
    assert not (tmp_path / "proof").exists()


def test_a_checkpoint_of_another_run_or_method_is_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = settings(tmp_path, time_limit=1e-9)
    harness.execute(job(), where, lambda epoch, epochs: None)
    other = job(length=4)
    where.store.checkpoint(job().spec).rename(where.store.checkpoint(other.spec))
    record = harness.execute(other, settings(tmp_path), lambda epoch, epochs: None)
    assert record.status is Status.DONE and not record.facts["resumed"]
    assert "it belongs to another run" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"may not mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 4096, 3 * 4096, 6 * 4096])
def test_a_full_disk(small_disk: Path, free: int, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_disk / "runs"
    assert do(folder, "--seeds", 1) == 0
    before = contents(folder)
    filler = small_disk / "filler"
    status = os.statvfs(small_disk)
    filler.write_bytes(bytes(status.f_bavail * status.f_bsize - free))
    capsys.readouterr()
    assert do(folder, "--seeds", 8) == run.CANNOT_WRITE
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line and "free space" in line and "finished runs are kept" in line
    assert before.items() <= contents(folder).items()
    filler.unlink()
    assert do(folder, "--seeds", 8) == 0
    assert len(rows(folder)) == 8
    assert_clean(folder)


def test_a_folder_that_turns_read_only(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_disk / "runs"
    assert do(folder, "--seeds", 1) == 0
    before = contents(folder)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    capsys.readouterr()
    assert do(folder, "--seeds", 2) == 74
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write {folder}" in line and "choose another folder" in line
    assert contents(folder) == before
    assert do(folder, "--seeds", 2, "--dry-run") == 0


def test_a_quota(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The system refuses files of over a megabyte, which the checkpoint is."""
    assert do(tmp_path, "--seeds", 1) == 0
    before, limits = contents(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        assert do(tmp_path, "--seeds", 1, method="Heavy") == run.CANNOT_WRITE
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = capsys.readouterr().err.splitlines()
    assert "File too large" in line and "checkpoints" in line
    assert contents(tmp_path) == before
    assert do(tmp_path, "--seeds", 1, method="Heavy") == 0
    assert_clean(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_whichever_write_fails(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first write of a command to its last, each in turn fails for good."""
    assert do(tmp_path, "--seeds", 1) == 0
    before, write = contents(tmp_path), files.write_atomically
    for allowed in range(40):
        left = [allowed]

        def writing(path: Path, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise OSError(number, os.strerror(number))
            left[0] -= 1
            write(path, data)

        capsys.readouterr()
        monkeypatch.setattr(files, "write_atomically", writing)
        code = do(tmp_path, "--seeds", 2, "--redo")
        monkeypatch.setattr(files, "write_atomically", write)
        if code == 0:
            break
        assert code == run.CANNOT_WRITE
        (line,) = capsys.readouterr().err.splitlines()
        assert os.strerror(number) in line
        assert len(before) <= len(rows(tmp_path)) <= 2  # each readable, and none lost although --redo was given
    assert 10 < allowed < 40
    assert_clean(tmp_path)


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_jumps(tmp_path: Path, jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert do(tmp_path / "calm", "--seeds", 2, "--time-limit", 600) == 0
    real, calls = time.time, [0]

    def jumping() -> float:
        calls[0] += 1
        return real() + jump * (calls[0] % 3)

    monkeypatch.setattr(time, "time", jumping)
    assert do(tmp_path / "jumping", "--seeds", 2, "--time-limit", 600) == 0
    assert calls[0] > 0
    assert rows(tmp_path / "calm") == rows(tmp_path / "jumping")
    for record in store.Store(tmp_path / "jumping").records():
        seconds = [float(str(row["seconds"])) for row in record.rows]
        assert seconds[0] >= 0 and seconds == sorted(seconds) and seconds[-1] < 60


def test_a_redo_that_is_cut_short_keeps_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert do(tmp_path, "--seeds", 1) == 0
    before = contents(tmp_path)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(harness, "_problem", interrupt)
        assert do(tmp_path, "--seeds", 1, "--redo") == run.INTERRUPTED
    assert contents(tmp_path) == before


def test_the_log_of_a_run_tells_its_story(tmp_path: Path) -> None:
    failing = job(fault="raise", at=3)
    where = settings(tmp_path)
    harness.execute(failing, where, lambda epoch, epochs: None)
    log = where.store.log(failing.spec)
    assert log.name.startswith("tests.harness.toy.Walk-nas-bench-201-smoke-seed-0-")
    text = log.read_text()
    assert [line.split()[2] for line in text.splitlines()[:5]] == ["start", "epoch", "epoch", "epoch", "error"]
    assert "epoch 2/5 |" in text and "distance=" in text
    assert "Traceback" in text and "ZeroDivisionError: a fault of the method" in text
    harness.execute(failing, where, lambda epoch, epochs: None)
    assert "continues after epoch 2" in log.read_text()
