"""The kernels of a network as matrices, for an optimiser that updates each kernel as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from contractile.unet.network import UNet
from contractile.unet.sizes import ORBIT
from contractile.unet.symmetry import CONVOLUTIONS, TRANSPOSED, TiedKernel


@dataclass(frozen=True)
class Kernel:
    """The parameter of a layer's kernel, and how its values form a matrix (N, M): N outputs, M (inputs x offsets).

    The matrix of a tied kernel is that of its expansion. Its rows come in orbits of eight, and the first row of each
    orbit determines the others: R = N / 8 rows determine the matrix. The same holds for any product that keeps the
    symmetry. For a kernel without ties, R = N.
    """

    parameter: nn.Parameter
    tied: TiedKernel | None
    transposed: bool

    def rows(self, values: Tensor) -> Tensor:
        """Values of the parameter's shape -> (R, M)."""
        return self._outputs_first(values).flatten(1)

    def values(self, rows: Tensor) -> Tensor:
        """(R, M) -> values of the parameter's shape."""
        return self._outputs_first(rows.reshape(self._outputs_first(self.parameter).shape))

    def matrix(self, rows: Tensor) -> Tensor:
        """(R, M) -> (N, M)."""
        return rows if self.tied is None else self.tied.expand(rows.reshape(self.parameter.shape)).flatten(1)

    def square(self, rows: Tensor) -> Tensor:
        """(R, N) -> (N, N), for a matrix from outputs to outputs."""
        return rows if self.tied is None else self.tied.expand_square(rows)

    @property
    def orbit(self) -> int:
        """Rows of the matrix that one row determines: N / R."""
        return 1 if self.tied is None else ORBIT

    def _outputs_first(self, values: Tensor) -> Tensor:
        """Transposed convolutions without ties have input channels first: swap them. The same swap leads back."""
        return values.transpose(0, 1) if self.transposed and self.tied is None else values


def find_kernels(network: UNet) -> list[Kernel]:
    """The kernels of all convolutions except the head, whose rows are classes and need not be orthogonal."""
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
