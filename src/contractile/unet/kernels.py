"""The kernels of a network as matrices: what an optimiser needs that looks at a kernel as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from contractile.unet.network import UNet
from contractile.unet.symmetry import CONVOLUTIONS, TRANSPOSED, TiedKernel


@dataclass(frozen=True)
class Kernel:
    """The parameter of a layer's kernel, and how its values form a matrix: output channels x (inputs, offsets).

    A tied kernel's matrix is that of its expansion, whose symmetry every product with itself keeps.
    """

    parameter: nn.Parameter
    tied: TiedKernel | None
    transposed: bool

    def matrix(self, values: Tensor) -> Tensor:
        """Values of the parameter's shape -> (O, I * offsets)."""
        return self._outputs_first(values if self.tied is None else self.tied(values)).flatten(1)

    def values(self, matrix: Tensor) -> Tensor:
        """(O, I * offsets), as symmetric as the kernel -> values of the parameter's shape."""
        if self.tied is None:
            shape = self._outputs_first(self.parameter).shape
            return self._outputs_first(matrix.reshape(shape))
        expanded = self._outputs_first(matrix.reshape(self.tied.outputs_first_shape(self.parameter)))
        return self.tied.right_inverse(expanded)

    def _outputs_first(self, kernel: Tensor) -> Tensor:
        """A transposed convolution keeps its input channels first; the same swap leads back."""
        return kernel.transpose(0, 1) if self.transposed else kernel


def kernels(network: UNet) -> list[Kernel]:
    """Those of all convolutions but the last, which only weighs channels."""
    return [
        _kernel_of(layer)
        for layer in network.modules()
        if isinstance(layer, CONVOLUTIONS + TRANSPOSED) and layer is not network.head
    ]


def _kernel_of(layer: Any) -> Kernel:
    transposed = isinstance(layer, TRANSPOSED)
    if not parametrize.is_parametrized(layer, "weight"):
        return Kernel(layer.weight, tied=None, transposed=transposed)
    tying = layer.parametrizations.weight
    return Kernel(tying.original, tied=tying[0], transposed=transposed)
