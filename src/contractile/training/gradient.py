"""The gradient of a 3x3 kernel: its sums, as compiled loops."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from contractile.compiled import compiled

quick = partial(compiled, fastmath=True)  # terms of a sum may be reordered, so that eight are added at a time


@quick
def _add_products(outer: Any, line: Any, total: Any) -> None:
    """Add to `total` (4, 3) the scalar products of four lines (4, n) with the three windows of n in one line (n + 2).

    Written without inner loops, so that the twelve sums stay in registers; a processor with AVX2 has sixteen.
    """
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = np.float32(0)
    a, b, c, d = outer[0], outer[1], outer[2], outer[3]
    for n in range(len(a)):
        x0, x1, x2 = line[n], line[n + 1], line[n + 2]
        a0 += a[n] * x0
        a1 += a[n] * x1
        a2 += a[n] * x2
        b0 += b[n] * x0
        b1 += b[n] * x1
        b2 += b[n] * x2
        c0 += c[n] * x0
        c1 += c[n] * x1
        c2 += c[n] * x2
        d0 += d[n] * x0
        d1 += d[n] * x1
        d2 += d[n] * x2
    total[0, 0] += a0
    total[0, 1] += a1
    total[0, 2] += a2
    total[1, 0] += b0
    total[1, 1] += b1
    total[1, 2] += b2
    total[2, 0] += c0
    total[2, 1] += c1
    total[2, 2] += c2
    total[3, 0] += d0
    total[3, 1] += d1
    total[3, 2] += d2


@quick
def _lay_out(image: Any, first: int, left: int, lines: Any, shape: Any) -> None:
    """Write rows of an image (Y, X, C) from row `first` on into `lines` (C, rows * columns), one line per channel.

    Each row begins with `left` zeros and is filled up with zeros. Rows outside the image are zeros.
    """
    rows, columns = shape
    lines[:] = 0
    height, width, channels = image.shape
    for r in range(rows):
        y = first + r
        if 0 <= y < height:
            for x in range(min(width, columns - left)):
                for c in range(channels):
                    lines[c, r * columns + left + x] = image[y, x, c]


@quick
def add_blocks(pixels: Any, outer: Any, blocks: Any, layout: Any, total: Any) -> None:
    """Add to `total` (O, I, 3, 3) the sums over some blocks of rows of `outer` (B, Y', X', O) * `pixels` (B, Y, X, I).

    `blocks` (n, 2) holds image and first row of each, `layout` the rows of a block and the padding. Rows of both arrays
    are written one after another into lines; those of `outer` end with two zeros. So rows are equally long, and each
    offset of the kernel is a shift along the line.
    """
    together, padding = layout
    columns = outer.shape[2] + 2
    outs, ins = outer.shape[3], pixels.shape[3]
    n = together * columns
    gradients = np.empty((outs, n), np.float32)
    lines = np.empty((ins, n + 2 * columns + 2), np.float32)
    for block in range(len(blocks)):
        image, row = blocks[block]
        _lay_out(outer[image], row, 0, gradients, (together, columns))
        _lay_out(pixels[image], row - padding, padding, lines, (together + 2, columns))
        for o in range(0, outs, 4):
            for i in range(ins):
                for ky in range(3):
                    shifted = lines[i, ky * columns : ky * columns + n + 2]
                    _add_products(gradients[o : o + 4], shifted, total[o : o + 4, i, ky])
