"""All out-edges of one node of a NAS-Bench-201 cell at once.

To its k-th target a source x gives, with operation weights q and r = relu(x),

    q_skip x  +  q_pool pool(x)  +  q_3x3 BN(W3 * r)  +  q_1x1 BN(W1 r)

The last term needs no convolution of its own: over the batch, W1 r has mean W1 m and variance diag(W1 S W1'), where m
and S are the mean and covariance of r's channels. So with alpha = q_1x1 / sqrt(variance + eps) it is a matrix product
with diag(alpha) W1, minus alpha W1 m: C x C statistics instead of a pass over W1 r.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.supernets.mix import CONV1, CONV3, POOL, SKIP, Mix
from methods.supernets.supernet import EPS, StackedBatchNorm, compiles, default_convolution


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

    def forward(self, x: Tensor, sums: tuple[Tensor, ...], mixture: Tensor, active: Tensor) -> tuple[Tensor, ...]:
        """Add this source to its targets.

        Args:
            x: the source, ``[B, C, H, W]``, channels last.
            sums: what earlier sources gave to each target, same shape as x; () if this is the first.
            mixture: operation weights, ``[targets, operations]``.
            active: which of them to compute, bool ``[targets, operations]``.

        Returns:
            The targets' sums, this source's part included.
        """
        if not (self.fast and self.norm1.uses_batch and bool(active[:, SKIP:].all()) and compiles(x)):
            return self._plain(x, sums, mixture, active)
        x, *others = (t.contiguous(memory_format=torch.channels_last) for t in (x, *sums))
        found = Mix.apply(x, self.conv1, self.conv3, mixture, *others)  # type: ignore[no-untyped-call]
        *targets, mean1, var1, mean3, var3 = cast(tuple[Tensor, ...], found)
        n = x.numel() // self.channels
        self.norm1.observe(mean1, var1, n)
        self.norm3.observe(mean3, var3, n)
        return tuple(targets)

    def _plain(self, x: Tensor, sums: tuple[Tensor, ...], mixture: Tensor, active: Tensor) -> tuple[Tensor, ...]:
        terms: list[Tensor | None] = list(sums) if sums else [None] * self.targets

        def add(target: int, term: Tensor) -> None:
            before = terms[target]
            terms[target] = term if before is None else before + term

        r = functional.relu(x) if bool(active[:, [CONV1, CONV3]].any()) else x
        if chosen := _rows(active[:, CONV3], self.channels):
            z = functional.conv2d(r, chosen.take(self.conv3), padding=1)
            scale = mixture[chosen.targets, CONV3].repeat_interleave(self.channels)
            y = self.norm3.scaled(z, scale, torch.zeros_like(scale), chosen.rows)
            for target, part in zip(chosen.targets, y.split(self.channels, dim=1), strict=True):
                add(target, part)
        if chosen := _rows(active[:, CONV1], self.channels):
            y = self._folded(r, chosen, mixture)
            for target, part in zip(chosen.targets, y.split(self.channels, dim=1), strict=True):
                add(target, part)
        if bool(active[:, POOL].any()):
            pooled = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
            for target in range(self.targets):
                if active[target, POOL]:
                    add(target, mixture[target, POOL] * pooled)
        for target in range(self.targets):
            if active[target, SKIP]:
                add(target, mixture[target, SKIP] * x)
        return tuple(torch.zeros_like(x) if term is None else term for term in terms)

    def _folded(self, r: Tensor, chosen: Chosen, mixture: Tensor) -> Tensor:
        """The weighted, normalised 1x1 convolutions of the chosen targets, ``[B, C * chosen, H, W]``."""
        flat = r.permute(0, 2, 3, 1).reshape(-1, self.channels)
        n = len(flat)
        weight = chosen.take(self.conv1)
        if self.norm1.uses_batch:
            m = flat.mean(0)
            centred = flat - m
            mean, var = weight @ m, ((weight @ (centred.T @ centred / n)) * weight).sum(1)
            self.norm1.observe(mean, var, n, chosen.rows)
        else:
            mean, var = self.norm1.running(chosen.rows)
        alpha = mixture[chosen.targets, CONV1].repeat_interleave(self.channels) * (var + EPS).rsqrt()
        y = torch.addmm(-alpha * mean, flat, (alpha[:, None] * weight).T)
        batch, _, height, width = r.shape
        return y.view(batch, height, width, -1).permute(0, 3, 1, 2)


class Chosen(NamedTuple):
    """Targets for which an operation runs, and their channels among the stacked ones (None: all of them)."""

    targets: list[int]
    rows: Tensor | None

    def take(self, stacked: Tensor) -> Tensor:
        """The chosen channels' filters."""
        return stacked if self.rows is None else stacked[self.rows]


def _rows(active: Tensor, channels: int) -> Chosen | None:
    """Targets marked in ``active [targets]``; None if there are none."""
    targets = active.nonzero().flatten().tolist()
    if not targets:
        return None
    if len(targets) == len(active):
        return Chosen(targets, None)
    return Chosen(targets, torch.cat([torch.arange(t * channels, (t + 1) * channels) for t in targets]))
