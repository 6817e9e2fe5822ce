"""3x3 convolutions with a quick gradient of the kernel, for processors with AVX2 but not AVX-512.

On those, PyTorch's gradient of a kernel, for images in channels-last order, runs at a third to a half of the speed of
the convolution itself. The one here runs nearly at that speed; `benchmarks/training.py` measures both.
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
from torch.nn.utils import parametrize

OUTS = 4  # output channels per step: times three columns of a kernel, this makes twelve sums, one register each
LINE = 1024  # values of a channel per step: they stay in the level-1 cache
TAPS = 3


def use_quick_gradients(network: nn.Module) -> None:
    """Let the 3x3 `nn.Conv2d` layers of a network compute the gradients of their kernels here, in place.

    Weights, outputs and state_dict stay the same. Meant for training; an export wants PyTorch's own layers.
    """
    for layer in network.modules():
        own = type(layer)
        if not isinstance(layer, nn.Conv2d) or layer.kernel_size != (TAPS, TAPS):
            continue
        if own is nn.Conv2d:
            layer.__class__ = Conv2d
        elif parametrize.is_parametrized(layer) and own.__bases__ == (nn.Conv2d,):
            own.__bases__ = (Conv2d,)  # parametrization gave the layer a class of its own, derived from nn.Conv2d


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
    """Whether the processor has AVX2 and nothing wider; with AVX-512, oneDNN has quicker gradients of its own."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


class _Convolve(torch.autograd.Function):
    """The convolution of PyTorch, except for the gradient of its kernel."""

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
    """Gradient (O, I, 3, 3) of the kernel of a convolution, from its input and the gradient of its output.

    x is (B, I, Y, X) and `gradient` (B, O, Y', X'), both float32 on the CPU; O is a multiple of four.
    dW[o, i, ky, kx] is the sum over images and pixels of gradient[o, y, x] * x[i, y + ky - padding, x + kx - padding].
    For a given number of threads the order of the sum is always the same.
    """
    from contractile.training.gradient import add_blocks  # numba is slow to load

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
