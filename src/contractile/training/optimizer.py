"""How weights follow the gradient: the learning rate of each step, and the optimiser that a recipe asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from contractile.recipe import OptimizerConfig
from contractile.unet import Kernel, UNet, find_kernels

# Newton-Schulz polynomial a x + b x^3 + c x^5 of Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/):
# five iterations map singular values from 0.01 to 1 into 0.7 to 1.2, which is close enough to 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# An orthogonal step of rate 1 changes a matrix by 1 in all directions. The learning rate of kernels is this many times
# that of the other parameters.
KERNEL_RATE = 7.0
# The learning rate of the last layer is this many times that of the other parameters. With tied kernels it sees few
# features, and with the common rate it did not tell three classes apart after hundreds of steps (docs/log.md).
HEAD_RATE = 3.0
# Threads have to meet after each product, which takes them longer than to compute a product of so few multiplications.
SMALL_PRODUCT = 2**26


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The rate of step number `step` (from 0) of `steps`: a linear rise over the warm-up, then the schedule."""
    warmup = min(config.warmup, steps // 4)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of the next step; some groups of parameters take a multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate", 1.0)


def make_optimizer(network: UNet, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser that a recipe asks for, over all parameters of a network."""
    if config.kind == "muon":
        return Muon(network, config)
    if config.kind == "sgd":
        return torch.optim.SGD(_groups(network.parameters(), config), lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(
        _groups(network.parameters(), config), lr=config.learning_rate, betas=(config.momentum, 0.999)
    )


def _groups(parameters: Iterable[Tensor], config: OptimizerConfig) -> list[dict[str, Any]]:
    """Groups of parameters: weights decay; biases and the parameters of norms do not."""
    every = list(parameters)
    return [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024) for kernels, AdamW for all other parameters.

    The step of a kernel is the orthogonal matrix nearest to its gradient, smoothed over steps: every direction moves by
    the same amount, however small its share of the gradient. PyTorch's own Muon takes matrices only. Here a kernel is
    the matrix of output channels x (input channels, offsets). For a tied kernel it is the matrix of its expansion, so
    that the step is the one that the expanded network would take on the batch in all eight poses.
    """

    def __init__(self, network: UNet, config: OptimizerConfig) -> None:
        head = list(network.head.parameters())
        others = (p for name, p in network.named_parameters() if not name.startswith("head."))
        groups = [*_groups(others, config), {"params": head, "weight_decay": 0.0, "rate": HEAD_RATE}]
        super().__init__(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
        self._kernels = find_kernels(network)
        self._small = all(_largest_product(kernel) <= SMALL_PRODUCT for kernel in self._kernels)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step. Gradients of kernels are set to None, so that AdamW skips these parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with _exact_products(), _one_thread(when=self._small):
            for kernel in self._kernels:
                if kernel.parameter.grad is not None:
                    self._move(kernel, kernel.parameter.grad)
                    kernel.parameter.grad = None
        super().step()
        return loss

    def _move(self, kernel: Kernel, gradient: Tensor) -> None:
        parameter, group = kernel.parameter, self.param_groups[0]
        rate, momentum = KERNEL_RATE * group["lr"], group["betas"][0]
        state = self.state[parameter]
        if not state:  # the names are those of AdamW, whose load_state_dict needs `step`
            state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(gradient))
        smooth = state["exp_avg"]
        smooth.lerp_(gradient, 1 - momentum)
        ahead = torch.lerp(gradient, smooth, momentum)  # Nesterov
        parameter.mul_(1 - rate * group["weight_decay"])
        parameter.sub_(orthogonalise(ahead, kernel), alpha=rate)


def orthogonalise(values: Tensor, kernel: Kernel) -> Tensor:
    """The orthogonal matrix nearest to that of a kernel's values, in the shape of the parameter.

    With U S V^T the singular value decomposition of the matrix (N, M), the result is about U V^T, times sqrt(N / M)
    where N > M. Products must be exact to float32. Polynomials of the Gram matrix replace those of the matrix, and for
    a tied kernel only the rows of the first pose are computed, which saves most of the arithmetic.
    """
    matrix = kernel.matrix(kernel.rows(values))  # (N, M)
    n, m = matrix.shape
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    gram = matrix[:: kernel.orbit] @ matrix.mT  # (R, N), like the matrices below
    one = torch.eye(n, device=gram.device, dtype=gram.dtype)[:: kernel.orbit]
    factor = polynomial = _polynomial(gram, one, kernel)
    for _ in range(ITERATIONS - 1):
        gram = polynomial @ kernel.square(polynomial @ kernel.square(gram))
        polynomial = _polynomial(gram, one, kernel)
        factor = polynomial @ kernel.square(factor)
    return kernel.values(math.sqrt(max(1.0, n / m)) * factor @ matrix)


def _polynomial(gram: Tensor, one: Tensor, kernel: Kernel) -> Tensor:
    """a + b G + c G^2 of the Gram matrix G, as rows (R, N): one iteration multiplies the matrix by it."""
    a, b, c = NEWTON_SCHULZ
    return torch.addmm(one, gram, kernel.square(torch.add(b * one, gram, alpha=c)), beta=a)


@contextmanager
def _exact_products() -> Iterator[None]:
    """Multiply float32 in full precision: a GPU may round factors, which repeated products of Gram matrices amplify."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _largest_product(kernel: Kernel) -> int:
    """Multiplications of the largest product that `orthogonalise` computes: (R, N) by (N, M)."""
    rows, columns = kernel.rows(kernel.parameter).shape
    return rows * rows * kernel.orbit * columns


@contextmanager
def _one_thread(*, when: bool) -> Iterator[None]:
    """Compute with one thread of the processor instead of all, where that is faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if when else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
