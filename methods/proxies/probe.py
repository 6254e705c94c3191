"""What every proxy is given: an untrained network and one batch. Passes that several proxies need run once.

The network is never touched: proxies work on deep copies in train mode, so its weights, gradients, buffers, mode and
hooks stay as they are even when a proxy fails.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.errors import UserError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits ``[B, classes]`` and labels ``[B]`` to a scalar, e.g. ``nn.functional.cross_entropy``."""

SMALLEST_IMAGE = 4
"""Pixels: the two reductions of the benchmark skeletons halve the size twice."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One network and one batch.

    Attributes:
        network: images ``[B, 3, H, W]`` to logits ``[B, classes]``, initialised by the caller.
        images: float32 ``[B, 3, H, W]``, B >= 2.
        labels: int64 ``[B]``.
        loss: the training loss.
        generator: all randomness of the proxies that draw something; a CPU generator.

    Raises:
        UserError: a batch of the wrong shape, or too small for batch norm.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    loss: Loss
    generator: torch.Generator

    def __post_init__(self) -> None:
        shape = list(self.images.shape)
        if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < SMALLEST_IMAGE or not self.images.is_floating_point():
            raise UserError(
                f"a proxy needs float images [batch, 3, height, width] of {SMALLEST_IMAGE} pixels or more a side, "
                f"got {self.images.dtype} {shape}: choose a larger image size"
            )
        if shape[0] < 2 or len(self.labels) != shape[0]:
            raise UserError(
                f"a proxy needs a batch of two or more labelled images, got {shape[0]} images and {len(self.labels)} "
                "labels: choose a larger batch"
            )

    def replica(self) -> nn.Module:
        """A copy in train mode without gradients that the proxy may do anything to."""
        replica = copy.deepcopy(self.network).train()
        replica.zero_grad(set_to_none=True)
        return replica.requires_grad_(True)

    @cached_property
    @torch.enable_grad()
    def forward(self) -> Forward:
        """The forward pass on the batch, with its graph (all proxies that look at images start from it)."""
        replica = self.replica()
        layers = weighted_layers(replica)
        images = self.images.clone().requires_grad_(True)
        with recorded(layers) as outputs, recorded(relus(replica)) as activations:
            logits = replica(images)
        return Forward(images, [layer.weight for layer in layers], outputs, activations, logits)

    @cached_property
    @torch.enable_grad()
    def backward(self) -> Backward:
        """Gradient of the loss on the batch (SNIP, gradient norm and Fisher read it)."""
        forward = self.forward
        loss = self.loss(forward.logits, self.labels)
        gradients = gradients_of(loss, [*forward.weights, *forward.outputs], retain_graph=True)
        return Backward(
            weights=tuple(w.detach() for w in forward.weights),
            gradients=tuple(gradients[: len(forward.weights)]),
            outputs=tuple(o.detach() for o in forward.outputs),
            output_gradients=tuple(gradients[len(forward.weights) :]),
        )

    @cached_property
    @torch.enable_grad()
    def flow(self) -> Flow:
        """Gradient of the positive linear network's output (SynFlow and log-SynFlow read it)."""
        replica = self.replica().double()
        bypass_batch_norm(replica)
        with torch.no_grad():
            for parameter in replica.parameters():
                parameter.abs_()
        weights = [layer.weight for layer in weighted_layers(replica)]
        total = replica(torch.ones(1, *self.images.shape[1:], dtype=torch.float64)).sum()
        return Flow(tuple(w.detach() for w in weights), tuple(gradients_of(total, weights)))


@dataclass(frozen=True)
class Forward:
    """A forward pass whose graph is kept.

    Attributes:
        images: the batch, a leaf of the graph.
        weights: of each layer (``weighted_layers``), leaves of the graph.
        outputs: of each call of a layer, ``[B, C, H, W]`` or ``[B, C]``.
        activations: of each call of a ReLU.
        logits: ``[B, classes]``.
    """

    images: Tensor
    weights: list[Tensor]
    outputs: list[Tensor]
    activations: list[Tensor]
    logits: Tensor


@dataclass(frozen=True)
class Backward:
    """A forward and a backward pass, layer by layer (``weighted_layers``).

    Attributes:
        weights: of each layer.
        gradients: of the loss in them; zeros where the loss does not depend on a layer.
        outputs: of each call of a layer, ``[B, C, H, W]`` or ``[B, C]``.
        output_gradients: of the loss in them.
    """

    weights: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    output_gradients: tuple[Tensor, ...]


@dataclass(frozen=True)
class Flow:
    """The pass of SynFlow, float64.

    Attributes:
        weights: absolute weights of each layer.
        gradients: of the summed outputs in them, all >= 0.
    """

    weights: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]


def weighted_layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layers whose weights the proxies of Abdelfattah et al. sum over."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def bypass_batch_norm(network: nn.Module) -> None:
    """Replace every batch norm by the identity, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, nn.Identity())


def relus(network: nn.Module) -> list[nn.ReLU]:
    """The ReLUs, whose switches NASWOT and the linear regions count."""
    return [m for m in network.modules() if isinstance(m, nn.ReLU)]


@contextmanager
def recorded(layers: list[nn.Conv2d | nn.Linear] | list[nn.ReLU]) -> Iterator[list[Tensor]]:
    """The outputs of the layers' calls inside the block, in the order of the calls."""
    outputs: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda _m, _i, output: outputs.append(output)) for layer in layers]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def gradients_of(
    scalar: Tensor, inputs: list[Tensor], *, retain_graph: bool = False, create_graph: bool = False
) -> list[Tensor]:
    """Gradient in each input; zeros where the scalar does not depend on it."""
    if not scalar.requires_grad:
        return [torch.zeros_like(i) for i in inputs]
    found = torch.autograd.grad(
        scalar, inputs, retain_graph=retain_graph or create_graph, create_graph=create_graph, allow_unused=True
    )
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True)]
