"""Gradients of the validation loss in the architecture parameters: first order, and second order as DARTS unrolls it.

Notation: w weights, a architecture parameters, xi the current learning rate of the weights,
w' = w - xi (momentum * buffer + dL_train(w, a)/dw + weight_decay * w) the unrolled weights (Liu et al. 2019, Eq. 5-8).
The unrolled step is heavy-ball and unclipped, as in quark0/darts, even where the real weight step is Nesterov's and
clipped: a documented deviation between the step taken and the step differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from methods.supernets import Supernet

Relaxation = Callable[[Tensor], Tensor]
RADIUS = 0.01
"""Length of the finite-difference step: eps = RADIUS / ||v|| (Liu et al. 2019, footnote 2; BaLeNAS follows DARTS)."""


class Batch(NamedTuple):
    """Normalised images ``[B, 3, H, W]`` and labels ``[B]``."""

    images: Tensor
    labels: Tensor


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep autograd from tracking the parameters inside the block, so that no time goes into their gradients."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def first_order(supernet: Supernet, relax: Relaxation, alpha: Tensor, batch: Batch) -> Tensor:
    """dL(w, alpha)/d alpha on a batch, the weights held fixed. Shape ``[parameters]``."""
    with frozen(supernet):
        return _gradient_in_alpha(supernet, relax, alpha, batch, {})


def second_order(
    supernet: Supernet,
    relax: Relaxation,
    alpha: Tensor,
    train: Batch,
    valid: Batch,
    *,
    sgd: torch.optim.SGD,
    unrolled_at: Tensor,
    hessian_vector: Literal["finite-difference", "exact"] = "finite-difference",
) -> Tensor:
    """dL_valid(w'(alpha), alpha)/d alpha, the weights unrolled by one training step.

    Args:
        supernet: the network.
        relax: architecture parameters to operation weights.
        alpha: where the mixed second derivative is taken, shape ``[parameters]``.
        train: batch of the unrolled step.
        valid: batch of the validation loss.
        sgd: the weights' optimizer; its learning rate, momentum buffers and weight decay make the unrolled step.
        unrolled_at: where w' and the direct term are taken: ``alpha`` itself, or the mean (see ``SearchConfig``).
        hessian_vector: how d2L_train/(d alpha dw) v is formed.

    Returns:
        Shape ``[parameters]``.
    """
    settings = sgd.param_groups[0]
    names, weights = zip(*supernet.named_parameters(), strict=True)

    loss = _loss(supernet, relax(unrolled_at.detach()), train)
    slopes = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        unrolled = [
            w - settings["lr"] * (settings["momentum"] * _momentum(sgd, w) + g + settings["weight_decay"] * w)
            for w, g in zip(weights, slopes, strict=True)
        ]

    point = unrolled_at.detach().requires_grad_()
    leaves = [w.requires_grad_() for w in unrolled]
    loss = _loss(supernet, relax(point), valid, dict(zip(names, leaves, strict=True)))
    direct, *vector = torch.autograd.grad(loss, [point, *leaves])

    if hessian_vector == "exact":
        implicit = _mixed_exact(supernet, relax, alpha, train, vector)
    else:
        implicit = _mixed_finite_difference(supernet, relax, alpha, train, names, weights, vector)
    learning_rate: float = settings["lr"]
    return direct - learning_rate * implicit


def _mixed_finite_difference(
    supernet: Supernet,
    relax: Relaxation,
    alpha: Tensor,
    batch: Batch,
    names: tuple[str, ...],
    weights: tuple[nn.Parameter, ...],
    vector: list[Tensor],
) -> Tensor:
    """Central difference of dL/d alpha along ``vector``: (g(w + eps v) - g(w - eps v)) / (2 eps).

    In full precision: bfloat16 cannot resolve so small a step of the weights.
    """
    if supernet.networks:  # a step for each of the stacked networks
        lengths = torch.stack([torch.linalg.vector_norm(v.flatten(1), dim=1) for v in vector])
        eps = RADIUS / torch.linalg.vector_norm(lengths, dim=0)
    else:
        eps = RADIUS / torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(v) for v in vector]))

    def slope(sign: float) -> Tensor:
        with torch.no_grad():
            moved = {
                n: w + sign * eps.view(*eps.shape, *[1] * (w.ndim - eps.ndim)) * v
                for n, w, v in zip(names, weights, vector, strict=True)
            }
        return _gradient_in_alpha(supernet, relax, alpha, batch, moved)

    with supernet.in_full_precision():
        mixed: Tensor = (slope(1.0) - slope(-1.0)) / (2 * eps[..., None].to(alpha.device))
    return mixed


def _mixed_exact(supernet: Supernet, relax: Relaxation, alpha: Tensor, batch: Batch, vector: list[Tensor]) -> Tensor:
    """d/d alpha of <dL/dw, v> by double backward: the oracle of the finite difference."""
    point = alpha.detach().requires_grad_()
    with supernet.twice_differentiable():
        loss = _loss(supernet, relax(point), batch)
        slopes = torch.autograd.grad(loss, list(supernet.parameters()), create_graph=True)
        product = sum(((s * v).sum() for s, v in zip(slopes, vector, strict=True)), torch.zeros(()))
        (mixed,) = torch.autograd.grad(product, point)
    return mixed


def _gradient_in_alpha(
    supernet: Supernet, relax: Relaxation, alpha: Tensor, batch: Batch, weights: dict[str, Tensor]
) -> Tensor:
    point = alpha.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(_loss(supernet, relax(point), batch, weights), point)
    return gradient


def _loss(
    supernet: Supernet, operation_weights: Tensor, batch: Batch, weights: dict[str, Tensor] | None = None
) -> Tensor:
    """Mean cross-entropy, with other weights than the supernet's own if given."""
    arguments = (batch.images, operation_weights)
    logits = functional_call(supernet, weights, arguments) if weights else supernet(*arguments)
    if supernet.networks:  # the sum of their losses, each of which depends on its own parameters only
        return functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten()) * supernet.networks
    return functional.cross_entropy(logits, batch.labels)


def _momentum(sgd: torch.optim.SGD, weight: nn.Parameter) -> Tensor | float:
    """The momentum buffer; 0 before the first step."""
    buffer = sgd.state[weight].get("momentum_buffer") if weight in sgd.state else None
    return 0.0 if buffer is None else buffer
