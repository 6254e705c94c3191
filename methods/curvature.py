"""Exact second-order information of a loss in the architecture parameters.

A supernet's loss is a function of the operation weights p, and p = softmax(alpha) group by group. The Hessian is taken
in p and carried over to alpha by the chain rule, exactly:

    H_alpha = J' H_p J + sum_k (dL/dp_k) d2p_k/dalpha2,    J = dp/dalpha

That needs fewer Hessian-vector products than there are parameters: the columns of J, and the step from p to a discrete
architecture, keep every group's sum, and an operation that is never computed (``none``) has no curvature. Four of five
directions an edge remain on NAS-Bench-201, 25 of 35 on NAS-Bench-1Shot1's space 3.

ReLU and max pooling have kinks, which no derivative sees: differences of gradients over steps of 1e-6 and more take in
pixels that cross one, and can be far from the Hessian. Over the posterior's spread (sigma near 1) all the more so:
where Eq. 2 or Eq. 19 disagrees with what is measured, the kinks are part of the reason.

Products go by double backward, one after the other: a vectorised pass over all of them costs more on a CPU (its tensors
leave the cache) and as many times the memory, and cannot trace channels-last pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from scipy.linalg import helmert
from torch import Tensor

from methods.relaxations import softmax

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Curvature:
    """Loss, gradients and Hessians at one point.

    Attributes:
        loss: the loss in nats.
        p: operation weights, shape ``[d]``.
        g_p: gradient in p, shape ``[d]``.
        h_p: Hessian in p for steps that keep every group's sum, shape ``[d, d]``: v' h_p v = v' H_p v for those, and
            0 along the all-ones vector of a group whose operations are all used.
        g_alpha: gradient in alpha, shape ``[d]``.
        h_alpha: Hessian in alpha, shape ``[d, d]``; each group's all-ones vector is a null direction.
    """

    loss: float
    p: Tensor
    g_p: Tensor
    h_p: Tensor
    g_alpha: Tensor
    h_alpha: Tensor


def curvature(loss_of_weights: Loss, alpha: Tensor, sizes: Sequence[int], *, used: Tensor | None = None) -> Curvature:
    """The exact Hessian at ``alpha``.

    Args:
        loss_of_weights: operation weights ``[d]`` to a scalar, twice differentiable.
        alpha: architecture parameters, shape ``[d]``.
        sizes: parameters of each softmax group.
        used: which operation weights the network depends on, bool ``[d]``; None for all.
    """
    p = softmax(alpha.detach(), sizes).requires_grad_()
    loss = loss_of_weights(p)
    (g_p,) = torch.autograd.grad(loss, p, create_graph=True)
    basis = _directions(sizes, torch.ones_like(p, dtype=torch.bool) if used is None else used).to(p)
    products = torch.stack([torch.autograd.grad(g_p @ v, p, retain_graph=True)[0] for v in basis])
    inner = products @ basis.T
    h_p = basis.T @ ((inner + inner.T) / 2) @ basis  # symmetric up to rounding
    g_p, p = g_p.detach(), p.detach()

    jacobian = torch.block_diag(*(torch.diag(part) - torch.outer(part, part) for part in p.split(list(sizes))))
    h_alpha = jacobian @ h_p @ jacobian + _softmax_curvature(p, g_p, sizes)
    return Curvature(loss.item(), p, g_p, h_p, jacobian @ g_p, (h_alpha + h_alpha.T) / 2)


def _directions(sizes: Sequence[int], used: Tensor) -> Tensor:
    """Orthonormal rows whose span, with the unused coordinates, holds all steps that keep every group's sum."""
    blocks = [
        torch.from_numpy(helmert(len(marks))) if bool(marks.all()) else torch.eye(len(marks))[marks]
        for marks in used.split(list(sizes))
    ]
    return cast(Tensor, torch.block_diag(*(block.double() for block in blocks)))


def _softmax_curvature(p: Tensor, g: Tensor, sizes: Sequence[int]) -> Tensor:
    """sum_k g_k d2p_k/dalpha2, block by block: with c = p * (g - <g, p>), it is diag(c) - c p' - p c'."""
    blocks = []
    for part, slope in zip(p.split(list(sizes)), g.split(list(sizes)), strict=True):
        c = part * (slope - slope @ part)
        blocks.append(torch.diag(c) - torch.outer(c, part) - torch.outer(part, c))
    return cast(Tensor, torch.block_diag(*blocks))


def summary(hessian: Tensor, gradient: Tensor) -> dict[str, float]:
    """The numbers that are recorded.

    Args:
        hessian: symmetric, shape ``[d, d]``.
        gradient: shape ``[d]``.

    Returns:
        ``dominant`` (largest eigenvalue, what RobustDARTS plots), ``smallest``, ``spectral_norm`` (largest absolute
        eigenvalue), ``frobenius_norm``, ``trace`` and ``gradient_norm``. Eigenvalues are NaN where an entry is not
        finite.
    """
    matrix = hessian.double()
    finite = bool(matrix.isfinite().all())
    eigenvalues = torch.linalg.eigvalsh(matrix) if finite else torch.full_like(matrix[0], torch.nan)
    return {
        "dominant": float(eigenvalues[-1]),
        "smallest": float(eigenvalues[0]),
        "spectral_norm": float(eigenvalues.abs().max()),
        "frobenius_norm": float(torch.linalg.matrix_norm(matrix)),
        "trace": float(matrix.trace()),
        "gradient_norm": float(gradient.double().norm()),
    }


@dataclass(frozen=True)
class Gap:
    """Loss lost by discretising, and the two terms of its expansion in the operation weights.

    Attributes:
        measured: L(p*) - L(p).
        first_order: g_p . (p* - p).
        second_order: (p* - p)' H_p (p* - p) / 2.
    """

    measured: float
    first_order: float
    second_order: float


def discretisation_gap(loss_of_weights: Loss, at: Curvature, discrete: Tensor) -> Gap:
    """What Eq. 2 of BaLeNAS expands, in consistent coordinates and with the first-order term kept.

    Args:
        loss_of_weights: as in ``curvature``.
        at: the curvature at the relaxed architecture.
        discrete: operation weights p* of the discrete one (one-hot groups), shape ``[d]``.
    """
    step = discrete - at.p
    with torch.no_grad():
        measured = float(loss_of_weights(discrete)) - at.loss
    return Gap(measured, float(at.g_p @ step), float(step @ at.h_p @ step) / 2)


@dataclass(frozen=True)
class NoiseEffect:
    """What the posterior's spread adds to the loss.

    Attributes:
        measured: mean of L(draw) - L(mu) over the draws.
        standard_error: of that mean.
        predicted: half the sum of sigma_i^2 H_ii.
    """

    measured: float
    standard_error: float
    predicted: float


def noise_effect(loss_of_alpha: Loss, mean: Tensor, sigma: Tensor, hessian: Tensor, draws: Tensor) -> NoiseEffect:
    """Both sides of Eq. 19 of BaLeNAS, per coordinate: the paper's sigma^2/2 Tr H assumes one sigma for all.

    Draws come in antithetic pairs (mu + e, mu - e), which removes the first-order term from the sampling error.

    Args:
        loss_of_alpha: architecture parameters ``[d]`` to a scalar.
        mean: mu, shape ``[d]``.
        sigma: shape ``[d]``.
        hessian: in alpha at the mean, shape ``[d, d]``.
        draws: of the posterior, shape ``[n, d]``, n >= 2.
    """
    with torch.no_grad():
        base = loss_of_alpha(mean)
        pairs = torch.stack(
            [(loss_of_alpha(draw) + loss_of_alpha(2 * mean - draw)) / 2 - base for draw in draws]
        ).double()
    error = float(pairs.std() / len(pairs) ** 0.5)
    return NoiseEffect(float(pairs.mean()), error, float((sigma.square() * hessian.diagonal()).sum() / 2))
