"""The supernets as public search code writes them: a module an operation and edge, channels first, all autograd.

They prove the fused ones: same parameters, same numbers. Nothing here is clever and nothing deliberately slow.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.spaces import NASBench1Shot1, NASBench201, SearchSpace
from benchmarks.spaces.nas_bench_201 import EDGES, NODES
from methods.supernets import Supernet
from methods.supernets.nas_bench_1shot1 import NASBench1Shot1Supernet
from methods.supernets.nas_bench_201 import Cell, NASBench201Supernet


def norm(channels: int, *, affine: bool, track: bool) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=affine, track_running_stats=track)


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0)


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int, *, affine: bool, track: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
        norm(c_out, affine=affine, track=track),
    )


class MixedEdge(nn.Module):
    def __init__(self, channels: int, track: bool) -> None:
        super().__init__()
        self.operations = nn.ModuleList(
            [
                Zero(),
                nn.Identity(),
                relu_conv_bn(channels, channels, 1, 1, affine=False, track=track),
                relu_conv_bn(channels, channels, 3, 1, affine=False, track=track),
                nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            ]
        )

    def forward(self, x: Tensor, weights: Tensor, active: Sequence[bool]) -> Tensor:
        terms = [w * op(x) for w, op, on in zip(weights, self.operations, active, strict=True) if on]
        return sum(terms) if terms else torch.zeros_like(x)


class MixedCell(nn.Module):
    def __init__(self, channels: int, track: bool) -> None:
        super().__init__()
        self.edges = nn.ModuleList(MixedEdge(channels, track) for _ in EDGES)

    def forward(self, x: Tensor, weights: Tensor, active: Tensor) -> Tensor:
        nodes = [x]
        for target in range(1, NODES):
            nodes.append(
                sum(
                    edge(nodes[a], weights[i], active[i].tolist())
                    for i, ((a, b), edge) in enumerate(zip(EDGES, self.edges, strict=True))
                    if b == target
                )
            )
        return nodes[-1]


class Residual(nn.Module):
    def __init__(self, c_in: int, c_out: int, track: bool) -> None:
        super().__init__()
        self.a = relu_conv_bn(c_in, c_out, 3, 2, affine=True, track=track)
        self.b = relu_conv_bn(c_out, c_out, 3, 1, affine=True, track=track)
        self.down = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(x) + self.b(self.a(x))


class Textbook201(nn.Module):
    def __init__(self, channels: int, cells_per_stage: int, classes: int, track: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), norm(channels, affine=True, track=track)
        )
        self.blocks = nn.ModuleList()
        for stage in range(3):
            if stage:
                self.blocks.append(Residual(channels, 2 * channels, track))
                channels *= 2
            self.blocks.extend(MixedCell(channels, track) for _ in range(cells_per_stage))
        self.last = nn.Sequential(norm(channels, affine=True, track=track), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None = None) -> Tensor:
        weights = weights.view(6, 5)
        on = torch.ones(6, 5, dtype=torch.bool) if active is None else torch.tensor(active).view(6, 5)
        x = self.stem(images)
        for block in self.blocks:
            x = block(x, weights, on) if isinstance(block, MixedCell) else block(x)
        return self.classifier(self.last(x).mean((2, 3)))


def conv_bn_relu(c_in: int, c_out: int, kernel: int, track: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False),
        norm(c_out, affine=True, track=track),
        nn.ReLU(),
    )


class ChoiceBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, track: bool) -> None:
        super().__init__()
        self.project = conv_bn_relu(channels_in, channels, 1, track)
        self.operations = nn.ModuleList(
            [
                conv_bn_relu(channels, channels, 3, track),
                conv_bn_relu(channels, channels, 1, track),
                nn.MaxPool2d(3, 1, 1),
            ]
        )

    def forward(self, x, earlier, inputs, operations):
        candidates = [self.project(x) if inputs[0] is not None else None, *earlier]
        total = sum(w * c for w, c in zip(inputs, candidates, strict=True) if w is not None)
        return sum(w * op(total) for w, op in zip(operations, self.operations, strict=True) if w is not None)


class ChoiceCell(nn.Module):
    def __init__(self, channels_in: int, channels: int, blocks: int, track: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ChoiceBlock(channels_in, channels, track) for _ in range(blocks))
        self.project = conv_bn_relu(channels_in, channels * blocks, 1, track)

    def forward(self, x, operations, inputs, output):
        outputs: list[Tensor] = []
        for block, ops, ins in zip(self.blocks, operations, inputs, strict=True):
            outputs.append(block(x, outputs, ins, ops))
        parts = [w * o if w is not None else torch.zeros_like(o) for w, o in zip(output[1:], outputs, strict=True)]
        joined = torch.cat(parts, dim=1)
        return joined if output[0] is None else output[0] * self.project(x) + joined


class Textbook1Shot1(nn.Module):
    def __init__(self, space: NASBench1Shot1, channels: int, cells_per_stage: int, classes: int, track: bool) -> None:
        super().__init__()
        self.space, self.cells_per_stage = space, cells_per_stage
        self.stem = conv_bn_relu(3, channels, 3, track)
        self.cells = nn.ModuleList()
        before = channels
        for stage in range(3):
            width = channels * 2**stage
            for _ in range(cells_per_stage):
                self.cells.append(ChoiceCell(before, width, space.choice_nodes, track))
                before = width * space.choice_nodes
        self.last = nn.Sequential(
            nn.ReLU(), nn.Conv2d(before, width, 1, bias=False), norm(width, affine=True, track=track)
        )
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None = None) -> Tensor:
        on = [True] * len(weights) if active is None else list(active)
        masked = [w if a else None for w, a in zip(weights, on, strict=True)]
        groups: dict[str, list[Tensor | None]] = {}
        for group in self.space.groups:
            groups[group.name], masked = masked[: group.size], masked[group.size :]
        nodes = range(1, self.space.choice_nodes + 1)
        operations = [groups[f"operation of node {i}"] for i in nodes]
        inputs = [groups.get(f"inputs of node {i}", [1.0] * i) for i in nodes]
        x = self.stem(images)
        for number, cell in enumerate(self.cells):
            if number and number % self.cells_per_stage == 0:
                x = nn.functional.max_pool2d(x, 2)
            x = cell(x, operations, inputs, groups["inputs of the output"])
        return self.classifier(self.last(x).mean((2, 3)))


def build(space: SearchSpace, *, channels: int, cells_per_stage: int, classes: int, track: bool) -> nn.Module:
    if isinstance(space, NASBench201):
        return Textbook201(channels, cells_per_stage, classes, track)
    assert isinstance(space, NASBench1Shot1)
    return Textbook1Shot1(space, channels, cells_per_stage, classes, track)


Pairs = list[tuple[str, str, slice | None]]
"""(name in the textbook, name in the fused supernet, rows of the fused tensor) of parameters and buffers."""


def pairs(fused: Supernet) -> Pairs:
    """Which textbook tensor is which rows of which fused tensor."""
    if isinstance(fused, NASBench201Supernet):
        return _pairs_201(fused)
    assert isinstance(fused, NASBench1Shot1Supernet)
    return _pairs_1shot1(fused)


STATISTICS = ("running_mean", "running_var")


def _pairs_201(fused: NASBench201Supernet) -> Pairs:
    found: Pairs = []

    def same(theirs: str, ours: str, parts: Sequence[str]) -> None:
        found.extend((f"{theirs}.{part}", f"{ours}.{part}", None) for part in parts)

    whole_norm = ("weight", "bias", *STATISTICS)
    same("stem.0", "stem.0", ["weight"])
    same("stem.1", "stem.1", whole_norm)
    same("last.0", "norm", whole_norm)
    same("classifier", "classifier", ["weight", "bias"])
    for b, block in enumerate(fused.blocks):
        at = f"blocks.{b}"
        if not isinstance(block, Cell):
            for theirs, ours in (("a", "first"), ("b", "second")):
                same(f"{at}.{theirs}.1", f"{at}.{ours}", ["weight"])
                same(f"{at}.{theirs}.2", f"{at}.{ours}_norm", whole_norm)
            same(f"{at}.down.1", f"{at}.shortcut", ["weight"])
            continue
        for e, (source, target) in enumerate(EDGES):
            c = block.sources[source].channels
            rows = slice((target - source - 1) * c, (target - source) * c)
            for operation, ours in ((2, 1), (3, 3)):
                theirs = f"{at}.edges.{e}.operations.{operation}"
                found.append((f"{theirs}.1.weight", f"{at}.sources.{source}.conv{ours}", rows))
                found.extend(
                    (f"{theirs}.2.{part}", f"{at}.sources.{source}.norm{ours}.{part}", rows) for part in STATISTICS
                )
    return found


def _pairs_1shot1(fused: NASBench1Shot1Supernet) -> Pairs:
    found: Pairs = []

    def unit(theirs: str, ours: str, rows: slice | None) -> None:
        found.append((f"{theirs}.0.weight", f"{ours}.weight", rows))
        parts = ("weight", "bias", *STATISTICS)
        found.extend((f"{theirs}.1.{part}", f"{ours}.norm.{part}", rows) for part in parts)

    unit("stem", "stem", None)
    found.append(("last.1.weight", "head.weight", None))
    found.extend((f"last.2.{part}", f"head_norm.{part}", None) for part in ("weight", "bias", *STATISTICS))
    found.extend((f"classifier.{part}", f"classifier.{part}", None) for part in ("weight", "bias"))
    for n, cell in enumerate(fused.cells):
        c, blocks = cell.channels, len(cell.conv3)
        for b in range(blocks):
            unit(f"cells.{n}.blocks.{b}.project", f"cells.{n}.project", slice(b * c, (b + 1) * c))
            unit(f"cells.{n}.blocks.{b}.operations.0", f"cells.{n}.conv3.{b}", None)
            unit(f"cells.{n}.blocks.{b}.operations.1", f"cells.{n}.conv1.{b}", None)
        unit(f"cells.{n}.project", f"cells.{n}.project", slice(blocks * c, 2 * blocks * c))
    return found


def load(textbook: nn.Module, fused: Supernet) -> None:
    """Copy all parameters and buffers of the fused supernet into the textbook one."""
    source, target = fused.state_dict(), textbook.state_dict()
    used = set()
    for theirs, ours, rows in pairs(fused):
        if ours not in source:
            continue  # running statistics that are not kept
        value = source[ours] if rows is None else source[ours][rows]
        target[theirs] = value.reshape(target[theirs].shape).clone()
        used.add(theirs)
    assert {k for k in target if not k.endswith("num_batches_tracked")} == used
    textbook.load_state_dict(target)
