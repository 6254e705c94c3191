"""The network that NAS-Bench-201 trained for every cell (own code; architecture as in the paper's Figure 1)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) in the order of the official strings: by target, then by source."""


class NASBench201Network(nn.Module):
    """Stem, three stages of cells with a residual block of stride 2 between them, pooling, classifier.

    Args:
        operations: names of the operations on the six edges.
        channels: of the first stage; doubled in each of the next two.
        cells_per_stage: N.
        classes: outputs.
    """

    def __init__(self, operations: Sequence[str], *, channels: int, cells_per_stage: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        blocks: list[nn.Module] = []
        width = channels
        for stage in range(3):
            if stage:
                blocks.append(ResidualReduction(width, 2 * width))
                width *= 2
            blocks += [Cell(operations, width) for _ in range(cells_per_stage)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` to logits ``[B, classes]``."""
        logits: Tensor = self.classifier(self.head(self.blocks(self.stem(images))))
        return logits


class Cell(nn.Module):
    """Four nodes; a node is the sum of its in-edges' operations on earlier nodes, the last node the output."""

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(operation(name, channels) for name in operations)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``[B, C, H, W]`` kept."""
        nodes = [x]
        for target in range(1, 4):
            terms = [e(nodes[a]) for (a, b), e in zip(EDGES, self.edges, strict=True) if b == target]
            nodes.append(functools.reduce(torch.add, terms))  # stacking them would lose the channels-last layout
        return nodes[-1]


class Zero(nn.Module):
    """The operation ``none``."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the input's shape, cut off from it."""
        return torch.zeros_like(x)


class ResidualReduction(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside average pooling and a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            relu_conv_bn(channels_in, channels_out, 3, stride=2), relu_conv_bn(channels_out, channels_out, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels_in, channels_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, C', H/2, W/2]``."""
        out: Tensor = self.convolutions(x) + self.shortcut(x)
        return out


def relu_conv_bn(channels_in: int, channels_out: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution without bias, batch norm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


def operation(name: str, channels: int) -> nn.Module:
    """The module of an operation name; raises ``KeyError`` for other names."""
    modules: dict[str, Callable[[], nn.Module]] = {
        "none": Zero,
        "skip_connect": nn.Identity,
        "nor_conv_1x1": lambda: relu_conv_bn(channels, channels, 1),
        "nor_conv_3x3": lambda: relu_conv_bn(channels, channels, 3),
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    }
    return modules[name]()
