"""Tiny networks whose scores can be worked out by hand, and a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from methods.proxies import Probe


class Small(nn.Module):
    """Conv, batch norm, ReLU, pool, linear: every kind of layer that proxies treat in a way of its own."""

    def __init__(self, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.relu(self.norm(self.conv(images)))).flatten(1))


class Disconnected(Small):
    """The output does not depend on the input, as in a cell of ``none``."""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.relu(self.norm(self.conv(images)))).flatten(1) * 0)


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def disconnected() -> nn.Module:
    torch.manual_seed(0)
    return Disconnected()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, 8, 8, generator=generator), torch.randint(4, (6,), generator=generator)


@pytest.fixture
def probe(batch):
    """A function from a network to its probe."""

    def make(network: nn.Module, seed: int = 0) -> Probe:
        return Probe(network, *batch, cross_entropy, torch.Generator().manual_seed(seed))

    return make
