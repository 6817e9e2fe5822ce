"""The compiled inner loops of the warp: values of arrays at positions between their pixels.

Everything is three-dimensional here; a 2-D image is one plane, Z = 1. Positions are made for one line of
the tile at a time and never stored; arrays are read where they lie, in their own dtype; pixels beyond them are
mirrored without repeating the edge (np.pad "reflect"), however far out they are. No loop holds the GIL.

The loops are short, over contiguous lines, and index with unsigned integers (no test for negative ones): that
is what lets the compiler vectorise them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

STRIP = 192  # pixels along X that are done together for all lines, so that what they need stays near the core

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    """Machine code that runs without the GIL, kept on disk where some folder can be written."""
    try:
        return cast(_F, numba.njit(nogil=True, fastmath=True, cache=True)(function))
    except RuntimeError:  # numba finds no writable folder for its cache
        return cast(_F, numba.njit(nogil=True, fastmath=True)(function))


@_compiled
def positions(plan: Any, z: Any, y: Any, x: Any, at: Any) -> Any:
    """Where the pixels of the tile from (z, y, x) on, along X, lie: fills `at` (3, n) float32.

    plan: start (3,), matrix (3, 3), vectors (3, gz, gy, gx) and the spline weights (g, tile size) of each
    axis, all float32.
    """
    start, matrix, vectors, wz, wy, wx = plan
    _, gz, gy, gx = vectors.shape
    n = at.shape[1]
    for axis in range(3):
        line, slope = at[axis], matrix[axis, 2]
        base = start[axis] + matrix[axis, 0] * np.float32(z) + matrix[axis, 1] * np.float32(y)
        for i in range(n):
            line[i] = base + slope * np.float32(x + i)
        for g in range(gx):
            pull, spread = np.float32(0), wx[g, x : x + n]
            for f in range(gz * gy):
                pull += wz[f // gy, z] * wy[f % gy, y] * vectors[axis, f // gy, f % gy, g]
            for i in range(n):
                line[i] += pull * spread[i]


@_compiled
def warp_tile(arrays: Any, whole: Any, plan: Any, results: Any) -> Any:
    """Fill image (C, Z, Y, X), classes and weight (Z, Y, X) of a tile from those of a whole image.

    Positions are pixel `whole` (3,) plus what `plan` gives. Classes and weight are filled for as much of the
    middle of the tile as they hold.
    """
    _, nz, ny, nx = results[0].shape
    for x in range(0, nx, STRIP):
        n = min(STRIP, nx - x)
        rest, cell, base = np.empty((3, n), np.float32), np.zeros((3, n), np.int32), np.empty(n, np.int64)
        taps = np.zeros((3, 4, n), np.float32)
        taps[0, 1] = 1
        for zy in range(nz * ny):
            z, y = zy // ny, zy % ny
            positions(plan, z, y, x, rest)
            for axis in range(1 if len(arrays[1]) == 1 else 0, 3):
                _split(rest[axis], whole[axis], cell[axis])
                _keys(rest[axis], taps[axis])
            _bases(cell, arrays[1].shape, base)
            _fill_line(arrays, (cell, base, taps, rest), (z, y, x), results)


@_compiled
def _fill_line(arrays: Any, line: Any, pixel: Any, results: Any) -> Any:
    """Fill the results from `pixel` on, along X, run by run of pixels inside or beyond the image."""
    image, classes, weight = arrays
    to_image, to_classes, to_weight = results
    channels, nz, ny, nx = to_image.shape
    mz, my, mx = to_classes.shape
    z, y, x = pixel
    k, j, i = z - (nz - mz) // 2, y - (ny - my) // 2, x - (nx - mx) // 2  # the same pixel in the middle
    cell, base, taps, rest = line
    last, n = np.int64(0), np.int64(len(base))
    while last < n:
        first = last
        inside, last = _run(cell, weight.shape, first)
        for c in range(channels):
            part = (cell, base, taps, rest, first, last)
            _fill_image(image[c], part, inside, to_image[c, z, y, x + first :])
        first, end = max(first, -i), min(last, mx - i)
        if 0 <= k < mz and 0 <= j < my and first < end:
            part = (cell, base, taps, rest, first, end)
            _fill_classes(classes, part, inside, to_classes[k, j, i + first :])
            _fill_weight(weight, part, inside, to_weight[k, j, i + first :])


@_compiled
def _split(at: Any, whole: Any, cell: Any) -> Any:
    """Positions (n,) -> the pixel at or before them, in `cell`, and the way beyond it in [0, 1), in place."""
    more = np.int32(whole)
    for x in range(len(at)):
        floor = np.floor(at[x])
        cell[x] = np.int32(floor) + more
        at[x] -= floor


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
    """Whether pixel `first` of the line is inside, and where the run of pixels alike ends.

    Inside means that all pixels which cubic interpolation needs are there; one plane needs none along Z.
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
def _mirrored(i: Any, n: Any) -> Any:
    """Index in 0 ... n - 1 that index `i` shows."""
    i = abs(np.int64(i))
    if i < n:
        return i
    i = i % max(2 * n - 2, 1)
    return i if i < n else 2 * n - 2 - i


@_compiled
def _fill_image(image: Any, part: Any, inside: Any, into: Any) -> Any:
    """Cubic convolution of (Z, Y, X) for a part of a line, in `into`."""
    if inside:
        _cubic(image, part, into)
    else:
        _cubic_mirrored(image, part, into)


@_compiled
def _fill_weight(weight: Any, part: Any, inside: Any, into: Any) -> Any:
    """Linear interpolation of (Z, Y, X) for a part of a line, in `into`."""
    if inside:
        _linear(weight, part, into)
    else:
        _linear_mirrored(weight, part, into)


@_compiled
def _fill_classes(classes: Any, part: Any, inside: Any, into: Any) -> Any:
    """Nearest pixel of (Z, Y, X) for a part of a line, in `into`."""
    if inside:
        _nearest(classes, part, into)
    else:
        _nearest_mirrored(classes, part, into)


@_compiled
def _cubic(image: Any, part: Any, into: Any) -> Any:
    """Where all 4 x 4 (x 4) pixels are there."""
    _, base, taps, _, first, last = part
    depth, height, width = image.shape
    flat, start, wy, wx = image.reshape(-1), base[first:last], taps[1], taps[2]
    for p in range(last - first):
        into[p] = 0
    for k in range(4) if depth > 1 else range(1, 2):
        wz, offset = taps[0, k, first:last], ((k - 1) * height - 1) * width - 1
        for p in range(last - first):
            a, plane = np.uintp(start[p] + offset), np.float32(0)
            for j in range(4):
                b, c, d = a + np.uintp(1), a + np.uintp(2), a + np.uintp(3)
                q = np.uintp(p + first)
                line = wx[0, q] * flat[a] + wx[1, q] * flat[b] + wx[2, q] * flat[c] + wx[3, q] * flat[d]
                plane += wy[j, q] * line
                a += np.uintp(width)
            into[p] += wz[p] * plane


@_compiled
def _cubic_mirrored(image: Any, part: Any, into: Any) -> Any:
    """Where some of the 4 x 4 (x 4) pixels lie beyond the image."""
    cell, _, taps, _, first, last = part
    depth, height, width = image.shape
    flat, wz, wy, wx = image.reshape(-1), taps[0], taps[1], taps[2]
    for p in range(first, last):
        x0, x1 = np.uintp(_mirrored(cell[2, p] - 1, width)), np.uintp(_mirrored(cell[2, p], width))
        x2, x3 = np.uintp(_mirrored(cell[2, p] + 1, width)), np.uintp(_mirrored(cell[2, p] + 2, width))
        total = np.float32(0)
        for k in range(4) if depth > 1 else range(1, 2):
            z = _mirrored(cell[0, p] - 1 + k, depth) * height
            for j in range(4):
                a = np.uintp((z + _mirrored(cell[1, p] - 1 + j, height)) * width)
                line = wx[0, p] * flat[a + x0] + wx[1, p] * flat[a + x1]
                line += wx[2, p] * flat[a + x2] + wx[3, p] * flat[a + x3]
                total += wz[k, p] * wy[j, p] * line
        into[p - first] = total


@_compiled
def _linear(weight: Any, part: Any, into: Any) -> Any:
    """Where all 2 x 2 (x 2) pixels are there."""
    _, base, _, rest, first, last = part
    depth, height, width = weight.shape
    flat, start, one = weight.reshape(-1), base[first:last], np.float32(1)
    tz, ty, tx = rest[0, first:last], rest[1, first:last], rest[2, first:last]
    for k in range(2 if depth > 1 else 1):
        offset = k * height * width
        for p in range(last - first):
            a = np.uintp(start[p] + offset)
            b = a + np.uintp(width)
            upper = (one - tx[p]) * flat[a] + tx[p] * flat[a + np.uintp(1)]
            lower = (one - tx[p]) * flat[b] + tx[p] * flat[b + np.uintp(1)]
            plane = (one - ty[p]) * upper + ty[p] * lower
            into[p] = tz[p] * plane + into[p] if k else (one - tz[p]) * plane


@_compiled
def _linear_mirrored(weight: Any, part: Any, into: Any) -> Any:
    """Where some of the 2 x 2 (x 2) pixels lie beyond the weight map."""
    cell, _, _, rest, first, last = part
    depth, height, width = weight.shape
    flat, one = weight.reshape(-1), np.float32(1)
    for p in range(first, last):
        tz, ty, tx = rest[0, p], rest[1, p], rest[2, p]
        x0, x1 = np.uintp(_mirrored(cell[2, p], width)), np.uintp(_mirrored(cell[2, p] + 1, width))
        total = np.float32(0)
        for kj in range(4 if depth > 1 else 2):
            k, j = kj // 2, kj % 2
            z, y = _mirrored(cell[0, p] + k, depth), _mirrored(cell[1, p] + j, height)
            a = np.uintp((z * height + y) * width)
            line = (one - tx) * flat[a + x0] + tx * flat[a + x1]
            total += (tz if k else one - tz) * (ty if j else one - ty) * line
        into[p - first] = total


@_compiled
def _nearest(classes: Any, part: Any, into: Any) -> Any:
    """Where the pixel is there."""
    _, base, _, rest, first, last = part
    _, height, width = classes.shape
    flat, start, half = classes.reshape(-1), base[first:last], np.float32(0.5)
    tz, ty, tx = rest[0, first:last], rest[1, first:last], rest[2, first:last]
    for p in range(last - first):
        step = (height * width if tz[p] >= half else 0) + (width if ty[p] >= half else 0) + (tx[p] >= half)
        into[p] = flat[np.uintp(start[p] + step)]


@_compiled
def _nearest_mirrored(classes: Any, part: Any, into: Any) -> Any:
    """Where the pixel may lie beyond the class map."""
    cell, _, _, rest, first, last = part
    depth, height, width = classes.shape
    half = np.float32(0.5)
    for p in range(first, last):
        z = _mirrored(cell[0, p] + (rest[0, p] >= half), depth)
        y = _mirrored(cell[1, p] + (rest[1, p] >= half), height)
        into[p - first] = classes[z, y, _mirrored(cell[2, p] + (rest[2, p] >= half), width)]
