"""The fused NAS-Bench-1Shot1 supernets of spaces 1, 2 and 3 (structure as in the public one-shot search code).

A cell has choice blocks and an output. Every block adds its own 1x1 projection of the cell's input and the outputs of
earlier blocks, each times its input weight, and applies a 3x3 convolution, a 1x1 convolution and max pooling to the
sum, each times its operation weight. The output concatenates the blocks and adds a projection of the cell's input, each
times its output weight. Convolutions are followed by an affine batch norm and a ReLU, so that operation weights cannot
move into the batch norm as on NAS-Bench-201. What can be shared is shared: all projections are one convolution with
one batch norm, and weights of 1 are not multiplied.

Between stages images are halved by 2x2 max pooling without padding, as in NAS-Bench-101 (the public search code pads,
32 -> 17 -> 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.spaces import NASBench1Shot1
from methods.supernets.choice import CONV1, CONV3, POOL, ChoiceCell
from methods.supernets.supernet import AffineBatchNorm, Supernet, compiles, default_convolution


class NASBench1Shot1Supernet(Supernet):
    """Stem, three stages of cells, a last 1x1 convolution.

    Args:
        space: which of the three.
        channels: C of the first stage.
        cells_per_stage: cells in each stage (3 in the paper).
        classes: outputs.
        track: running statistics in all batch norms.
    """

    def __init__(
        self, space: NASBench1Shot1, *, channels: int, cells_per_stage: int, classes: int, track: bool
    ) -> None:
        super().__init__()
        self.space = space
        self.cells_per_stage = cells_per_stage
        self.stem = ConvNormReLU(3, [channels], 3, track=track)
        self.cells = nn.ModuleList()
        before = channels
        for stage in range(3):
            width = channels * 2**stage
            for _ in range(cells_per_stage):
                self.cells.append(Cell(before, width, space.choice_nodes, track=track))
                before = width * space.choice_nodes
        self.head = nn.Conv2d(before, width, 1, bias=False)
        self.head_norm = AffineBatchNorm(width, track=track)
        self.classifier = nn.Linear(width, classes)

    def logits(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None) -> Tensor:
        """See ``Supernet``. Operation weights are ordered as ``space.groups``."""
        paths = Paths(self.space, weights, active)
        x = self.stem(self.laid_out(images))
        for number, cell in enumerate(self.cells):
            if number and number % self.cells_per_stage == 0:
                x = functional.max_pool2d(x, 2)
            x = cell(x, paths)
        x = self.head_norm(self.head(functional.relu(x)))
        return cast(Tensor, self.classifier(x.mean((2, 3))))


class Paths:
    """Operation weights by what they weigh. Nodes are numbered from 1, 0 is the cell's input, ``output`` the last.

    A weight is a scalar tensor, ``1.0`` where there is no choice, or None where it is not active.
    """

    complete: bool
    """Whether all weights are active."""
    matrices: tuple[Tensor, Tensor, Tensor]
    """If so, the same as ``ChoiceCell`` takes them: operations, inputs and output."""

    def __init__(self, space: NASBench1Shot1, weights: Tensor, active: Sequence[bool] | None) -> None:
        parts = dict(zip((g.name for g in space.groups), weights.split(space.sizes), strict=True))
        marks = iter([True] * weights.numel() if active is None else active)
        on = {group.name: list(islice(marks, group.size)) for group in space.groups}

        def take(name: str, size: int) -> list[Tensor | float | None]:
            if name not in parts:
                return [1.0] * size
            return [w if a else None for w, a in zip(parts[name].unbind(), on[name], strict=True)]

        nodes = range(1, space.choice_nodes + 1)
        self.operations = [take(f"operation of node {i}", 3) for i in nodes]
        self.inputs = [take(f"inputs of node {i}", i) for i in nodes]
        self.output = take("inputs of the output", space.choice_nodes + 1)
        self.complete = active is None or all(active)
        if self.complete:
            one, zero = weights.new_ones(1), weights.new_zeros(1)
            rows = [
                torch.cat([parts.get(f"inputs of node {i}", one.expand(i)), zero.expand(space.choice_nodes - i)])
                for i in nodes
            ]
            operations = torch.stack([parts[f"operation of node {i}"] for i in nodes])
            self.matrices = (operations, torch.stack(rows), parts["inputs of the output"])


class Cell(nn.Module):
    """One cell: ``[B, C_in, H, W]`` to ``[B, blocks * C, H, W]``."""

    fast = True

    def __init__(self, channels_in: int, channels: int, blocks: int, *, track: bool) -> None:
        super().__init__()
        self.channels = channels
        # Parts of the projection: one a block, then the output's.
        self.project = ConvNormReLU(channels_in, [*[channels] * blocks, channels * blocks], 1, track=track)
        self.conv3 = nn.ModuleList(ConvNormReLU(channels, [channels], 3, track=track) for _ in range(blocks))
        self.conv1 = nn.ModuleList(ConvNormReLU(channels, [channels], 1, track=track) for _ in range(blocks))

    def forward(self, x: Tensor, paths: Paths) -> Tensor:
        """Compiled passes where they apply, else the plain composition."""
        if not (self.fast and paths.complete and self.project.norm.uses_batch and compiles(x)):
            return self._plain(x, paths)
        x = x.contiguous(memory_format=torch.channels_last)
        pairs = zip(self.conv3, self.conv1, strict=True)
        units = cast(list[ConvNormReLU], [self.project, *(unit for pair in pairs for unit in pair)])
        parameters = [p for unit in units for p in (unit.weight, unit.norm.weight, unit.norm.bias)]
        out, *moments = ChoiceCell.apply(x, *paths.matrices, *parameters)  # type: ignore[no-untyped-call]
        for unit, observed in zip(units, moments, strict=True):
            unit.norm.observe(observed[0], observed[1], x.numel() // x.shape[1])
        return cast(Tensor, out)

    def _plain(self, x: Tensor, paths: Paths) -> Tensor:
        """Blocks in order, then their concatenation."""
        wanted = [inputs[0] is not None for inputs in paths.inputs] + [paths.output[0] is not None]
        projections = self.project.parts(x, wanted)
        blocks: list[Tensor] = []
        for number, (operations, inputs) in enumerate(zip(paths.operations, paths.inputs, strict=True)):
            total = weighted_sum(inputs, {0: projections[number], **dict(enumerate(blocks, start=1))})
            if total is None:
                total = self._zeros(x)
            results: dict[int, Tensor | None] = {}
            if operations[CONV3] is not None:
                results[CONV3] = self.conv3[number](total)
            if operations[CONV1] is not None:
                results[CONV1] = self.conv1[number](total)
            if operations[POOL] is not None:
                results[POOL] = functional.max_pool2d(total, 3, stride=1, padding=1)
            block = weighted_sum(operations, results)
            blocks.append(self._zeros(x) if block is None else block)
        parts = [
            self._zeros(x) if weight is None else weight * block
            for weight, block in zip(paths.output[1:], blocks, strict=True)
        ]
        out = torch.cat(parts, dim=1)
        projected = weighted_sum(paths.output[:1], {0: projections[-1]})
        return out if projected is None else out + projected

    def _zeros(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.channels, *x.shape[2:])


def weighted_sum(weights: Sequence[Tensor | float | None], terms: Mapping[int, Tensor | None]) -> Tensor | None:
    """Sum of the terms that are there, each times its weight; None if there are none."""
    total: Tensor | None = None
    for number, weight in enumerate(weights):
        term = terms.get(number)
        if weight is None or term is None:
            continue
        term = term if isinstance(weight, float) else weight * term
        total = term if total is None else total + term
    return total


class ConvNormReLU(nn.Module):
    """Convolutions of one input side by side: convolution without bias, affine batch norm, ReLU.

    Args:
        channels_in: of the input.
        widths: output channels of each convolution.
        kernel: size.
        track: running statistics.
    """

    def __init__(self, channels_in: int, widths: Sequence[int], kernel: int, *, track: bool) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.kernel = kernel
        self.weight = nn.Parameter(torch.cat([default_convolution(channels_in, w, kernel) for w in widths]))
        self.norm = AffineBatchNorm(sum(widths), track=track)

    def forward(self, x: Tensor) -> Tensor:
        """All outputs, ``[B, sum of widths, H, W]``."""
        return functional.relu(self.norm(functional.conv2d(x, self.weight, padding=self.kernel // 2)))

    def parts(self, x: Tensor, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Each convolution's output; None, and no work, for those not wanted."""
        if all(wanted):
            return list(self(x).split(self.widths, dim=1))
        if not any(wanted):
            return [None] * len(self.widths)
        rows = torch.cat([
            part for part, want in zip(torch.arange(len(self.weight)).split(self.widths), wanted, strict=True) if want
        ])  # fmt: skip
        y = functional.relu(self.norm(functional.conv2d(x, self.weight[rows], padding=self.kernel // 2), rows))
        found = iter(y.split([w for w, want in zip(self.widths, wanted, strict=True) if want], dim=1))
        return [next(found) if want else None for want in wanted]
