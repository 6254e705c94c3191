"""``ChoiceCell``: a whole NAS-Bench-1Shot1 cell as one differentiable function of convolutions and compiled passes.

Every tensor between two convolutions is a sum of terms w relu(y), y = s z + b the affine batch norm of a convolution's
output z, and of terms v u with earlier blocks u. One pass computes such a sum, one collects what the gradients need of
its incoming gradient g, and one writes the gradient of each z: with S = w g [y > 0] and zhat the normalised z,

    dbeta = sum S,    dgamma = sum S zhat,    dz = s (S - dbeta / n - zhat dgamma / n),

linear in S and z. Normalised and rectified tensors, masks and multiples never exist. Once differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from methods.supernets import choice_kernels, kernels
from methods.supernets.supernet import EPS

CONV3, CONV1, POOL = range(3)
"""Operation weights of a block, in the order of NAS-Bench-101's operations."""
MOST_NORMED, MOST_PLAIN = 2, 5
"""Terms of a sum. Compiled loops take tuples of fixed length, so that one signature serves all cells."""


class Part(NamedTuple):
    """One of ``of`` equal slices of the channels of ``[B, of * C, H, W]``, channels last."""

    tensor: Tensor
    number: int = 0
    of: int = 1

    @property
    def rows(self) -> np.ndarray:
        """The whole tensor as ``[B H W, of, C]``, over the same memory."""
        pixels = self.tensor.detach().numpy().transpose(0, 2, 3, 1)
        return pixels.reshape(-1, self.of, pixels.shape[-1] // self.of)


class Normed(NamedTuple):
    """A part of a convolution's output z and its batch norm scale z + shift, by channel; inv is 1 / sd."""

    z: Part
    mean: np.ndarray
    inv: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


class Unit:
    """A convolution's output ``[B, P C, H, W]`` with batch norms made of the batch's moments ``[2, P C]``."""

    def __init__(self, z: Tensor, moments: Tensor, gamma: Tensor, beta: Tensor, width: int) -> None:
        mean, var = moments
        inv = (var + EPS).rsqrt()
        scale = gamma * inv
        self.z = z
        self.rows = torch.stack([mean, inv, scale, beta - mean * scale]).detach().view(4, -1, width).numpy()

    def __getitem__(self, part: int) -> Normed:
        return Normed(Part(self.z, part, self.rows.shape[1]), *self.rows[:, part])


class ChoiceCell(torch.autograd.Function):
    """A cell.

    Inputs: x ``[B, C_in, H, W]`` channels last; operation weights ``[blocks, 3]``, input weights ``[blocks, blocks]``
    (row i: of the projection, then of the blocks before i), output weights ``[blocks + 1]``; then filters, gamma and
    beta of the stacked projections, and of the 3x3 and the 1x1 convolution of each block in turn.

    Outputs: the cell's, ``[B, blocks * C, H, W]``; and, not differentiable, batch mean and biased variance of each
    convolution in the order of the parameters, ``[2, channels]``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, operations: Tensor, inputs: Tensor, output: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        """Block by block, then the concatenation."""
        filters, gammas, betas = parameters[::3], parameters[1::3], parameters[2::3]
        count, c = len(operations), len(gammas[1])
        by_operation, by_input, by_output = (w.detach().numpy() for w in (operations, inputs, output))
        units: list[Unit] = []
        moments: list[Tensor] = []

        def convolve(image: Tensor) -> Unit:
            number = len(units)
            z = functional.conv2d(image, filters[number], padding=filters[number].shape[-1] // 2)
            moments.append(z.new_empty(2, z.shape[1]))
            kernels.moments(Part(z).rows[:, 0], *moments[-1].numpy())
            units.append(Unit(z, moments[-1], gammas[number], betas[number], c))
            return units[-1]

        projections = convolve(x)
        totals: list[Tensor] = []
        blocks: list[Tensor] = []
        places: list[Tensor] = []
        for i in range(count):
            total, pooled, block = (_empty(x, c) for _ in range(3))
            place = torch.empty_like(total, dtype=torch.uint8)
            earlier = [Part(u) for u in blocks]
            _weighted_sum([projections[i]], by_input[i, :1], earlier, by_input[i, 1 : i + 1], Part(total))
            choice_kernels.max_pool(_lines(total), c, _lines(pooled), _lines(place))
            weights = by_operation[i]
            normed = [convolve(total)[0], convolve(total)[0]]
            _weighted_sum(normed, weights[:POOL], [Part(pooled)], weights[POOL:], Part(block))
            totals.append(total)
            blocks.append(block)
            places.append(place)
        out = _empty(x, count * c)
        for i, block in enumerate(blocks):
            projected = [projections[count + i]]
            _weighted_sum(projected, by_output[:1], [Part(block)], by_output[i + 1 : i + 2], Part(out, i, count))
        zs = (unit.z for unit in units)
        ctx.save_for_backward(
            x, operations, inputs, output, *parameters, *moments, *zs, *totals, *blocks, *places
        )  # fmt: skip
        ctx.mark_non_differentiable(*moments)
        return out, *moments

    @staticmethod
    def backward(ctx: Any, g_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Blocks in reverse order; a block's gradient is a sum over the output and the later blocks."""
        if torch.is_grad_enabled():  # create_graph=True; a second derivative would silently lack this function's part
            raise RuntimeError("compiled passes have no second derivative: use supernet.twice_differentiable()")
        x, operations, inputs, output, *saved = ctx.saved_tensors
        count, n_units = len(operations), 2 * len(operations) + 1
        parameters, moments, zs, totals, blocks, places = _take(
            saved, 3 * n_units, n_units, n_units, count, count, count
        )
        filters, gammas, betas = parameters[::3], parameters[1::3], parameters[2::3]
        c = len(gammas[1])
        units = [Unit(*unit, c) for unit in zip(zs, moments, gammas, betas, strict=True)]
        weights = tuple(w.detach().numpy() for w in (operations, inputs, output))
        by_operation, by_input, by_output = weights
        d_operations, d_inputs, d_output = (np.zeros_like(w) for w in weights)
        wants_x, wants_dots, wants = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:4]), ctx.needs_input_grad[4:]
        below = wants_x or any(wants)  # in the architecture step nothing lies below the first cell
        d_filters: list[Tensor | None] = [None] * n_units
        affine = [torch.empty_like(m) for m in moments]  # of beta and gamma
        g_out = g_out.contiguous(memory_format=torch.channels_last)
        projections, dz = units[0], torch.empty_like(units[0].z) if below else None

        def through_convolution(number: int, image: Tensor, dz: Tensor, wants_image: bool) -> Tensor:
            padding = [filters[number].shape[-1] // 2] * 2
            masks = [wants_image, wants[3 * number], False]
            d_image: Tensor
            d_image, d_filters[number], _ = torch.ops.aten.convolution_backward(
                dz, image, filters[number], None, [1, 1], padding, [1, 1], False, [0, 0], 1, masks
            )
            return d_image

        def through_projection(part: int, g: Part, weight: np.ndarray, plain: Sequence[Tensor]) -> Sums:
            sums = Sums(g, [projections[part]], weight, plain if wants_dots else [])
            affine[0].view(2, -1, c)[:, part] = torch.from_numpy(sums.affine[:, 0])
            if dz is not None:
                sums.write(0, Part(dz, part, 2 * count))
            return sums

        for i, block in enumerate(blocks):
            sums = through_projection(count + i, Part(g_out, i, count), by_output[:1], [block])
            d_output[0] += sums.d_weights[0]
            if wants_dots:
                d_output[i + 1] = sums.dots[0]
        later: list[Part] = []
        for i in reversed(range(count)):
            g = _empty(x, c)
            factors = [by_output[i + 1], *(by_input[target, i + 1] for target in range(count - 1, i, -1))]
            _weighted_sum([], by_output[:0], [Part(g_out, i, count), *later], np.array(factors), Part(g))
            here = (2 * i + 1, 2 * i + 2)
            sums = Sums(Part(g), [units[number][0] for number in here], by_operation[i, :POOL], [])
            d_operations[i, :POOL] = sums.d_weights
            d_totals = []
            for k, number in enumerate(here):
                affine[number].copy_(torch.from_numpy(sums.affine[:, k]))
                if below or i:
                    d_z = _empty(x, c)
                    sums.write(k, Part(d_z))
                    d_totals.append(through_convolution(number, totals[i], d_z, True))
                else:
                    d_totals.append(torch.zeros_like(g))
            d_total, other = d_totals
            total = _lines(totals[i])
            d_operations[i, POOL] = choice_kernels.max_pool_gradient(
                _lines(g), _lines(places[i]), total, c, by_operation[i, POOL], _lines(other), _lines(d_total)
            )
            sums = through_projection(i, Part(d_total), by_input[i, :1], blocks[:i])
            d_inputs[i, 0] = sums.d_weights[0]
            if wants_dots:
                d_inputs[i, 1 : i + 1] = sums.dots
            later.append(Part(d_total))

        dx = None if dz is None else through_convolution(0, x, dz, wants_x)
        d_units = zip(d_filters, affine, strict=True)
        d_parameters = (d for d_filter, (beta, gamma) in d_units for d in (d_filter, gamma, beta))
        return dx, *(torch.from_numpy(d) for d in (d_operations, d_inputs, d_output)), *d_parameters


class Sums:
    """What the gradients of a weighted sum need of its incoming gradient.

    Attributes:
        d_weights: gradients of the weights of rectified terms, ``[k]``.
        dots: gradients of the factors of plain terms, ``[m]``.
        affine: gradients of beta and gamma, ``[2, k, C]``.
    """

    def __init__(self, g: Part, normed: Sequence[Normed], weights: np.ndarray, plain: Sequence[Tensor]) -> None:
        self.g, self.normed, self.weights = g, normed, weights
        found = np.empty((len(normed), 3, len(normed[0].mean)))  # float64: the differences below cancel
        self.dots = np.empty(len(plain), weights.dtype)
        z, numbers, scale, shift = _normed(normed, weights)
        terms, parts = _plain([Part(u) for u in plain], g)
        choice_kernels.sums(g.rows, g.number, z, numbers, scale, shift, terms, parts, found, self.dots)
        self.d_weights = found[:, 0].sum(1)
        mean, inv = (np.stack([getattr(n, name) for n in normed]) for name in ("mean", "inv"))
        beta = weights[:, None] * found[:, 1]
        self.affine = np.stack([beta, inv * (weights[:, None] * found[:, 2] - mean * beta)])

    def write(self, k: int, dz: Part) -> None:
        """Write the gradient of the k-th rectified term's z."""
        z, mean, inv, scale, shift = self.normed[k]
        n = len(z.rows)
        d_beta, d_gamma = self.affine[:, k]
        slope = -scale * inv * d_gamma / n
        offset = -scale * d_beta / n - slope * mean
        gain, slope, offset = (a.astype(scale.dtype) for a in (self.weights[k] * scale, slope, offset))
        choice_kernels.normed_gradient(
            self.g.rows, self.g.number, z.rows, z.number, scale, shift, gain, slope, offset, dz.rows
        )


def _weighted_sum(
    normed: Sequence[Normed], weights: np.ndarray, plain: Sequence[Part], factors: np.ndarray, out: Part
) -> None:
    """Set out to sum_k weights_k relu(batch norm of z_k) + sum_m factors_m plain_m."""
    z, numbers, scale, shift = _normed(normed, weights)
    terms, parts = _plain(plain, out)
    choice_kernels.weighted_sum(z, numbers, scale, shift, weights, terms, parts, factors, out.rows, out.number)


def _normed(normed: Sequence[Normed], weights: np.ndarray) -> tuple[Any, ...]:
    """Rectified terms as compiled loops take them: tensors, parts, scales, shifts."""
    empty = np.empty((1, 0, 0), weights.dtype)
    tensors = (*(term.z.rows for term in normed), *[empty[:0]] * (MOST_NORMED - len(normed)))
    numbers = np.array([term.z.number for term in normed], np.int64)
    if not normed:
        return tensors, numbers, empty[0], empty[0]
    return tensors, numbers, np.stack([term.scale for term in normed]), np.stack([term.shift for term in normed])


def _plain(terms: Sequence[Part], like: Part) -> tuple[Any, ...]:
    """Plain terms as compiled loops take them: tensors, parts."""
    tensors = (*(term.rows for term in terms), *[like.rows[:0]] * (MOST_PLAIN - len(terms)))
    return tensors, np.array([term.number for term in terms], np.int64)


def _lines(x: Tensor) -> np.ndarray:
    """``[B, C, H, W]``, channels last, as ``[B, H, W C]`` over the same memory."""
    pixels = x.detach().numpy().transpose(0, 2, 3, 1)
    return pixels.reshape(*pixels.shape[:2], -1)


def _empty(like: Tensor, channels: int) -> Tensor:
    """``[B, channels, H, W]``, channels last."""
    batch, _, height, width = like.shape
    return like.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)


def _take(items: Sequence[Tensor], *sizes: int) -> list[Sequence[Tensor]]:
    """Consecutive pieces of the given lengths."""
    ends = np.cumsum(sizes)
    return [items[end - size : end] for end, size in zip(ends, sizes, strict=True)]
