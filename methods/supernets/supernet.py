"""What the supernets of all spaces share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.spec import Compute
from methods.supernets import twice

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
    networks = 0
    """How many networks of the space this holds, if it has them stacked along a leading dimension."""
    autocasts = False
    """Whether forward passes run under autocast to bfloat16; second derivatives never do."""
    compiled: Callable[..., Tensor] | None = None
    """``logits`` as torch.compile made it, for passes that are differentiated once."""

    def forward(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None = None) -> Tensor:
        """See the class. Operation weights may be on another device than the images."""
        weights = weights.to(images.device)
        if not self.fast:
            return self.logits(images, weights, active)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocasts):
            return (self.compiled or self.logits)(images, weights, active).to(weights.dtype)

    @abstractmethod
    def logits(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None) -> Tensor:
        """What ``forward`` computes, the space's part."""

    def compute_by(self, compute: Compute) -> None:
        """Move to the device, and compute in the precision and by the compiler that are asked for."""
        self.to(compute.device)
        self.autocasts = compute.precision == "bfloat16"
        self.compiled = torch.compile(self.logits) if compute.compile else None

    def parts(self) -> Iterator[nn.Module]:
        """All modules that take part in a forward pass."""
        return self.modules()

    def laid_out(self, images: Tensor) -> Tensor:
        """Images channels last, which is faster except for second derivatives: it slows those of pooling and ReLU."""
        if in_transform():
            return images  # functorch knows no such layout
        return images.contiguous(memory_format=torch.channels_last if self.fast else torch.contiguous_format)

    def twice_differentiable(self) -> AbstractContextManager[None]:
        """Inside the block the forward pass has a second derivative, at the same numbers to rounding."""
        return self._switched_off("fast")

    def in_full_precision(self) -> AbstractContextManager[None]:
        """Inside the block nothing runs under autocast."""
        return self._switched_off("autocasts")

    def unobserved(self) -> AbstractContextManager[None]:
        """Inside the block forward passes leave running statistics alone, as measurements must."""
        return self._switched_off("observing")

    @contextmanager
    def _switched_off(self, switch: str) -> Iterator[None]:
        modules = [module for module in self.parts() if getattr(module, switch, False)]
        try:
            for module in modules:
                setattr(module, switch, False)
            yield
        finally:
            for module in modules:
                setattr(module, switch, True)


class StackedBatchNorm(nn.Module):
    """Statistics of batch norms without affine part, one for many operations, their channels side by side.

    Args:
        channels: of all operations together.
        track: keep running statistics, and use them in eval mode; else batch statistics always.
    """

    fast = True
    observing = True
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

    @property
    def observes(self) -> bool:
        """Whether a forward pass moves running statistics now."""
        return self.training and self.observing and self.running_mean is not None

    def observe(self, mean: Tensor, var: Tensor, n: int, rows: Tensor | None = None) -> None:
        """Move the running statistics towards a batch's.

        Args:
            mean: of the observed channels.
            var: biased variance.
            n: values per channel.
            rows: which channels were observed; None for all.
        """
        if not self.observes:
            return
        assert self.running_mean is not None and self.running_var is not None
        where: Tensor | slice = slice(None) if rows is None else rows
        with torch.no_grad():
            for running, value in ((self.running_mean, mean), (self.running_var, var * (n / (n - 1)))):
                running[where] = (1 - MOMENTUM) * running[where] + MOMENTUM * value.detach()

    def running(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Running mean and variance of the given channels. Only where ``uses_batch`` is False."""
        assert self.running_mean is not None and self.running_var is not None
        where: Tensor | slice = slice(None) if rows is None else rows
        return self.running_mean[where], self.running_var[where]

    def scaled(self, x: Tensor, scale: Tensor, shift: Tensor | None, rows: Tensor | None = None) -> Tensor:
        """Normalise ``x [B, channels, H, W]``, then multiply by ``scale`` and add ``shift``, both ``[channels]``."""
        if self.uses_batch:
            if self.observes:
                var, mean = torch.var_mean(x.detach(), dim=(0, 2, 3), correction=0)
                self.observe(mean, var, x.numel() // x.shape[1], rows)
            if not self.fast and compiles(x):
                y = twice.batch_norm(x, scale, EPS)
                return y if shift is None else y + shift[:, None, None]
            return functional.batch_norm(x, None, None, scale, shift, True, MOMENTUM, EPS)
        mean, var = self.running(rows)
        return functional.batch_norm(x, mean, var, scale, shift, False, MOMENTUM, EPS)


class AffineBatchNorm(StackedBatchNorm):
    """A batch norm with scale and shift."""

    def __init__(self, channels: int, *, track: bool) -> None:
        super().__init__(channels, track=track)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Normalise ``[B, channels, H, W]``; ``rows`` says which of the stacked channels x holds."""
        weight, bias = (self.weight, self.bias) if rows is None else (self.weight[rows], self.bias[rows])
        return self.scaled(x, weight, bias, rows)


def default_convolution(channels_in: int, channels_out: int, kernel: int) -> Tensor:
    """Initial weights of a convolution of its own, by PyTorch's default law, ``[out, in, kernel, kernel]``."""
    return nn.Conv2d(channels_in, channels_out, kernel, bias=False).weight.detach()


def in_transform() -> bool:
    """Whether a functorch transform (vmap) is tracing."""
    return torch._C._functorch.maybe_current_level() is not None


def compiles(x: Tensor) -> bool:
    """Whether compiled loops can work on x: they read its memory, on the CPU, in single or double precision."""
    return not (
        x.device.type != "cpu"
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or x.dtype not in (torch.float32, torch.float64)
        or in_transform()
    )
