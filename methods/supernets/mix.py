"""``Mix``: everything that a source gives to its targets, as one differentiable function of compiled single passes.

The forward pass computes the formula of ``source.py`` with the batch's own statistics. In the backward pass all
operations of a target share one incoming gradient g, and the gradient of a batch norm y = s zhat is linear in g and z,

    dz = s / sd * (g - mean(g) - zhat mean(g zhat)),

so a pass over g and z collects the sums, and a second one gives the gradients. Once differentiable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.spaces.nas_bench_201 import OPERATIONS
from methods.supernets import kernels
from methods.supernets.supernet import EPS

NONE, SKIP, CONV1, CONV3, POOL = range(len(OPERATIONS))


class Mix(torch.autograd.Function):
    """Inputs: x ``[B, C, H, W]`` channels last, W1 ``[k C, C]``, W3 ``[k C, C, 3, 3]``, operation weights ``[k, 5]``.

    After them the sums so far of the k targets, or nothing. Outputs: the k targets; then, not differentiable, the batch
    mean and biased variance ``[k C]`` of the 1x1 convolutions, and those of the 3x3 ones.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, conv1: Tensor, conv3: Tensor, mixture: Tensor, *sums: Tensor
    ) -> tuple[Tensor, ...]:
        """Two passes over the convolution's output: statistics, and the sum."""
        c, k = x.shape[1], len(mixture)
        r = functional.relu(x)
        z = functional.conv2d(r, conv3, padding=1)
        pooled = _pool(x, transposed=False)
        mean3, var3, m = x.new_empty(k * c), x.new_empty(k * c), x.new_empty(c)
        cov = x.new_empty(c, c)
        kernels.moments(_rows(z), mean3.numpy(), var3.numpy())
        kernels.covariance(_rows(r), m.numpy(), cov.numpy())
        inv3 = (var3 + EPS).rsqrt()
        scale3 = mixture[:, CONV3].repeat_interleave(c) * inv3
        mean1, var1 = conv1 @ m, ((conv1 @ cov) * conv1).sum(1).clamp(min=0)
        inv1 = (var1 + EPS).rsqrt()
        scale1 = mixture[:, CONV1].repeat_interleave(c) * inv1
        outputs = tuple(torch.empty_like(x, memory_format=torch.channels_last) for _ in range(k))
        kernels.combine(
            _rows(r),
            _rows(x),
            _rows(pooled),
            _rows(z, k),
            (scale1[:, None] * conv1).T.contiguous().numpy(),
            (-scale1 * mean1 - scale3 * mean3).view(k, c).numpy(),
            scale3.view(k, c).numpy(),
            mixture[:, SKIP].contiguous().numpy(),
            mixture[:, POOL].contiguous().numpy(),
            _triple(sums, x),
            _triple(outputs, x),
        )
        ctx.save_for_backward(x, r, pooled, z, conv1, conv3, mixture, m, cov, inv1, mean3, inv3)
        moments = (mean1, var1, mean3, var3)
        ctx.mark_non_differentiable(*moments)
        return *outputs, *moments

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """One pass for the sums, one for dz, the convolution's own, one for dx."""
        if torch.is_grad_enabled():  # create_graph=True; a second derivative would silently lack this function's part
            raise RuntimeError("compiled passes have no second derivative: use supernet.twice_differentiable()")
        x, r, pooled, z, conv1, conv3, mixture, m, cov, inv1, mean3, inv3 = ctx.saved_tensors
        wants_x, wants_conv1, wants_conv3, wants_mixture, *wants_sums = ctx.needs_input_grad
        c, k = x.shape[1], len(mixture)
        n = x.numel() // c
        gradients = tuple(g.contiguous(memory_format=torch.channels_last) for g in gradients[:k])
        g = _triple(gradients, x)
        sum_g, sum_gz, sum_gr = x.new_empty(k, c), x.new_empty(k, c), x.new_empty(k * c, c)
        dot_x, dot_pooled = x.new_empty(k), x.new_empty(k)
        kernels.reduce(
            g,
            _rows(r),
            _rows(x),
            _rows(pooled),
            _rows(z, k),
            sum_g.numpy(),
            sum_gz.numpy(),
            sum_gr.numpy(),
            dot_x.numpy(),
            dot_pooled.numpy(),
            wants_mixture,
        )

        sum_g, sum_gz = sum_g.flatten(), sum_gz.flatten()
        dot3 = inv3 * (sum_gz - mean3 * sum_g)  # sum of g zhat
        scale3 = mixture[:, CONV3].repeat_interleave(c) * inv3
        slope = -scale3 * inv3 * dot3 / n
        offset = -scale3 * sum_g / n - slope * mean3
        mean1 = conv1 @ m
        dot1 = inv1 * ((sum_gr * conv1).sum(1) - mean1 * sum_g)  # sum of g yhat
        scale1 = mixture[:, CONV1].repeat_interleave(c) * inv1

        dx = dconv3 = None
        if wants_x or wants_conv3:  # in the architecture step nothing lies below the first source
            dz = torch.empty_like(z, memory_format=torch.channels_last)
            dpooled = torch.empty_like(x, memory_format=torch.channels_last)
            kernels.convolution_and_pool_gradients(
                g,
                _rows(z, k),
                scale3.view(k, c).numpy(),
                slope.view(k, c).numpy(),
                offset.view(k, c).numpy(),
                mixture[:, POOL].contiguous().numpy(),
                _rows(dz, k),
                _rows(dpooled),
            )
            from_convolution, dconv3, _ = torch.ops.aten.convolution_backward(
                dz, r, conv3, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [wants_x, wants_conv3, False]
            )
        if wants_x:
            # The 1x1 convolution is linear in r: its part of dr is a matrix times r, a matrix times g, a constant.
            scaled = scale1[:, None] * conv1
            curve = conv1.T @ ((scale1 * inv1 * dot1 / n)[:, None] * conv1)
            dx = torch.empty_like(x, memory_format=torch.channels_last)
            kernels.input_gradient(
                g,
                _rows(r),
                _rows(from_convolution),
                _rows(_pool(dpooled, transposed=True)),
                torch.cat([-curve, scaled]).numpy(),
                (curve @ m - scaled.T @ sum_g / n).numpy(),
                mixture[:, SKIP].contiguous().numpy(),
                _rows(dx),
            )

        dconv1 = dmixture = None
        if wants_conv1:
            dconv1 = scale1[:, None] * (sum_gr - torch.outer(sum_g, m) - (inv1 * dot1)[:, None] * (conv1 @ cov))
        if wants_mixture:
            dmixture = torch.zeros_like(mixture)
            dmixture[:, SKIP], dmixture[:, POOL] = dot_x, dot_pooled
            dmixture[:, CONV1], dmixture[:, CONV3] = dot1.view(k, c).sum(1), dot3.view(k, c).sum(1)
        dsums = (gradient if wanted else None for gradient, wanted in zip(gradients, wants_sums, strict=False))
        return dx, dconv1, dconv3, dmixture, *dsums


def _rows(x: Tensor, k: int | None = None) -> np.ndarray:
    """``[B, C, H, W]``, channels last, as ``[B H W, C]`` over the same memory; ``[B H W, k, C / k]`` if k is given."""
    pixels = x.detach().numpy().transpose(0, 2, 3, 1)
    c = pixels.shape[3]
    return pixels.reshape(-1, c) if k is None else pixels.reshape(-1, k, c // k)


def _pool(x: Tensor, *, transposed: bool) -> Tensor:
    """3x3 average pooling of stride 1 over the pixels inside the image, or its adjoint."""
    out = torch.empty_like(x, memory_format=torch.channels_last)
    kernels.pool(x.detach().numpy().transpose(0, 2, 3, 1), out.numpy().transpose(0, 2, 3, 1), transposed)
    return out


def _triple(images: tuple[Tensor, ...], like: Tensor) -> tuple[np.ndarray, ...]:
    """Rows of up to three images, filled up with empty arrays: one compiled signature for all sources."""
    empty = like.new_empty(0, like.shape[1]).numpy()
    return (*(_rows(image) for image in images), *[empty] * (3 - len(images)))
