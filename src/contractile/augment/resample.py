"""The compiled inner loops of the warp: values of an array at positions between its pixels.

Everything is three-dimensional here; a 2-D image is one plane, Z = 1. Positions are made one line of the tile
at a time and never stored, the array is read where it lies, and pixels beyond it are mirrored without
repeating the edge (np.pad "reflect"), however far out they are. No loop holds the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

SEGMENT = 64  # pixels of a line that are looked at together to tell whether mirroring is needed

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    """Machine code that runs without the GIL, kept on disk where some folder can be written."""
    try:
        return cast(_F, numba.njit(nogil=True, fastmath=True, cache=True)(function))
    except RuntimeError:  # numba finds no writable folder for its cache
        return cast(_F, numba.njit(nogil=True, fastmath=True)(function))


@_compiled
def positions(plan, z, y, x, n):
    """Where the pixels (z, y, x ... x + n - 1) of the tile lie -> (3, n) float32, in pixels beyond `whole`.

    plan: start (3,), matrix (3, 3), vectors (3, gz, gy, gx), and the spline weights (tile size, g) of each axis.
    """
    start, matrix, vectors, wz, wy, wx = plan
    at = np.empty((3, n), np.float32)
    _, gz, gy, gx = vectors.shape
    for axis in range(3):
        base = start[axis] + matrix[axis, 0] * np.float32(z) + matrix[axis, 1] * np.float32(y)
        for i in range(n):
            at[axis, i] = base + matrix[axis, 2] * np.float32(x + i)
        for g in range(gx):
            pull = np.float32(0)
            for f in range(gz * gy):
                pull += wz[z, f // gy] * wy[y, f % gy] * vectors[axis, f // gy, f % gy, g]
            for i in range(n):
                at[axis, i] += pull * wx[x + i, g]
    return at


@_compiled
def nearest(array, whole, plan, values):
    """Nearest pixel of (C, Z, Y, X) for the middle of the tile; fills `values` (C, z, y, x)."""
    channels, depth, height, width = array.shape
    _, nz, ny, nx = values.shape
    bz, by, bx = (len(plan[3]) - nz) // 2, (len(plan[4]) - ny) // 2, (len(plan[5]) - nx) // 2
    half = np.float32(0.5)
    for row in range(nz * ny):
        z, y = row // ny, row % ny
        at = positions(plan, z + bz, y + by, bx, nx)
        for x in range(nx):
            k = _mirrored(int(np.floor(at[0, x] + half)) + whole[0], depth)
            j = _mirrored(int(np.floor(at[1, x] + half)) + whole[1], height)
            i = _mirrored(int(np.floor(at[2, x] + half)) + whole[2], width)
            for c in range(channels):
                values[c, z, y, x] = array[c, k, j, i]


@_compiled
def smooth(array, whole, plan, cubic, values):
    """Cubic or linear interpolation of (C, Z, Y, X) for the middle of the tile; fills `values` (C, z, y, x)."""
    channels = len(array)
    _, nz, ny, nx = values.shape
    bz, by, bx = (len(plan[3]) - nz) // 2, (len(plan[4]) - ny) // 2, (len(plan[5]) - nx) // 2
    for row in range(nz * ny):
        z, y = row // ny, row % ny
        at = positions(plan, z + bz, y + by, bx, nx)
        for x in range(0, nx, SEGMENT):
            part = at[:, x : x + SEGMENT]
            into = values[:, z, y, x : x + SEGMENT]
            if not _inside(array.shape, whole, part):
                _smooth_mirrored(array, whole, part, cubic, into)
            elif cubic:
                _cubic(array, whole, part, into)
            else:
                _linear(array, whole, part, into)


@_compiled
def _inside(shape, whole, at):
    """Whether all pixels that cubic interpolation at (3, n) needs are there. One plane needs no neighbours."""
    for axis in range(3):
        if axis == 0 and shape[1] == 1:
            continue
        low = int(np.floor(at[axis].min())) + whole[axis] - 1
        high = int(np.floor(at[axis].max())) + whole[axis] + 2
        if low < 0 or high >= shape[axis + 1]:
            return False
    return True


@_compiled
def _mirrored(i, n):
    """Index in 0 ... n - 1 that index `i` shows."""
    if 0 <= i < n:
        return i
    i = i % max(2 * n - 2, 1)
    return i if i < n else 2 * n - 2 - i


@_compiled
def _split(position, whole):
    """Pixel at or before a position, and the way beyond it in [0, 1)."""
    floor = np.floor(position)
    return int(floor) + whole, position - floor


@_compiled
def _keys(t):
    """Weights of the pixels -1, 0, 1, 2 for a position t in [0, 1): Keys 1981, doi:10.1109/TASSP.1981.1163711."""
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    return (
        ((-half * t + one) * t - half) * t,
        (np.float32(1.5) * t - np.float32(2.5)) * t * t + one,
        ((np.float32(-1.5) * t + two) * t + half) * t,
        (half * t - half) * t * t,
    )


@_compiled
def _cubic(array, whole, at, into):
    """Cubic convolution away from the border, (C, Z, Y, X) at (3, n) -> (C, n)."""
    channels, depth, height, width = array.shape
    flat = array.reshape(-1)
    first, last = (-1, 3) if depth > 1 else (0, 1)
    for p in range(at.shape[1]):
        iz, tz = _split(at[0, p], whole[0])
        iy, ty = _split(at[1, p], whole[1])
        ix, tx = _split(at[2, p], whole[2])
        iz, tz = (iz, tz) if depth > 1 else (0, np.float32(0))
        wz, wy, wx = _keys(tz), _keys(ty), _keys(tx)
        for c in range(channels):
            total = np.float32(0)
            for k in range(first, last):
                for j in range(4):
                    a = np.uintp(((c * depth + iz + k) * height + iy - 1 + j) * width + ix - 1)
                    b, d, e = a + np.uintp(1), a + np.uintp(2), a + np.uintp(3)
                    line = wx[0] * flat[a] + wx[1] * flat[b] + wx[2] * flat[d] + wx[3] * flat[e]
                    total += wz[k + 1] * wy[j] * line
            into[c, p] = total


@_compiled
def _linear(array, whole, at, into):
    """Linear interpolation away from the border, (C, Z, Y, X) at (3, n) -> (C, n)."""
    channels, depth, height, width = array.shape
    flat = array.reshape(-1)
    one = np.float32(1)
    for p in range(at.shape[1]):
        iz, tz = _split(at[0, p], whole[0])
        iy, ty = _split(at[1, p], whole[1])
        ix, tx = _split(at[2, p], whole[2])
        iz, tz = (iz, tz) if depth > 1 else (0, np.float32(0))
        for c in range(channels):
            total = np.float32(0)
            for k in range(2 if depth > 1 else 1):
                a = np.uintp(((c * depth + iz + k) * height + iy) * width + ix)  # unsigned: no test for < 0
                b = a + np.uintp(width)
                upper = (one - tx) * flat[a] + tx * flat[a + np.uintp(1)]
                lower = (one - tx) * flat[b] + tx * flat[b + np.uintp(1)]
                total += ((one - ty) * upper + ty * lower) * (tz if k else one - tz)
            into[c, p] = total


@_compiled
def _smooth_mirrored(array, whole, at, cubic, into):
    """Either interpolation where some of the 4 x 4 (x 4) pixels lie beyond the array, (C, Z, Y, X) -> (C, n)."""
    channels, depth, height, width = array.shape
    zero, one = np.float32(0), np.float32(1)
    for p in range(at.shape[1]):
        iz, tz = _split(at[0, p], whole[0])
        iy, ty = _split(at[1, p], whole[1])
        ix, tx = _split(at[2, p], whole[2])
        wz = _keys(tz) if cubic else (zero, one - tz, tz, zero)
        wy = _keys(ty) if cubic else (zero, one - ty, ty, zero)
        wx = _keys(tx) if cubic else (zero, one - tx, tx, zero)
        for c in range(channels):
            total = zero
            for kj in range(4, 8) if depth == 1 else range(16):
                k, j = kj // 4, kj % 4
                plane = array[c, _mirrored(iz - 1 + k, depth)] 
                line = zero
                for i in range(4):
                    line += wx[i] * plane[_mirrored(iy - 1 + j, height), _mirrored(ix - 1 + i, width)]
                total += (one if depth == 1 else wz[k]) * wy[j] * line
            into[c, p] = total
