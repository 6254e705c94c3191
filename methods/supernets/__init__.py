"""Supernets: one fused network per space that holds all its architectures with shared weights."""

from __future__ import annotations

from benchmarks.errors import UserError
from benchmarks.spaces import NASBench1Shot1, NASBench201, SearchSpace
from methods.supernets.nas_bench_1shot1 import NASBench1Shot1Supernet
from methods.supernets.nas_bench_201 import NASBench201Supernet
from methods.supernets.supernet import Supernet


def build(
    space: SearchSpace, *, channels: int, cells_per_stage: int, classes: int, track_running_stats: bool = False
) -> Supernet:
    """The supernet of a space, initialised from torch's global generator.

    Args:
        space: which.
        channels: of the first stage.
        cells_per_stage: searched cells in each of three stages.
        classes: outputs.
        track_running_stats: keep running statistics in batch norms and use them in eval mode.
    """
    if isinstance(space, NASBench201):
        return NASBench201Supernet(
            channels=channels, cells_per_stage=cells_per_stage, classes=classes, track=track_running_stats
        )
    if isinstance(space, NASBench1Shot1):
        return NASBench1Shot1Supernet(
            space, channels=channels, cells_per_stage=cells_per_stage, classes=classes, track=track_running_stats
        )
    raise UserError(f"there is no supernet of {space.name}")


__all__ = ["Supernet", "build"]
