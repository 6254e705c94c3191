"""What a second worker process is worth, beginning to end: ``tox -e benchmark``."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import store

ROOT = Path(__file__).parents[2]
AIM = 1.8


@pytest.mark.benchmark(group="execution: two jobs against one, the whole command")
def test_two_jobs_against_one(tmp_path: Path, benchmark: Any) -> None:
    """Twenty searches of the quick tier, what starting the processes costs included."""

    def command(jobs: int) -> None:
        arguments = ["--methods", "darts-1st", "balenas-1st", "--spaces", "nas-bench-201", "--tier", "quick"]
        fixed = ["--seeds", "10", "--jobs", str(jobs), "--output", str(tmp_path / str(jobs))]
        call = [sys.executable, "-m", "benchmarks.run", *arguments, *fixed]
        subprocess.run(call, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def cpu_seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    marks, begun = [cpu_seconds()], time.perf_counter()
    command(1)
    one = time.perf_counter() - begun
    marks.append(cpu_seconds())
    benchmark.pedantic(command, (2,), rounds=1)
    two = benchmark.stats["mean"]
    marks.append(cpu_seconds())
    assert len(store.Store(tmp_path / "2").files()) == len(store.Store(tmp_path / "1").files()) == 20
    print(f"\none job {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast (aim {AIM}, {os.cpu_count()} cores)")
    # Where other work takes part of the cores, the ratio above says little; the next is what idle cores allow.
    one_cpu, two_cpu = marks[1] - marks[0], marks[2] - marks[1]
    print(
        f"CPU seconds {one_cpu:.1f} and {two_cpu:.1f}: on idle cores at most {2 * one_cpu / two_cpu:.2f} times as fast"
    )
