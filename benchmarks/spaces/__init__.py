"""Search spaces by the names that the command line uses."""

from __future__ import annotations

from benchmarks.errors import one_of
from benchmarks.spaces.nas_bench_1shot1 import NASBench1Shot1
from benchmarks.spaces.nas_bench_201 import NASBench201
from benchmarks.spaces.space import Architecture, ParameterGroup, SearchSpace

SPACES: dict[str, SearchSpace] = {
    space.name: space for space in (NASBench201(), NASBench1Shot1(1), NASBench1Shot1(2), NASBench1Shot1(3))
}


def get(name: str) -> SearchSpace:
    """The space of that name. Raises ``UserError`` that lists the names."""
    if name not in SPACES:
        raise one_of("space", name, SPACES)
    return SPACES[name]


__all__ = ["SPACES", "Architecture", "NASBench1Shot1", "NASBench201", "ParameterGroup", "SearchSpace", "get"]
