"""The network that NAS-Bench-101 trained for every module (own code; the paper's Section 2 and Appendix A).

Every vertex adds up its in-edges, an edge from the input going through a 1x1 projection to the vertex's width. The
output concatenates the vertices that feed it, and adds the projected input if the input feeds it too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.spaces.nas_bench_101 import Matrix


def vertex_channels(channels_in: int, channels_out: int, matrix: Matrix) -> list[int]:
    """Width of every vertex.

    Vertices that feed the output share its width equally, the first ones one channel more where it does not divide;
    every other vertex is as wide as the widest vertex it feeds.
    """
    n = len(matrix)
    widths = [channels_in] + [0] * (n - 2) + [channels_out]
    if n == 2:
        return widths
    feeding = [v for v in range(1, n - 1) if matrix[v, n - 1]]
    share, surplus = divmod(channels_out, len(feeding))
    for position, v in enumerate(feeding):
        widths[v] = share + (position < surplus)
    for v in range(n - 3, 0, -1):
        if not matrix[v, n - 1]:
            widths[v] = max(widths[t] for t in range(v + 1, n - 1) if matrix[v, t])
    return widths


def parameter_count(
    matrix: Matrix, operations: Sequence[str], *, classes: int, channels: int = 128, cells_per_stage: int = 3
) -> int:
    """Trainable parameters of the network of a pruned module, in closed form.

    Where the output's width does not divide by the vertices that feed it, widths follow the order of the vertices, and
    two isomorphic modules may differ by a few parameters: the benchmark trained, and counted, one of them.
    """
    n = len(matrix)

    def conv_and_norm(channels_in: int, channels_out: int, kernel: int) -> int:
        return kernel**2 * channels_in * channels_out + 2 * channels_out

    def module(channels_in: int, channels_out: int) -> int:
        widths = vertex_channels(channels_in, channels_out, matrix)
        projections = sum(conv_and_norm(channels_in, widths[v], 1) for v in range(1, n) if matrix[0, v])
        kernels = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}
        return projections + sum(
            conv_and_norm(width, width, kernels[name])
            for name, width in zip(operations, widths[1:-1], strict=True)
            if name in kernels
        )

    total = conv_and_norm(3, channels, 3) + module(channels, channels) * cells_per_stage
    for width in (2 * channels, 4 * channels):
        total += module(width // 2, width) + module(width, width) * (cells_per_stage - 1)
    return total + (4 * channels + 1) * classes


class NASBench101Network(nn.Module):
    """Stem, three stages of modules with a halving of the image and a doubling of the width between, classifier.

    Args:
        matrix: of the pruned module.
        operations: of its interior vertices.
        channels: of the stem and the first stage.
        cells_per_stage: modules in each stage.
        classes: outputs.
    """

    def __init__(
        self, matrix: Matrix, operations: Sequence[str], *, channels: int, cells_per_stage: int, classes: int
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = [conv_bn_relu(3, channels, 3)]
        before, width = channels, channels
        for stage in range(3):
            if stage:
                blocks.append(nn.MaxPool2d(2))
                width *= 2
            for _ in range(cells_per_stage):
                blocks.append(Module(matrix, operations, before, width))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` to logits ``[B, classes]``."""
        logits: Tensor = self.classifier(self.blocks(images).mean((2, 3)))
        return logits


class Module(nn.Module):
    """One cell."""

    def __init__(self, matrix: Matrix, operations: Sequence[str], channels_in: int, channels_out: int) -> None:
        super().__init__()
        n = len(matrix)
        self.sources = [np.flatnonzero(matrix[:, v]).tolist() for v in range(n)]
        self.widths = vertex_channels(channels_in, channels_out, matrix)
        self.projections = nn.ModuleDict(
            {str(v): conv_bn_relu(channels_in, self.widths[v], 1) for v in range(1, n) if matrix[0, v]}
        )
        self.operations = nn.ModuleList(
            operation(name, width) for name, width in zip(operations, self.widths[1:-1], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, C', H, W]``."""
        vertices = [x]
        last = len(self.widths) - 1
        for v, apply in enumerate(self.operations, start=1):
            width = self.widths[v]
            # A wider source is cut to the vertex's width, as in the benchmark.
            terms = [self.projections[str(v)](x) if s == 0 else vertices[s][:, :width] for s in self.sources[v]]
            vertices.append(apply(functools.reduce(torch.add, terms)))
        parts = [vertices[s] for s in self.sources[last] if s != 0]
        projected = [self.projections[str(last)](x)] if 0 in self.sources[last] else []
        outputs = ([torch.cat(parts, dim=1)] if parts else []) + projected
        out: Tensor = functools.reduce(torch.add, outputs)
        return out


def conv_bn_relu(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    """Convolution without bias, batch norm (eps 1e-5, momentum 0.003 as in the benchmark), ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out, momentum=0.003),
        nn.ReLU(),
    )


def operation(name: str, channels: int) -> nn.Module:
    """The module of an operation name; raises ``KeyError`` for other names."""
    modules: dict[str, Callable[[], nn.Module]] = {
        "conv3x3-bn-relu": lambda: conv_bn_relu(channels, channels, 3),
        "conv1x1-bn-relu": lambda: conv_bn_relu(channels, channels, 1),
        "maxpool3x3": lambda: nn.MaxPool2d(3, stride=1, padding=1),
    }
    return modules[name]()
