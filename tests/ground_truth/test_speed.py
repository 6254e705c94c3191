"""The figures that the tables are to reach, measured: load time and memory, array queries, single queries."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.ground_truth import Dataset, Mean, NASBench201Table, Split

pytestmark = pytest.mark.benchmark

QUESTION: dict[str, Any] = {"dataset": Dataset.CIFAR10, "split": Split.TEST, "epochs": 200, "reduction": Mean()}

# A fresh interpreter each: seconds from the first import to the open table, and resident memory before and after
# (not the peak that ``resource`` reports: a child inherits its parent's).
OPEN = """
import json, time, psutil
memory = lambda: psutil.Process().memory_info().rss / 2**20
bare, start = memory(), time.perf_counter()
from benchmarks import ground_truth
ground_truth.load("nas-bench-201", tables=None)
print(json.dumps({"seconds": time.perf_counter() - start, "megabytes": memory() - bare}))
"""


def test_open_in_a_fresh_interpreter(benchmark: BenchmarkFixture) -> None:
    opened: list[dict[str, float]] = []

    def run() -> None:
        done = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, check=True)
        opened.append(json.loads(done.stdout))

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    seconds, megabytes = min(o["seconds"] for o in opened), max(o["megabytes"] for o in opened)
    benchmark.extra_info.update(seconds=seconds, megabytes=megabytes)
    print(f"\nnas-bench-201 opens in {seconds:.3f} s (to reach: 0.3) with {megabytes:.0f} MB more (to reach: 100)")
    assert seconds < 0.3
    assert megabytes < 100


def test_all_architectures_in_one_query(benchmark: BenchmarkFixture, nb201: NASBench201Table) -> None:
    values = benchmark(nb201.accuracy, nb201.architectures, **QUESTION)
    assert len(values) == 15_625
    milliseconds = 1e3 * benchmark.stats.stats.median
    print(f"\n15,625 test accuracies in {milliseconds:.2f} ms (to reach: 5)")
    assert milliseconds < 5


def test_single_queries(benchmark: BenchmarkFixture, nb201: NASBench201Table) -> None:
    architectures = list(map(tuple, nb201.architectures.tolist()))

    def ask() -> None:
        for architecture in architectures:
            nb201.accuracy(architecture, dataset=Dataset.CIFAR10, split=Split.TEST, epochs=200, reduction=Mean())

    benchmark(ask)
    rate = len(architectures) / benchmark.stats.stats.median
    print(f"\n{rate:,.0f} single queries a second (to reach: 100,000)")
    assert rate > 100_000
