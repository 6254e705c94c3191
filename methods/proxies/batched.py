"""SynFlow and log-SynFlow of many NAS-Bench-201 architectures in one forward and one backward sweep.

The pass of SynFlow has one image, so the architectures themselves can be the batch: at a common initialisation
(``initialise``) they share the weights of every operation, and on each edge it runs once for all that chose it.
With positive weights no ReLU ever cuts and without batch norm the network is linear, so the backward sweep is the
adjoint of each operation, written out, and needs none of autograd's memory. For a layer z = W x with output gradient d

    sum over w of w * dR/dw = <W x, d> = <x, W' d>         (Euler; nothing is computed per weight)
    dR/dw = x (*) d                                        (log-SynFlow only)

SNIP and GraSP are not here because it would not pay. Their pass has 64 images and each network its own batch
statistics, so one network already fills the convolutions: to build, initialise and copy it takes 8 % of SNIP's time
and 3 % of GraSP's (five cells, C=16, N=5, 32x32, one thread), the most that sharing a pass could save. Speeds of the
rest, relative to one network after the other, over the three stages and two measurements: four networks in one grouped
3x3 convolution, forward and backward, 0.68 to 1.01; four times as many images through one shared weight 0.64 to 1.00;
GraSP's H g by forward over reverse (``torch.func``) 0.28 to 0.57. ``tests/proxies/test_batched.py`` measures the first
two again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.spaces.nas_bench_201 import EDGES, NODES, OPERATIONS, NASBench201
from benchmarks.spaces.nas_bench_201_network import Cell, NASBench201Network, ResidualReduction
from benchmarks.spaces.space import Architecture
from methods.proxies.initialisation import initialise

BATCHED = ("synflow", "log-synflow")
"""Proxies that score many NAS-Bench-201 architectures in one sweep."""
NONE, SKIP, CONV1, CONV3, POOL = range(len(OPERATIONS))
ROWS = 4
"""Images a convolution call. More makes im2col buffers that the allocator returns to the system after every call."""
BATCH = 24
"""Architectures a sweep; nodes take about 8 MB each at full size."""


def synflow_of_many(
    architectures: Sequence[Architecture],
    *,
    seed: int,
    channels: int = 16,
    cells_per_stage: int = 5,
    classes: int = 10,
    image_size: int = 32,
    log: bool = True,
) -> dict[str, np.ndarray]:
    """Scores equal to ``PROXIES[...]`` on ``initialise(NASBench201().network(...), seed)``, up to rounding.

    Args:
        architectures: operation tuples.
        seed: of the initialisation.
        channels: C of the network.
        cells_per_stage: N.
        classes: outputs.
        image_size: height and width in pixels, a multiple of 4.
        log: whether log-SynFlow is wanted too; it costs about as much again.

    Returns:
        float64 ``[len(architectures)]`` under ``synflow`` and, if asked for, ``log-synflow``.
    """
    network = PositiveNetwork(seed, channels, cells_per_stage, classes)
    scores: list[_Scores] = []
    with torch.no_grad():
        for start in range(0, len(architectures), BATCH):
            operations = torch.tensor(architectures[start : start + BATCH])
            scores.append(network.scores(operations, image_size, log=log))
    found = {"synflow": torch.cat([s.flow for s in scores]).numpy()} if scores else {"synflow": np.empty(0)}
    if log:
        found["log-synflow"] = torch.cat([s.log_flow for s in scores]).numpy() if scores else np.empty(0)
    return found


@dataclass
class _Scores:
    """Sums over the layers seen so far, a row an architecture."""

    count: int
    log: bool
    flow: Tensor = field(init=False)
    log_flow: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.flow = torch.zeros(self.count, dtype=torch.float64)
        self.log_flow = torch.zeros(self.count, dtype=torch.float64)


@dataclass(frozen=True)
class _Convolution:
    """A convolution with positive weights ``[C', C, k, k]``, padding k // 2, as a linear map with an adjoint."""

    weight: Tensor
    stride: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        k = self.weight.shape[-1]
        parts = [F.conv2d(part, self.weight, stride=self.stride, padding=k // 2) for part in x.split(ROWS)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def backward(self, x: Tensor, d: Tensor, rows: Tensor | None, scores: _Scores) -> Tensor:
        """Gradient in the input ``x [A, C, H, W]`` from that in the output; adds the layer to ``scores[rows]``."""
        k = self.weight.shape[-1]
        parts = [
            F.conv_transpose2d(part, self.weight, stride=self.stride, padding=k // 2, output_padding=self.stride - 1)
            if self.stride > 1
            else F.conv2d(part, self.weight.flip(2, 3).transpose(0, 1), padding=k // 2)
            for part in d.split(ROWS)
        ]
        gradient = torch.cat(parts) if len(parts) > 1 else parts[0]
        rows = torch.arange(len(x)) if rows is None else rows
        scores.flow.index_add_(0, rows, _inner(x, gradient))
        if scores.log:
            scores.log_flow.index_add_(0, rows, self._log_flow(x, d))
        return gradient

    def _log_flow(self, x: Tensor, d: Tensor) -> Tensor:
        k, weight = self.weight.shape[-1], self.weight.flatten(1)
        sums = []
        for part, gradient in zip(x.split(ROWS), d.split(ROWS), strict=True):
            columns = F.unfold(part, k, stride=self.stride, padding=k // 2) if k > 1 else part.flatten(2)
            in_weights = gradient.flatten(2) @ columns.transpose(1, 2)
            sums.append((weight * in_weights.log1p_()).sum((1, 2)))
        return torch.cat(sums)


class PositiveNetwork:
    """The absolute weights of all operations on all edges of NAS-Bench-201's network at one initialisation, float64."""

    def __init__(self, seed: int, channels: int, cells_per_stage: int, classes: int) -> None:
        def skeleton(operation: int) -> NASBench201Network:
            architecture = (operation,) * len(EDGES)
            network = NASBench201().network(
                architecture, channels=channels, cells_per_stage=cells_per_stage, classes=classes
            )
            assert isinstance(network, NASBench201Network)
            initialise(network, seed)
            return network

        with_3x3, with_1x1 = skeleton(CONV3), skeleton(CONV1)
        self.stem = _positive(with_3x3.stem[0])
        self.head = with_3x3.classifier.weight.detach().double().abs()
        self.bodies: list[_CellMap | _ReductionMap] = []
        for block, other in zip(with_3x3.blocks, with_1x1.blocks, strict=True):
            if isinstance(block, Cell):
                assert isinstance(other, Cell)
                convolutions = [
                    {CONV3: _positive(three[1]), CONV1: _positive(one[1])}  # type: ignore[index]
                    for three, one in zip(block.edges, other.edges, strict=True)
                ]
                self.bodies.append(_CellMap(convolutions))
            else:
                assert isinstance(block, ResidualReduction)
                first, second = (_positive(layer[1]) for layer in block.convolutions)  # type: ignore[index]
                self.bodies.append(_ReductionMap(first, second, _positive(block.shortcut[1])))

    def scores(self, operations: Tensor, image_size: int, *, log: bool) -> _Scores:
        """Score the architectures ``operations [A, 6]``."""
        scores = _Scores(len(operations), log)
        chosen = [
            [(op, rows) for op in range(SKIP, POOL + 1) if len(rows := torch.nonzero(column == op)[:, 0])]
            for column in operations.T
        ]
        ones = torch.ones(len(operations), 3, image_size, image_size, dtype=torch.float64)
        x = self.stem(ones[:1]).expand(len(ones), -1, -1, -1)
        kept = []
        for body in self.bodies:
            nodes = body.forward(x, chosen)
            kept.append(nodes)
            x = nodes[-1]

        mean = x.mean((2, 3))
        scores.flow += (self.head @ mean.T).sum(0)
        if log:
            scores.log_flow += (self.head @ mean.log1p().T).sum(0)
        d = (self.head.sum(0) / x[0, 0].numel())[:, None, None].expand_as(x)
        for body in reversed(self.bodies):
            d = body.backward(kept.pop(), d, chosen, scores)
        self.stem.backward(ones, d, None, scores)
        return scores


Chosen = Sequence[Iterable[tuple[int, Tensor]]]
"""For every edge: the operations in use, each with the rows of the architectures that chose it."""


@dataclass(frozen=True)
class _CellMap:
    """A searched cell; ``convolutions[edge][operation]``."""

    convolutions: list[dict[int, _Convolution]]

    def forward(self, x: Tensor, chosen: Chosen) -> list[Tensor]:
        """All nodes, the input first."""
        nodes = [x, *(torch.zeros(x.shape, dtype=x.dtype) for _ in range(1, NODES))]
        for edge, (source, target) in enumerate(EDGES):
            for op, rows in chosen[edge]:
                value = nodes[source].index_select(0, rows)
                if op == POOL:
                    value = _box(value).div_(_window(value))
                elif op != SKIP:
                    value = self.convolutions[edge][op](value)
                nodes[target].index_add_(0, rows, value)
        return nodes

    def backward(self, nodes: list[Tensor], d: Tensor, chosen: Chosen, scores: _Scores) -> Tensor:
        """Gradient in the input."""
        gradients = [*(torch.zeros(d.shape, dtype=d.dtype) for _ in range(1, NODES)), d]
        for edge, (source, target) in reversed(list(enumerate(EDGES))):
            for op, rows in chosen[edge]:
                value = gradients[target].index_select(0, rows)
                if op == POOL:
                    value = _box(value.div_(_window(value)))
                elif op != SKIP:
                    x = nodes[source].index_select(0, rows)
                    value = self.convolutions[edge][op].backward(x, value, rows, scores)
                gradients[source].index_add_(0, rows, value)
        return gradients[0]


@dataclass(frozen=True)
class _ReductionMap:
    """The residual block of stride 2, which every architecture has."""

    first: _Convolution
    second: _Convolution
    shortcut: _Convolution

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", _Convolution(self.first.weight, stride=2))

    def forward(self, x: Tensor, chosen: Chosen) -> list[Tensor]:  # noqa: ARG002 - as a cell
        """What ``backward`` needs, the output last."""
        inner, pooled = self.first(x), F.avg_pool2d(x, 2)
        return [x, inner, pooled, self.second(inner) + self.shortcut(pooled)]

    def backward(self, nodes: list[Tensor], d: Tensor, chosen: Chosen, scores: _Scores) -> Tensor:  # noqa: ARG002
        """Gradient in the input."""
        x, inner, pooled, _ = nodes
        through = self.first.backward(x, self.second.backward(inner, d, None, scores), None, scores)
        beside = self.shortcut.backward(pooled, d, None, scores) / 4
        return through + F.interpolate(beside, scale_factor=2, mode="nearest")


def _positive(layer: nn.Module) -> _Convolution:
    assert isinstance(layer, nn.Conv2d)
    return _Convolution(layer.weight.detach().double().abs())


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each pair of rows."""
    products: Tensor = torch.linalg.vecdot(a.flatten(1), b.flatten(1))
    return products


def _box(x: Tensor) -> Tensor:
    """Sums over 3x3 windows, zero outside; its own adjoint."""
    rows = x.clone()
    rows[..., 1:, :] += x[..., :-1, :]
    rows[..., :-1, :] += x[..., 1:, :]
    out = rows.clone()
    out[..., 1:] += rows[..., :-1]
    out[..., :-1] += rows[..., 1:]
    return out


def _window(x: Tensor) -> Tensor:
    """Pixels inside each 3x3 window, ``[H, W]``: average pooling divides by them."""
    return _box(torch.ones(x.shape[-2:], dtype=x.dtype))
