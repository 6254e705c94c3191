from __future__ import annotations

import pytest

from benchmarks import ground_truth
from benchmarks.ground_truth import NASBench1Shot1Table, NASBench201Table


@pytest.fixture(scope="session")
def nb201() -> NASBench201Table:
    table = ground_truth.load("nas-bench-201", tables=None)
    assert isinstance(table, NASBench201Table)
    return table


@pytest.fixture(scope="session")
def one_shot() -> dict[int, NASBench1Shot1Table]:
    tables = {space: ground_truth.load(f"nas-bench-1shot1-s{space}", tables=None) for space in (1, 2, 3)}
    assert all(isinstance(table, NASBench1Shot1Table) for table in tables.values())
    return tables  # type: ignore[return-value]
