"""How long the command lines take on a store of the reference's size, against the 30 s that they are allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import check_claims, make_figures, make_report, make_tables
from benchmarks.store import Store
from tests.analysis.conftest import record


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Store(tmp_path_factory.mktemp("speed") / "runs").open()
    for method in ("random", "zero-cost", "darts-1st", "darts-2nd", "balenas-1st", "balenas-2nd", "balenas-tf-1st"):
        for space in ("nas-bench-201", "nas-bench-1shot1-s1", "nas-bench-1shot1-s3"):
            for seed in range(8):
                made.append(record(method, space, seed, "cpu"))
    return made.folder


@pytest.mark.benchmark(group="analysis: seconds of a command, 168 runs")
@pytest.mark.parametrize("command", [make_tables, make_figures, check_claims, make_report], ids=lambda m: m.__name__)
def test_commands(command, store: Path, tmp_path: Path, benchmark):
    arguments = ["--results", str(store), "--output", str(tmp_path)]
    assert benchmark.pedantic(command.main, (arguments,), rounds=1) == 0
    print(
        f"\n{command.__name__}: {benchmark.stats['mean']:.1f} s, {benchmark.stats['mean'] / 30:.0%} of the time allowed"
    )
