"""Batch norm and average pooling with cheap second derivatives, for arrays that are not channels last.

For y = scale zhat, zhat = (z - mean(z)) / sd(z) by channel, the gradient in z is scale B(g), B(g) = (g - mean(g) - zhat
mean(g zhat)) / sd, and that in scale is the sum of g zhat. Differentiating both needs three more means a channel and
two linear combinations of g, v and zhat (``_differentiate_backward``), where autograd's general formula takes some
twenty passes: a quarter of a Hessian-vector product. Pooling is linear: its derivatives are itself and its transpose.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

jit = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"}, error_model="numpy")


def batch_norm(z: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Normalise ``z [B, C, H, W]`` (on the CPU) by channel, times ``scale [C]``. Differentiable twice."""
    return _Scaled.apply(z, scale, eps)  # type: ignore[no-untyped-call, no-any-return]


def average_pool(x: Tensor) -> Tensor:
    """3x3 means over what is inside ``x [B, C, H, W]`` (on the CPU). Differentiable any number of times."""
    return _Pooled.apply(x, False)  # type: ignore[no-untyped-call, no-any-return]


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, scale: Tensor, eps: float) -> Tensor:
        var, mean = torch.var_mean(z, (0, 2, 3), correction=0)
        inv = (var + eps).rsqrt()
        zhat = torch.addcmul((-mean * inv)[:, None, None], z, inv[:, None, None]).contiguous()
        ctx.save_for_backward(z, scale, zhat, inv)
        return zhat * scale[:, None, None]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        return *_Backward.apply(g.contiguous(), *ctx.saved_tensors), None  # type: ignore[no-untyped-call]


class _Backward(torch.autograd.Function):
    """The gradients in z and scale, as functions of g, scale and z, from which zhat and inv follow."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        z: Tensor,  # noqa: ARG004 - for its derivative
        scale: Tensor,
        zhat: Tensor,
        inv: Tensor,
    ) -> tuple[Tensor, Tensor]:
        in_z, in_scale = torch.empty_like(zhat), torch.empty_like(scale)
        _backward(*_arrays(g, zhat), *_arrays(scale, inv), *_arrays(in_z, in_scale))
        ctx.save_for_backward(g, scale, zhat, inv)
        return in_z, in_scale

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        g, scale, zhat, inv = ctx.saved_tensors
        in_g, in_z, in_scale = torch.empty_like(g), torch.empty_like(g), torch.empty_like(scale)
        _differentiate_backward(
            *_arrays(v.contiguous(), u, g, zhat), *_arrays(scale, inv), *_arrays(in_g, in_z, in_scale)
        )
        return in_g, in_z, in_scale, None, None


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, transposed: bool) -> Tensor:
        ctx.transposed = transposed
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        _pool(x.detach().contiguous().numpy(), transposed, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _Pooled.apply(g, not ctx.transposed), None  # type: ignore[no-untyped-call]


def _arrays(*tensors: Tensor) -> list[np.ndarray[Any, Any]]:
    return [t.detach().numpy().reshape(*t.shape[:2], -1) if t.ndim == 4 else t.detach().numpy() for t in tensors]


@jit
def _backward(g, zhat, scale, inv, in_z, in_scale):
    batch, channels, pixels = g.shape
    n = batch * pixels
    for c in range(channels):
        sum_g, sum_gz = 0.0, 0.0
        for b in range(batch):
            part_g, part_gz = g.dtype.type(0), g.dtype.type(0)
            for i in range(pixels):
                part_g += g[b, c, i]
                part_gz += g[b, c, i] * zhat[b, c, i]
            sum_g += part_g
            sum_gz += part_gz
        k = scale[c] * inv[c]
        of_z, constant = g.dtype.type(-k * sum_gz / n), g.dtype.type(-k * sum_g / n)
        for b in range(batch):
            for i in range(pixels):
                in_z[b, c, i] = k * g[b, c, i] + of_z * zhat[b, c, i] + constant
        in_scale[c] = sum_gz


@jit
def _differentiate_backward(v, u, g, zhat, scale, inv, in_g, in_z, in_scale):
    """Gradient of <v, scale B(g)> + <u, sum of g zhat> in g, z and scale."""
    batch, channels, pixels = g.shape
    n = batch * pixels
    for c in range(channels):
        sum_g, sum_gz, sum_v, sum_vz, sum_vg = 0.0, 0.0, 0.0, 0.0, 0.0
        for b in range(batch):
            zero = g.dtype.type(0)
            part_g, part_gz, part_v, part_vz, part_vg = zero, zero, zero, zero, zero
            for i in range(pixels):
                gi, vi, zi = g[b, c, i], v[b, c, i], zhat[b, c, i]
                part_g += gi
                part_gz += gi * zi
                part_v += vi
                part_vz += vi * zi
                part_vg += vi * gi
            sum_g += part_g
            sum_gz += part_gz
            sum_v += part_v
            sum_vz += part_vz
            sum_vg += part_vg
        mean_g, mean_gz, mean_v, mean_vz = sum_g / n, sum_gz / n, sum_v / n, sum_vz / n
        overlap = sum_vg / n - mean_v * mean_g - mean_vz * mean_gz
        k, q, w = scale[c] * inv[c], scale[c] * inv[c] * inv[c], u[c] * inv[c]
        g_v, g_z, g_1 = g.dtype.type(k), g.dtype.type(u[c] - k * mean_vz), g.dtype.type(-k * mean_v)
        z_v, z_g = g.dtype.type(-q * mean_gz), g.dtype.type(w - q * mean_vz)
        z_z = g.dtype.type(q * (2 * mean_vz * mean_gz - overlap) - w * mean_gz)
        z_1 = g.dtype.type(q * (mean_vz * mean_g + mean_gz * mean_v) - w * mean_g)
        for b in range(batch):
            for i in range(pixels):
                gi, vi, zi = g[b, c, i], v[b, c, i], zhat[b, c, i]
                in_g[b, c, i] = g_v * vi + g_z * zi + g_1
                in_z[b, c, i] = z_v * vi + z_g * gi + z_z * zi + z_1
        in_scale[c] = overlap * inv[c] * n


@jit
def _pool(x, transposed, out):
    """3x3 sums over the inside, divided by their number of pixels: afterwards, or before them if ``transposed``."""
    batch, channels, height, width = x.shape
    share = np.empty((height, width), x.dtype)
    for i in range(height):
        for j in range(width):
            rows, columns = min(i + 1, height - 1) - max(i - 1, 0) + 1, min(j + 1, width - 1) - max(j - 1, 0) + 1
            share[i, j] = 1 / (rows * columns)
    plane, line = np.zeros((height + 2, width), x.dtype), np.zeros(width + 2, x.dtype)
    for b in range(batch):
        for c in range(channels):
            source, target = x[b, c], out[b, c]
            for i in range(height):
                for j in range(width):
                    plane[i + 1, j] = source[i, j] * share[i, j] if transposed else source[i, j]
            for i in range(height):
                for j in range(width):
                    line[j + 1] = plane[i, j] + plane[i + 1, j] + plane[i + 2, j]
                for j in range(width):
                    total = line[j] + line[j + 1] + line[j + 2]
                    target[i, j] = total if transposed else total * share[i, j]
