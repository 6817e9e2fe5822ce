"""The compiled inner loops of the warp: values of arrays at positions between their pixels.

Everything is three-dimensional here; a 2-D image is one plane, Z = 1. Positions are computed for one line of
the tile at a time and never stored. Arrays are read in place, in their own dtype. Pixels beyond them are mirrored
without repeating the edge (np.pad "reflect"), at any distance. No loop holds the interpreter lock.

The loops are short, run over contiguous lines, and index with unsigned integers, which need no test for negative
values: this lets the compiler vectorise them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from contractile.compiled import compiled

_compiled = partial(compiled, fastmath=True)


@_compiled
def positions(plan: Any, z: Any, y: Any, from_axis: Any, at: Any) -> Any:
    """Positions of line (z, y) of the tile, written into `at` (3, X) float32 for the axes from `from_axis` on.

    plan: start (3,), matrix (3, 3), vectors (3, gz, gy, gx) and the spline weights (g, tile size) of each
    axis, all float32.
    """
    start, matrix, vectors, wz, wy, wx = plan
    _, gz, gy, gx = vectors.shape
    for axis in range(from_axis, 3):
        line, slope = at[axis], matrix[axis, 2]
        base = start[axis] + matrix[axis, 0] * np.float32(z) + matrix[axis, 1] * np.float32(y)
        for x in range(len(line)):
            line[x] = base + slope * np.float32(x)
        for g in range(gx):
            pull, spread = np.float32(0), wx[g]
            for f in range(gz * gy):
                pull += wz[f // gy, z] * wy[f % gy, y] * vectors[axis, f // gy, f % gy, g]
            for x in range(len(line)):
                line[x] += pull * spread[x]


@_compiled
def warp_tile(arrays: Any, whole: Any, plan: Any, results: Any) -> Any:
    """Fill `results`, the image (C, Z, Y, X), classes and weight (Z, Y, X) of a tile, from `arrays` of a whole image.

    Positions are pixel `whole` (3,) plus those of `plan`. Classes and weight are smaller than the tile and lie in its
    middle.
    """
    _, nz, ny, nx = results[0].shape
    rest, cell, base = np.zeros((3, nx), np.float32), np.zeros((3, nx), np.int32), np.empty(nx, np.int64)
    taps = np.zeros((3, 4, nx), np.float32)
    taps[0, 1] = 1
    shape = arrays[1].shape
    from_axis = 1 if shape[0] == 1 else 0  # one plane: Z stays at pixel 0, rest 0
    for zy in range(nz * ny):
        z, y = zy // ny, zy % ny
        positions(plan, z, y, from_axis, rest)
        clear = True
        for axis in range(from_axis, 3):
            _split(rest[axis], whole[axis], cell[axis])
            clear = _fold(rest[axis], cell[axis], shape[axis]) and clear
            _keys(rest[axis], taps[axis])
        _bases(cell, shape, base)
        _fill_line(arrays, (cell, base, taps, rest, clear), z, y, results)


@_compiled
def _fill_line(arrays: Any, line: Any, z: Any, y: Any, results: Any) -> Any:
    """Fill line (z, y) of the results."""
    image, classes, weight = arrays
    to_image, to_classes, to_weight = results
    channels, nz, ny, nx = to_image.shape
    mz, my, mx = to_classes.shape
    cell, base, taps, rest, clear = line
    last = np.int64(0)
    while last < nx:
        first = last
        inside, last = (True, nx) if clear else _run(cell, weight.shape, first)
        for c in range(channels):
            if inside:
                _cubic(image[c], (base, taps), first, last, to_image[c, z, y])
            else:
                _cubic_at_border(image[c], (cell, taps), first, last, to_image[c, z, y])
    k, j, i = z - (nz - mz) // 2, y - (ny - my) // 2, (nx - mx) // 2  # the line in the middle of the tile
    if 0 <= k < mz and 0 <= j < my:
        middle = base[i : i + mx], rest[0, i : i + mx], rest[1, i : i + mx], rest[2, i : i + mx]
        _nearest(classes, middle, to_classes[k, j])
        _linear(weight, middle, to_weight[k, j])
        _ignore(to_classes[k, j], to_weight[k, j])


@_compiled
def _ignore(classes: Any, weight: Any) -> Any:
    """Set the weight of pixels of a negative class to 0, in place."""
    for x in range(len(weight)):
        weight[x] = weight[x] if classes[x] >= 0 else np.float32(0)


@_compiled
def _split(at: Any, whole: Any, cell: Any) -> Any:
    """Split positions (n,), in place: the pixel at or before them goes into `cell`, the rest in [0, 1) stays."""
    more = np.int32(whole)
    for x in range(len(at)):
        floor = np.floor(at[x])
        cell[x] = np.int32(floor) + more
        at[x] -= floor


@_compiled
def _fold(rest: Any, cell: Any, size: Any) -> Any:
    """Move positions beyond an axis of `size` >= 2 pixels to their mirror images, in place.

    Position -p becomes p, and size - 1 + p becomes size - 1 - p: afterwards 0 <= cell <= size - 2, with the rest in
    [0, 1]. All interpolations here are symmetric, so the value is the same there. Returns whether all cells are so far
    from both ends that cubic interpolation finds all its pixels.
    """
    one, last = np.float32(1), np.int32(size - 2)
    beyond = True
    while beyond:
        low, high = last, np.int32(0)
        for x in range(len(cell)):
            c, t = cell[x], rest[x]
            t = one - t if c < 0 else t
            c = np.int32(-1) - c if c < 0 else c
            t = one - t if c > last else t
            c = np.int32(2) * last + np.int32(1) - c if c > last else c
            cell[x], rest[x] = c, t
            low, high = min(low, c), max(high, c)
        beyond = bool(low < 0 or high > last)
    return bool(low > 0 and high < last)


@_compiled
def _keys(t: Any, taps: Any) -> Any:
    """Weights (4, n) of the pixels -1, 0, 1, 2 for positions t (n,) in [0, 1), in `taps`.

    Cubic convolution with a = -1/2: Keys 1981, doi:10.1109/TASSP.1981.1163711.
    """
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    w0, w1, w2, w3 = taps[0], taps[1], taps[2], taps[3]
    for x in range(len(t)):
        u = t[x]
        w0[x] = ((-half * u + one) * u - half) * u
        w1[x] = (np.float32(1.5) * u - np.float32(2.5)) * u * u + one
        w2[x] = ((np.float32(-1.5) * u + two) * u + half) * u
        w3[x] = (half * u - half) * u * u


@_compiled
def _bases(cell: Any, shape: Any, base: Any) -> Any:
    """Index of the pixels `cell` (3, n) in the flat array."""
    z, y, x = cell[0], cell[1], cell[2]
    _, height, width = shape
    for p in range(len(base)):
        base[p] = (np.int64(z[p]) * height + np.int64(y[p])) * width + np.int64(x[p])


@_compiled
def _run(cell: Any, shape: Any, first: Any) -> Any:
    """Whether pixel `first` of the line is inside, and the end of the run of pixels for which that is the same.

    Inside means that all pixels for cubic interpolation are in the image; a single plane needs none along Z.
    """
    z, y, x = cell[0], cell[1], cell[2]
    depth, height, width = shape
    inside, n = False, np.int64(len(x))
    for p in range(first, n):
        fits = (depth == 1 or 1 <= z[p] < depth - 2) and 1 <= y[p] < height - 2 and 1 <= x[p] < width - 2
        if p == first:
            inside = fits
        if fits != inside:
            return inside, np.int64(p)
    return inside, n


@_compiled
def _cubic(image: Any, line: Any, first: Any, last: Any, into: Any) -> Any:
    """Cubic convolution of (Z, Y, X) for pixels first ... last - 1, where all 4 x 4 (x 4) pixels are in the image."""
    base, taps = line
    depth, height, width = image.shape
    flat, wz, wy, wx = image.reshape(-1), taps[0], taps[1], taps[2]
    for p in range(first, last):
        into[p] = 0
    for k in range(4) if depth > 1 else range(1, 2):
        offset = ((k - 1) * height - 1) * width - 1
        for p in range(first, last):
            a, plane = np.uintp(base[p] + offset), np.float32(0)
            for j in range(4):
                b, c, d = a + np.uintp(1), a + np.uintp(2), a + np.uintp(3)
                row = wx[0, p] * flat[a] + wx[1, p] * flat[b] + wx[2, p] * flat[c] + wx[3, p] * flat[d]
                plane += wy[j, p] * row
                a += np.uintp(width)
            into[p] += wz[k, p] * plane


@_compiled
def _cubic_at_border(image: Any, line: Any, first: Any, last: Any, into: Any) -> Any:
    """The same where some of the pixels lie beyond the image and are mirrored."""
    cell, taps = line
    depth, height, width = image.shape
    wz, wy, wx = taps[0], taps[1], taps[2]
    for p in range(first, last):
        total = np.float32(0)
        for k in range(4) if depth > 1 else range(1, 2):
            z = _mirrored(cell[0, p] + k - 1, depth)
            for ji in range(16):
                j, i = ji // 4, ji % 4
                y, x = _mirrored(cell[1, p] + j - 1, height), _mirrored(cell[2, p] + i - 1, width)
                total += wz[k, p] * wy[j, p] * wx[i, p] * image[z, y, x]
        into[p] = total


@_compiled
def _mirrored(i: Any, n: Any) -> Any:
    """The index in 0 ... n - 1 of the mirror image of index `i`, which is at most n beyond that range."""
    i = abs(np.int64(i))
    return i if i < n else abs(2 * n - 2 - i)


@_compiled
def _linear(weight: Any, line: Any, into: Any) -> Any:
    """Linear interpolation of (Z, Y, X) at folded positions."""
    base, tz, ty, tx = line
    depth, height, width = weight.shape
    flat, one = weight.reshape(-1), np.float32(1)
    for k in range(2 if depth > 1 else 1):
        offset = k * height * width
        for p in range(len(into)):
            a = np.uintp(base[p] + offset)
            b = a + np.uintp(width)
            upper = (one - tx[p]) * flat[a] + tx[p] * flat[a + np.uintp(1)]
            lower = (one - tx[p]) * flat[b] + tx[p] * flat[b + np.uintp(1)]
            plane = (one - ty[p]) * upper + ty[p] * lower
            into[p] = tz[p] * plane + into[p] if k else (one - tz[p]) * plane


@_compiled
def _nearest(classes: Any, line: Any, into: Any) -> Any:
    """Nearest pixel of (Z, Y, X) at folded positions."""
    base, tz, ty, tx = line
    _, height, width = classes.shape
    flat, half = classes.reshape(-1), np.float32(0.5)
    for p in range(len(into)):
        step = (height * width if tz[p] >= half else 0) + (width if ty[p] >= half else 0)
        into[p] = flat[np.uintp(base[p] + step + (1 if tx[p] >= half else 0))]
