"""What the supernets of all spaces share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-5
"""Added to the variance in every batch norm (PyTorch's default)."""
MOMENTUM = 0.1
"""Of running statistics (PyTorch's default). NAS-Bench-1Shot1's search code has 0.997, a slip from TensorFlow."""


class Supernet(nn.Module, ABC):
    """All architectures of a space in one network with shared weights.

    ``supernet(images, weights, active)`` maps images ``[B, 3, H, W]`` and the flat vector of operation weights
    ``[space.parameters]`` (after relaxation) to logits ``[B, classes]``. A coordinate that ``active`` marks False
    counts as weight 0, and nothing is computed for it.
    """

    fast = True
    """Whether single-pass kernels may replace the plain composition. They are differentiable once."""

    @abstractmethod
    def forward(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None = None) -> Tensor:
        """See the class."""

    @contextmanager
    def twice_differentiable(self) -> Iterator[None]:
        """Inside the block the forward pass is a composition of torch's operations: same numbers, any derivative."""
        before = {module: module.fast for module in self.modules() if hasattr(module, "fast")}
        try:
            for module in before:
                module.fast = False  # type: ignore[assignment]
            yield
        finally:
            for module, fast in before.items():
                module.fast = fast


class StackedBatchNorm(nn.Module):
    """Statistics of batch norms without affine part, one for many operations, their channels side by side.

    Args:
        channels: of all operations together.
        track: keep running statistics, and use them in eval mode; else batch statistics always.
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(self, channels: int, *, track: bool) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels) if track else None)
        self.register_buffer("running_var", torch.ones(channels) if track else None)

    @property
    def uses_batch(self) -> bool:
        """Whether the batch's own statistics normalise it now."""
        return self.training or self.running_mean is None

    def observe(self, mean: Tensor, var: Tensor, n: int, rows: Tensor | None = None) -> None:
        """Move the running statistics towards a batch's.

        Args:
            mean: of the observed channels.
            var: biased variance.
            n: values per channel.
            rows: which channels were observed; None for all.
        """
        if not self.training or self.running_mean is None or self.running_var is None:
            return
        where: Tensor | slice = slice(None) if rows is None else rows
        with torch.no_grad():
            for running, value in ((self.running_mean, mean), (self.running_var, var * (n / (n - 1)))):
                running[where] = (1 - MOMENTUM) * running[where] + MOMENTUM * value.detach()

    def running(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Running mean and variance of the given channels. Only where ``uses_batch`` is False."""
        assert self.running_mean is not None and self.running_var is not None
        where: Tensor | slice = slice(None) if rows is None else rows
        return self.running_mean[where], self.running_var[where]

    def scaled(self, x: Tensor, scale: Tensor, shift: Tensor, rows: Tensor | None = None) -> Tensor:
        """Normalise ``x [B, channels, H, W]``, then multiply by ``scale`` and add ``shift``, both ``[channels]``."""
        if self.uses_batch:
            if self.training and self.running_mean is not None:
                var, mean = torch.var_mean(x.detach(), dim=(0, 2, 3), correction=0)
                self.observe(mean, var, x.numel() // x.shape[1], rows)
            return functional.batch_norm(x, None, None, scale, shift, True, MOMENTUM, EPS)
        mean, var = self.running(rows)
        return functional.batch_norm(x, mean, var, scale, shift, False, MOMENTUM, EPS)


def default_convolution(channels_in: int, channels_out: int, kernel: int) -> Tensor:
    """Initial weights of a convolution of its own, by PyTorch's default law, ``[out, in, kernel, kernel]``."""
    return nn.Conv2d(channels_in, channels_out, kernel, bias=False).weight.detach()


def batch_norm(channels: int, *, track: bool) -> nn.BatchNorm2d:
    """An affine batch norm, with running statistics or without."""
    return nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM, track_running_stats=track)


def compiles(x: Tensor) -> bool:
    """Whether compiled loops can work on x: on the CPU, and no functorch transform is tracing (no memory to read)."""
    return x.device.type == "cpu" and torch._C._functorch.maybe_current_level() is None
