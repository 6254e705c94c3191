"""The fused NAS-Bench-201 supernet.

The public search code has a module per edge and operation: 24 convolution, pooling and batch-norm calls a cell. Here
each *source* node does its work once for all its out-edges:

    one ReLU and one pooling            they do not depend on the edge
    one 3x3 convolution                 the filters of all out-edges, side by side
    no 1x1 convolution                  it folds, with its batch norm, into one matrix product (``source.py``)
    one pass over the results           batch norms, operation weights and the sum of everything (``mix.py``)

``none`` costs nothing. What an edge computes is exactly the module-per-operation network; ``tests/textbook.py`` holds
that one, and the tests compare logits and all gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.spaces.nas_bench_201 import EDGES, NODES, OPERATIONS
from methods.supernets.source import Source
from methods.supernets.supernet import AffineBatchNorm, Supernet


class NASBench201Supernet(Supernet):
    """Stem, three stages of cells with residual reductions between, as in AutoDL's search network.

    Args:
        channels: C of the first stage.
        cells_per_stage: N.
        classes: outputs.
        track: running statistics in all batch norms.
    """

    def __init__(self, *, channels: int, cells_per_stage: int, classes: int, track: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), AffineBatchNorm(channels, track=track)
        )
        self.blocks = nn.ModuleList()
        for stage in range(3):
            if stage:
                self.blocks.append(Reduction(channels, 2 * channels, track=track))
                channels *= 2
            self.blocks.extend(Cell(channels, track=track) for _ in range(cells_per_stage))
        self.norm = AffineBatchNorm(channels, track=track)
        self.classifier = nn.Linear(channels, classes)

    def logits(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None) -> Tensor:
        """See ``Supernet``. Operation weights are ordered edge by edge, ``EDGES`` x ``OPERATIONS``."""
        mixture = weights.reshape(len(EDGES), len(OPERATIONS))
        marks = [True] * weights.numel() if active is None else active
        mask = [marks[start : start + len(OPERATIONS)] for start in range(0, len(marks), len(OPERATIONS))]
        x = self.stem(self.laid_out(images))
        for block in self.blocks:
            x = block(x, mixture, mask) if isinstance(block, Cell) else block(x)
        return cast(Tensor, self.classifier(functional.relu(self.norm(x)).mean((2, 3))))


class Cell(nn.Module):
    """Three sources and the sums between them."""

    def __init__(self, channels: int, *, track: bool) -> None:
        super().__init__()
        self.sources = nn.ModuleList(Source(channels, NODES - 1 - s, track=track) for s in range(NODES - 1))
        self.out_edges = [[i for i, (a, _) in enumerate(EDGES) if a == s] for s in range(NODES - 1)]

    def forward(self, x: Tensor, mixture: Tensor, active: Sequence[Sequence[bool]]) -> Tensor:
        """``[B, C, H, W]`` kept; ``mixture`` and ``active`` are ``[edges, operations]``."""
        sums: tuple[Tensor, ...] = ()  # what earlier sources gave to the nodes that are not complete yet
        for source, edges in zip(self.sources, self.out_edges, strict=True):
            x, *sums = source(x, sums, mixture[edges], [active[edge] for edge in edges])
        return x


class Reduction(nn.Module):
    """The residual block of stride 2 between stages."""

    def __init__(self, channels_in: int, channels_out: int, *, track: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False)
        self.first_norm = AffineBatchNorm(channels_out, track=track)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = AffineBatchNorm(channels_out, track=track)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, C', H/2, W/2]``."""
        y = self.first_norm(self.first(functional.relu(x)))
        y = self.second_norm(self.second(functional.relu(y)))
        return cast(Tensor, y + self.shortcut(functional.avg_pool2d(x, 2)))
