"""3x3 convolutions whose kernels learn quickly on a processor with AVX2 and nothing wider.

There PyTorch's gradient of a kernel, of images in channels-last order, runs at a third to a half of the speed of the
convolution itself. Here it runs nearly at that speed; `benchmarks/training.py` measures both.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

OUTS = 4  # output channels taken together: with the three columns of a kernel twelve sums, one register each
LINE = 1024  # values of a channel taken together: what stays in the nearest cache
TAPS = 3


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` whose 3x3 kernel gets its gradient from `kernel_gradient` where that is quicker."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None and torch.is_grad_enabled() and weight.requires_grad and _helps(input, weight):
            output: Tensor = _Convolve.apply(input, weight, bias, int(self.padding[0]))  # type: ignore[no-untyped-call]
            return output
        ordinary: Tensor = super()._conv_forward(input, weight, bias)
        return ordinary


def _helps(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and weight.shape[2:] == (TAPS, TAPS)
        and weight.shape[0] % OUTS == 0
        and only_avx2()
    )


@cache
def only_avx2() -> bool:
    """Whether the processor's vectors hold eight numbers; with AVX-512 oneDNN has quicker gradients of its own."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


class _Convolve(torch.autograd.Function):
    """A convolution as PyTorch's, but for the gradient of its kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        of_input = None
        if ctx.needs_input_grad[0]:
            padding, only_input = [ctx.padding] * 2, [True, False, False]
            of_input = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, only_input
            )[0]
        return of_input, kernel_gradient(x, gradient, ctx.padding), gradient.sum((0, 2, 3)), None


def kernel_gradient(x: Tensor, gradient: Tensor, padding: int) -> Tensor:
    """Gradient (O, I, 3, 3) of a kernel through which x (B, I, Y, X) gave what has `gradient` (B, O, Y', X').

    dW[o, i, ky, kx] is the sum over images and pixels of gradient[o, y, x] times x[i, y + ky - padding, x + kx -
    padding]. Float32 on the CPU; O is a multiple of four. The sum is in the same order every time, for as many threads.
    """
    from contractile.unet.gradient import add_blocks  # numba is slow to load, and only training needs it here

    pixels, outer = (t.permute(0, 2, 3, 1).contiguous().numpy() for t in (x.detach(), gradient))  # (B, Y, X, C)
    images, rows, columns, outs = outer.shape
    threads = torch.get_num_threads()
    fewest = max(math.ceil(rows * (columns + TAPS - 1) / LINE), math.ceil(threads / images))
    together = math.ceil(rows / fewest)
    blocks = np.array([(image, row) for image in range(images) for row in range(0, rows, together)])
    threads = min(threads, len(blocks))

    def add_up(first: int) -> NDArray[np.float32]:
        total = np.zeros((outs, pixels.shape[3], TAPS, TAPS), np.float32)
        add_blocks(pixels, outer, blocks[first::threads], (together, padding), total)
        return total

    total, *others = _pool(threads).map(add_up, range(threads))
    for other in others:
        total += other
    return torch.from_numpy(total)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=threads, thread_name_prefix="kernel gradient")
