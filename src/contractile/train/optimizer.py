"""How weights follow the gradient: the rate of each step, and the optimiser that a recipe asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from contractile.recipe import OptimizerConfig
from contractile.unet import Kernel, UNet, kernels

# Newton-Schulz polynomial a x + b x^3 + c x^5 of Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/):
# applied five times it takes singular values from 0.01 up to 1 into 0.7 to 1.2, which is near enough to 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# A step of rate 1 changes a matrix by 1 in all its directions; kernels bear this many times the rate of the rest.
KERNEL_RATE = 7.0


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The rate of step number `step` of `steps`: a linear rise over the warm-up, then the schedule."""
    warmup = min(config.warmup, steps // 4)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def make_optimizer(network: UNet, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Weights decay; biases and normalisation do not."""
    if config.kind == "muon":
        return Muon(network, config)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024) for kernels, AdamW for all else.

    The step of a kernel is its gradient, smoothed over steps, as the nearest orthogonal matrix: every direction moves
    by the same amount, however small its share of the gradient. PyTorch's own takes matrices only; here a kernel is
    the matrix of output channels x (input channels, offsets), and a tied kernel that of its expansion, so that the
    step is the one which the expanded network would take.
    """

    def __init__(self, network: UNet, config: OptimizerConfig) -> None:
        self._kernels = kernels(network)
        whole = {kernel.parameter for kernel in self._kernels}
        groups = [
            {"params": [kernel.parameter for kernel in self._kernels], "weight_decay": config.weight_decay},
            {"params": [p for p in network.parameters() if p not in whole], "weight_decay": 0.0},
        ]
        super().__init__(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
        self._momentum = config.momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step; gradients of kernels are used up, so that AdamW passes these by."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rate = KERNEL_RATE * self.param_groups[0]["lr"]
        for kernel in self._kernels:
            parameter, gradient = kernel.parameter, kernel.parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:  # the names are AdamW's, whose loading looks for the step
                state.update(step=torch.zeros(()), exp_avg=torch.zeros_like(gradient))
            smooth = state["exp_avg"]
            smooth.lerp_(gradient, 1 - self._momentum)
            ahead = torch.lerp(gradient, smooth, self._momentum)  # Nesterov
            parameter.mul_(1 - rate * self.param_groups[0]["weight_decay"])
            parameter.sub_(orthogonal(ahead, kernel), alpha=rate)
            parameter.grad = None
        super().step()
        return loss


def orthogonal(values: Tensor, kernel: Kernel) -> Tensor:
    """The orthogonal matrix next to that of a kernel's values, in the parameter's shape.

    With U S V^T the matrix's singular value decomposition, about U V^T, times sqrt(N / M) where it is taller than wide.
    Polynomials of the Gram matrix take the place of those of the matrix, and rows of the first pose that of all, which
    for a tied kernel saves most of the arithmetic.
    """
    a, b, c = NEWTON_SCHULZ
    matrix = kernel.matrix(kernel.rows(values))  # (N, M)
    n, m = matrix.shape
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    gram = matrix[:: kernel.orbit] @ matrix.mT  # (R, N), as all that follows
    one = torch.eye(n, device=gram.device, dtype=gram.dtype)[:: kernel.orbit]
    factor = one
    for _ in range(ITERATIONS):
        step = torch.addmm(one, gram, kernel.square(torch.add(b * one, gram, alpha=c)), beta=a)
        factor = step @ kernel.square(factor)
        gram = step @ kernel.square(step @ kernel.square(gram))
    return kernel.values(math.sqrt(max(1.0, n / m)) * factor @ matrix)
