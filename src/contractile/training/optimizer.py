"""How weights follow the gradient: the rate of each step, and the optimiser that a recipe asks for."""

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
# applied five times it takes singular values from 0.01 up to 1 into 0.7 to 1.2, which is near enough to 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# A step of rate 1 changes a matrix by 1 in all its directions; kernels take this many times the rate of the rest.
KERNEL_RATE = 7.0
# The last layer takes this many times that rate: under tied kernels it sees few features, and at the common rate it had
# not told three classes apart after hundreds of steps (docs/log.md).
HEAD_RATE = 3.0


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The rate of step number `step` of `steps`: a linear rise over the warm-up, then the schedule."""
    warmup = min(config.warmup, steps // 4)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step, of which some groups of parameters take a multiple."""
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
    """Weights decay; biases and normalisation do not."""
    every = list(parameters)
    return [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024) for kernels, AdamW for all else.

    The step of a kernel is its gradient, smoothed over steps, as the nearest orthogonal matrix: every direction moves
    by the same amount, however small its share of the gradient. PyTorch's own takes matrices only; here a kernel is
    the matrix of output channels x (input channels, offsets), and a tied kernel that of its expansion, so that the
    step is the one that the expanded network would take on the batch in all eight poses.
    """

    def __init__(self, network: UNet, config: OptimizerConfig) -> None:
        head = list(network.head.parameters())
        others = (p for name, p in network.named_parameters() if not name.startswith("head."))
        groups = [*_groups(others, config), {"params": head, "weight_decay": 0.0, "rate": HEAD_RATE}]
        super().__init__(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
        self._kernels = find_kernels(network)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step; gradients of kernels are used up, so that AdamW passes these by."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with _exact_products():
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
        if not state:  # the names are AdamW's, whose loading looks for the step
            state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(gradient))
        smooth = state["exp_avg"]
        smooth.lerp_(gradient, 1 - momentum)
        ahead = torch.lerp(gradient, smooth, momentum)  # Nesterov
        parameter.mul_(1 - rate * group["weight_decay"])
        parameter.sub_(orthogonalise(ahead, kernel), alpha=rate)


def orthogonalise(values: Tensor, kernel: Kernel) -> Tensor:
    """The orthogonal matrix next to that of a kernel's values, in the parameter's shape; true float32 products only.

    With U S V^T the matrix's singular value decomposition, about U V^T, times sqrt(N / M) where it is taller than wide.
    Polynomials of the Gram matrix take the place of those of the matrix, and rows of the first pose that of all, which
    for a tied kernel saves most of the arithmetic.
    """
    matrix = kernel.matrix(kernel.rows(values))  # (N, M)
    n, m = matrix.shape
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    gram = matrix[:: kernel.orbit] @ matrix.mT  # (R, N), as all that follows
    one = torch.eye(n, device=gram.device, dtype=gram.dtype)[:: kernel.orbit]
    factor = polynomial = _polynomial(gram, one, kernel)
    for _ in range(ITERATIONS - 1):
        gram = polynomial @ kernel.square(polynomial @ kernel.square(gram))
        polynomial = _polynomial(gram, one, kernel)
        factor = polynomial @ kernel.square(factor)
    return kernel.values(math.sqrt(max(1.0, n / m)) * factor @ matrix)


def _polynomial(gram: Tensor, one: Tensor, kernel: Kernel) -> Tensor:
    """a + b G + c G^2, by rows (R, N): what one iteration multiplies the matrix by."""
    a, b, c = NEWTON_SCHULZ
    return torch.addmm(one, gram, kernel.square(torch.add(b * one, gram, alpha=c)), beta=a)


@contextmanager
def _exact_products() -> Iterator[None]:
    """Products of float32 in float32: what a GPU may round, repeated products of Gram matrices would blow up."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
