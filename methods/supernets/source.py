"""All out-edges of one node of a NAS-Bench-201 cell at once.

To its k-th target a source x gives, with operation weights q and r = relu(x),

    q_skip x  +  q_pool pool(x)  +  q_3x3 BN(W3 * r)  +  q_1x1 BN(W1 r)

In ``mix.py`` the last term needs no convolution of its own: over the batch, W1 r has mean W1 m and variance
diag(W1 S W1'), where m and S are the mean and covariance of r's channels. So with alpha = q_1x1 / sqrt(variance + eps)
it is a matrix product with diag(alpha) W1, minus alpha W1 m: C x C statistics instead of a pass over W1 r.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.supernets import twice
from methods.supernets.mix import CONV1, CONV3, POOL, SKIP, Mix
from methods.supernets.supernet import StackedBatchNorm, compiles, default_convolution

Marks = Sequence[Sequence[bool]]


class Source(nn.Module):
    """One node's out-edges.

    Args:
        channels: C.
        targets: out-edges.
        track: running statistics.
    """

    fast = True

    def __init__(self, channels: int, targets: int, *, track: bool) -> None:
        super().__init__()
        self.channels = channels
        self.targets = targets
        convolutions = [[default_convolution(channels, channels, kernel) for kernel in (1, 3)] for _ in range(targets)]
        self.conv1 = nn.Parameter(torch.cat([one[:, :, 0, 0] for one, _ in convolutions]))
        self.conv3 = nn.Parameter(torch.cat([three for _, three in convolutions]))
        self.norm1 = StackedBatchNorm(targets * channels, track=track)
        self.norm3 = StackedBatchNorm(targets * channels, track=track)

    def forward(self, x: Tensor, sums: tuple[Tensor, ...], mixture: Tensor, active: Marks) -> tuple[Tensor, ...]:
        """Add this source to its targets.

        Args:
            x: the source, ``[B, C, H, W]``, channels last.
            sums: what earlier sources gave to each target, same shape as x; () if this is the first.
            mixture: operation weights, ``[targets, operations]``.
            active: which of them to compute, ``[targets][operations]``.

        Returns:
            The targets' sums, this source's part included.
        """
        if not (self.fast and self.norm1.uses_batch and all(all(marks[SKIP:]) for marks in active) and compiles(x)):
            return self._plain(x, sums, mixture, active)
        x, *others = (t.contiguous(memory_format=torch.channels_last) for t in (x, *sums))
        found = Mix.apply(x, self.conv1, self.conv3, mixture, *others)  # type: ignore[no-untyped-call]
        *targets, mean1, var1, mean3, var3 = cast(tuple[Tensor, ...], found)
        n = x.numel() // self.channels
        self.norm1.observe(mean1, var1, n)
        self.norm3.observe(mean3, var3, n)
        return tuple(targets)

    def _plain(self, x: Tensor, sums: tuple[Tensor, ...], mixture: Tensor, active: Marks) -> tuple[Tensor, ...]:
        terms: list[Tensor | None] = list(sums) if sums else [None] * self.targets

        def add(target: int, term: Tensor) -> None:
            before = terms[target]
            terms[target] = term if before is None else before + term

        r = functional.relu(x) if any(marks[CONV1] or marks[CONV3] for marks in active) else x
        stacks = ((CONV3, self.conv3, self.norm3), (CONV1, self.conv1[:, :, None, None], self.norm1))
        for operation, weight, norm in stacks:
            if chosen := _rows([marks[operation] for marks in active], self.channels):
                z = functional.conv2d(r, chosen.take(weight), padding="same")
                scale = mixture[chosen.targets, operation].repeat_interleave(self.channels)
                y = norm.scaled(z, scale, None, chosen.rows)
                for target, part in zip(chosen.targets, y.split(self.channels, dim=1), strict=True):
                    add(target, part)
        if operations := [o for o in (POOL, SKIP) if any(marks[o] for marks in active)]:
            inputs = [x if operation == SKIP else self._pooled(x) for operation in operations]
            targets = [t for t, marks in enumerate(active) if any(marks[o] for o in operations)]
            kept = [[float(active[t][o]) for o in operations] for t in targets]
            matrix = mixture[targets][:, operations] * mixture.new_tensor(kept)
            # One product for all targets, in the layout that the activations have.
            there, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if self.fast else ((0, 1, 2, 3),) * 2
            stacked = torch.stack([y.permute(there) for y in inputs])
            weighed = (matrix @ stacked.flatten(1)).unflatten(1, stacked.shape[1:])
            for target, term in zip(targets, weighed, strict=True):
                add(target, term.permute(back))
        return tuple(torch.zeros_like(x) if term is None else term for term in terms)

    def _pooled(self, x: Tensor) -> Tensor:
        if not self.fast and compiles(x):
            return twice.average_pool(x)
        return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class Chosen(NamedTuple):
    """Targets for which an operation runs, and their channels among the stacked ones (None: all of them)."""

    targets: list[int]
    rows: Tensor | None

    def take(self, stacked: Tensor) -> Tensor:
        """The chosen channels' filters."""
        return stacked if self.rows is None else stacked[self.rows]


def _rows(active: Sequence[bool], channels: int) -> Chosen | None:
    """Targets marked in ``active``; None if there are none."""
    targets = [target for target, mark in enumerate(active) if mark]
    if not targets:
        return None
    if len(targets) == len(active):
        return Chosen(targets, None)
    return Chosen(targets, torch.cat([torch.arange(t * channels, (t + 1) * channels) for t in targets]))
