"""Single-pass loops over activations for ``choice.ChoiceCell``, compiled by Numba as those in ``kernels.py``.

Activations are ``[n, P, C]`` arrays (n = B H W, channels last): P tensors of C channels side by side, of which a loop
reads or writes one part. Lists of terms come as tuples of fixed length, so that one compiled signature serves all
cells; how many of them count is the length of the coefficients.

With scale s and shift b by channel, y = s z + b is an affine batch norm of z.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from methods.supernets.kernels import block_rows, jit


@jit
def weighted_sum(z, z_part, scale, shift, weight, terms, parts, factors, out, part):
    """Set out to sum_k weight_k relu(scale_k z_k + shift_k) + sum_m factor_m term_m."""
    n, _, c = out.shape
    rows, zero = block_rows(c), out.dtype.type(0)
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        to = out[start:stop]
        for k in range(len(weight)):
            zb, p, w, s, b = z[k][start:stop], z_part[k], weight[k], scale[k], shift[k]
            if k == 0:
                for i in range(len(to)):
                    for j in range(c):
                        to[i, part, j] = w * max(s[j] * zb[i, p, j] + b[j], zero)
            else:
                for i in range(len(to)):
                    for j in range(c):
                        to[i, part, j] += w * max(s[j] * zb[i, p, j] + b[j], zero)
        for m in range(len(factors)):
            yb, p, w = terms[m][start:stop], parts[m], factors[m]
            if m == 0 and len(weight) == 0:
                for i in range(len(to)):
                    for j in range(c):
                        to[i, part, j] = w * yb[i, p, j]
            else:
                for i in range(len(to)):
                    for j in range(c):
                        to[i, part, j] += w * yb[i, p, j]


@jit
def sums(g, part, z, z_part, scale, shift, terms, parts, by_channel, dots):
    """What the gradients of ``weighted_sum`` need of its incoming gradient g.

    by_channel ``[k, 3, C]``: the sums of g relu(y_k), g [y_k > 0] and g [y_k > 0] z_k; dots ``[m]``: of g term_m.
    """
    n, _, c = g.shape
    rows, zero = block_rows(c), g.dtype.type(0)  # a plain 0 would make the loop one of float64
    totals, total_dots = np.zeros(by_channel.shape, np.float64), np.zeros((len(dots), c), np.float64)
    partial = np.zeros((3, c), g.dtype)
    rectified, masked, weighted = partial[0], partial[1], partial[2]
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        gb = g[start:stop]
        for k in range(len(by_channel)):
            zb, p, s, b = z[k][start:stop], z_part[k], scale[k], shift[k]
            partial[:] = 0
            for i in range(len(gb)):
                for j in range(c):
                    value = zb[i, p, j]
                    y = s[j] * value + b[j]
                    passed = gb[i, part, j] if y > zero else zero
                    rectified[j] += passed * y
                    masked[j] += passed
                    weighted[j] += passed * value
            totals[k] += partial
        for m in range(len(dots)):
            yb, p = terms[m][start:stop], parts[m]
            masked[:] = 0
            for i in range(len(gb)):
                for j in range(c):
                    masked[j] += gb[i, part, j] * yb[i, p, j]
            total_dots[m] += masked
    by_channel[:] = totals
    for m in range(len(dots)):
        dots[m] = total_dots[m].sum()


@jit
def normed_gradient(g, part, z, z_part, scale, shift, gain, slope, offset, dz):
    """Set z's part of dz to gain g [scale z + shift > 0] + slope z + offset."""
    n, _, c = g.shape
    zero = g.dtype.type(0)
    for i in range(n):
        for j in range(c):
            value = z[i, z_part, j]
            passed = g[i, part, j] if scale[j] * value + shift[j] > zero else zero
            dz[i, z_part, j] = gain[j] * passed + slope[j] * value + offset[j]


@jit
def max_pool(x, c, out, place):
    """3x3 maximum of stride 1 over the pixels inside the image, ``[B, H, W C]``.

    place, of the same shape, says which of the nine pixels it was, row by row; the first one if they tie, as PyTorch.
    """
    batch, height, _ = x.shape
    for b in range(batch):
        for h in range(height):
            best, which = out[b, h], place[b, h]
            best[:] = x[b, h]
            for near in range(max(h - 1, 0), min(h + 2, height)):
                for side in range(3):
                    value, to, _ = _neighbours(x[b, near], best, which, c, side)
                    for e in range(len(value)):
                        to[e] = max(to[e], value[e])
            for near in range(min(h + 1, height - 1), max(h - 1, 0) - 1, -1):  # backwards, so that the first one stays
                for side in range(2, -1, -1):
                    value, to, code = _neighbours(x[b, near], best, which, c, side)
                    number = np.uint8(3 * (near - h + 1) + side)
                    for e in range(len(value)):
                        code[e] = number if value[e] == to[e] else code[e]


@jit
def _neighbours(source, a, b, c, side):
    """Pixels of a row beside their left neighbour (side 0), themselves (1) or their right one (2) in ``source``."""
    width = len(source)
    if side == 0:
        return source[: width - c], a[c:], b[c:]
    if side == 2:
        return source[c:], a[: width - c], b[: width - c]
    return source, a, b


@jit
def max_pool_gradient(g, place, x, c, weight, other, dx):
    """Add ``other`` and weight times pooling's adjoint of g to dx. Returns the sum of g times the pooled x.

    By <g, pool(x)> = <adjoint(g), x> the pooled image itself is not needed.
    """
    batch, height, width = g.shape
    zero = g.dtype.type(0)
    gathered, dots = np.empty(width, g.dtype), np.zeros(width, np.float64)
    for b in range(batch):
        for h in range(height):
            gathered[:] = 0
            for near in range(max(h - 1, 0), min(h + 2, height)):  # the row of the output
                for side in range(3):
                    value, which, to = g[b, near], place[b, near], gathered
                    if side == 0:
                        value, which, to = value[c:], which[c:], to[: width - c]
                    elif side == 2:
                        value, which, to = value[: width - c], which[: width - c], to[c:]
                    number = np.uint8(3 * (h - near + 1) + side)
                    for e in range(len(value)):
                        to[e] += value[e] if which[e] == number else zero
            here, row, extra = dx[b, h], x[b, h], other[b, h]
            for e in range(width):
                here[e] += extra[e] + weight * gathered[e]
            for e in range(width):
                dots[e] += gathered[e] * row[e]
    return dots.sum()
