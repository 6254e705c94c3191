"""Single-pass loops over activations for ``source.Mix``, compiled by Numba.

Written as tensor operations, the sum over a source's operations and its gradients are some thirty passes over arrays
that do not fit a core's cache. Here rows are taken in blocks that do, small matrix products included, and every array
is read once a loop.

Activations are ``[n, C]`` arrays (n = B H W, channels last). A source has k = 1, 2 or 3 targets; arrays for targets
come as triples of which the last ones may be empty. z is ``[n, k, C]``, coefficients by channel are ``[k, C]``.

Loops index with their own counters only: an index that is a sum might be negative for all the compiler knows, and the
test for that would keep it from vectorising.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

jit = numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")


@jit
def block_rows(c):
    """Rows of which one array fills 32 KB in float32."""
    return max(8192 // c, 32)


@jit
def moments(z, mean, var):
    """Mean and biased variance of every column. Deviations from the first row keep the squares from cancelling."""
    n, columns = z.shape
    rows = block_rows(columns)
    pivot = z[0].copy()
    total, square = np.zeros(columns, np.float64), np.zeros(columns, np.float64)
    part, part_square = np.zeros_like(pivot), np.zeros_like(pivot)
    for start in range(0, n, rows):
        part[:] = 0
        part_square[:] = 0
        for i in range(start, min(start + rows, n)):
            for j in range(columns):
                d = z[i, j] - pivot[j]
                part[j] += d
                part_square[j] += d * d
        for j in range(columns):
            total[j] += part[j]
            square[j] += part_square[j]
    for j in range(columns):
        centre = total[j] / n
        mean[j] = pivot[j] + centre
        var[j] = max(square[j] / n - centre * centre, 0.0)


@jit
def covariance(r, mean, cov):
    """Mean and biased covariance of the columns, about a pivot as in ``moments``."""
    n, c = r.shape
    rows = block_rows(c)
    pivot = r[0].copy()
    total, square = np.zeros(c, np.float64), np.zeros((c, c), np.float64)
    deviations = np.empty((rows, c), r.dtype)
    for start in range(0, n, rows):
        count = min(start + rows, n) - start
        part = np.zeros_like(pivot)
        for i in range(count):
            for j in range(c):
                d = r[start + i, j] - pivot[j]
                deviations[i, j] = d
                part[j] += d
        products = np.dot(deviations[:count].T, deviations[:count])
        for j in range(c):
            total[j] += part[j]
            for k in range(c):
                square[j, k] += products[j, k]
    for j in range(c):
        mean[j] = pivot[j] + total[j] / n
        for k in range(c):
            cov[j, k] = square[j, k] / n - (total[j] / n) * (total[k] / n)


@jit
def combine(r, x, pooled, z, matrix, shift, scale, skip, pool, before, out):
    """out_t = before_t + r matrix_t + shift_t + scale_t z_t + skip_t x + pool_t pooled. matrix: ``[C, k C]``."""
    n, c = x.shape
    k = len(skip)
    rows = block_rows(c)
    buffer = np.empty((rows, k * c), r.dtype)
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        rb, xb, pb, zb = r[start:stop], x[start:stop], pooled[start:stop], z[start:stop]
        # One product for all targets: a BLAS call of C columns each would be half as fast.
        np.dot(rb, matrix, buffer[: len(rb)])
        product = buffer.reshape(rows, k, c)
        for t in range(k):
            to, a, b = out[t][start:stop], skip[t], pool[t]
            for i in range(len(rb)):
                for j in range(c):
                    value = product[i, t, j] + shift[t, j] + scale[t, j] * zb[i, t, j]
                    to[i, j] = value + (a * xb[i, j] + b * pb[i, j])
            if len(before[t]):
                first = before[t][start:stop]
                for i in range(len(rb)):
                    for j in range(c):
                        to[i, j] += first[i, j]


@jit
def reduce(g, r, x, pooled, z, sum_g, sum_gz, sum_gr, dot_x, dot_pooled, dots):
    """Sums over rows: g and g z by channel, g' r by target ``[k C, C]``; g x and g pooled by target if ``dots``."""
    n, c = x.shape
    k = len(dot_x)
    rows = block_rows(c)
    totals, totals_r = np.zeros((4, k, c), np.float64), np.zeros((k * c, c), np.float64)
    parts = np.zeros((4, c), r.dtype)
    total, total_z, total_x, total_p = parts[0], parts[1], parts[2], parts[3]
    buffer = np.empty((rows, k, c), r.dtype)
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        rb, xb, pb, zb = r[start:stop], x[start:stop], pooled[start:stop], z[start:stop]
        count = len(rb)
        for t in range(k):
            gb = g[t][start:stop]
            parts[:] = 0
            for i in range(count):
                for j in range(c):
                    buffer[i, t, j] = gb[i, j]
            if dots:  # sums side by side: each one alone would wait for its own last addition
                for i in range(count):
                    for j in range(c):
                        value = gb[i, j]
                        total[j] += value
                        total_z[j] += value * zb[i, t, j]
                        total_x[j] += value * xb[i, j]
                        total_p[j] += value * pb[i, j]
            else:
                for i in range(count):
                    for j in range(c):
                        total[j] += gb[i, j]
                        total_z[j] += gb[i, j] * zb[i, t, j]
            totals[:, t] += parts
        totals_r += np.dot(buffer.reshape(rows, k * c)[:count].T, rb)
    sum_g[:] = totals[0]
    sum_gz[:] = totals[1]
    sum_gr[:] = totals_r
    for t in range(k):
        dot_x[t] = totals[2, t].sum()
        dot_pooled[t] = totals[3, t].sum()


@jit
def convolution_and_pool_gradients(g, z, scale, slope, offset, pool, dz, dpooled):
    """dz_t = scale_t g_t + slope_t z_t + offset_t, and dpooled = sum over targets of pool_t g_t."""
    n, c = dpooled.shape
    rows = block_rows(c)
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        zb, dzb, dpb = z[start:stop], dz[start:stop], dpooled[start:stop]
        dpb[:] = 0
        for t in range(len(pool)):
            gb, b = g[t][start:stop], pool[t]
            for i in range(len(gb)):
                for j in range(c):
                    value = gb[i, j]
                    dzb[i, t, j] = scale[t, j] * value + offset[t, j] + slope[t, j] * zb[i, t, j]
                    dpb[i, j] += b * value


@jit
def input_gradient(g, r, from_convolution, from_pool, matrix, constant, skip, dx):
    """Dx = sum of skip_t g_t + from_pool + [r > 0] (from_convolution + [r, g_1, ..., g_k] matrix + constant).

    matrix is ``[(1 + k) C, C]``.
    """
    n, c = dx.shape
    k = len(skip)
    rows, zero = block_rows(c), r.dtype.type(0)  # a plain 0 would make the last loop one of float64
    buffer, products = np.empty((rows, 1 + k, c), r.dtype), np.empty((rows, c), r.dtype)
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        rb, cb, pb, to = r[start:stop], from_convolution[start:stop], from_pool[start:stop], dx[start:stop]
        count = len(rb)
        inner = products[:count]
        for i in range(count):
            for j in range(c):
                to[i, j] = pb[i, j]
                buffer[i, 0, j] = rb[i, j]
        for t in range(k):
            gb, a = g[t][start:stop], skip[t]
            for i in range(count):
                for j in range(c):
                    value = gb[i, j]
                    buffer[i, t + 1, j] = value
                    to[i, j] += a * value
        np.dot(buffer.reshape(rows, (1 + k) * c)[:count], matrix, inner)
        for i in range(count):
            for j in range(c):
                value = inner[i, j] + (constant[j] + cb[i, j])
                to[i, j] += value if rb[i, j] > zero else zero


@jit
def pool(x, out, transposed):
    """3x3 mean of stride 1 over the pixels inside the image, ``[B, H, W, C]``; its adjoint if ``transposed``.

    Sums over three rows, then over three columns; divided by the number of pixels after, or before for the adjoint.
    """
    batch, height, width, c = x.shape
    sums = np.zeros((width, c), x.dtype)
    for b in range(batch):
        for h in range(height):
            sums[:] = 0
            for near in range(max(h - 1, 0), min(h + 2, height)):
                row = x[b, near]
                share = x.dtype.type(1 / (1 + (near > 0) + (near < height - 1))) if transposed else x.dtype.type(1)
                for w in range(width):
                    for j in range(c):
                        sums[w, j] += share * row[w, j]
            inside = x.dtype.type(1 / (1 + (h > 0) + (h < height - 1)))
            to = out[b, h]
            if transposed:
                for w in range(width):
                    share = x.dtype.type(1 / (1 + (w > 0) + (w < width - 1)))
                    for j in range(c):
                        sums[w, j] *= share
            to[:] = sums
            for w in range(width - 1):
                left, right = to[w], sums[w + 1]
                for j in range(c):
                    left[j] += right[j]
            for w in range(1, width):
                here, left = to[w], sums[w - 1]
                for j in range(c):
                    here[j] += left[j]
            if not transposed:
                for w in range(width):
                    share = inside * x.dtype.type(1 / (1 + (w > 0) + (w < width - 1)))
                    for j in range(c):
                        to[w, j] *= share
