"""The network as other programs run it: grey values in, probabilities of the same size out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contractile.engine.arrange import arrange
from contractile.export.frame import Ends, Frame
from contractile.export.rule import Rule
from contractile.intensity import HIGHEST, LOWEST
from contractile.model import Model
from contractile.unet import UNet


class ExportedNetwork(nn.Module):
    """Values (B, C, *S), scaled by a rule, -> class probabilities (B, K, *S), K >= 2: the mean of a model's networks.

    The rest of the curve of grey values comes first. Within the halo of `Tiles` the output is no result: it is filled
    up with zeros where convolutions without padding give none.
    """

    def __init__(self, model: Model, rule: Rule) -> None:
        super().__init__()
        stored = (model.stored, *model.others)
        self.grey = _Grey(rule, model.card.network.dims)
        self.networks = nn.ModuleList(_Framed(arrange(one.network, "float32").cpu()) for one in stored)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor) -> Tensor:
        values = self.grey(image)
        total: Tensor = self.networks[0](values)
        for network in list(self.networks)[1:]:
            total = total + network(values)
        return total / len(self.networks) if len(self.networks) > 1 else total


class _Framed(nn.Module):
    """One network, whose output is as large as its input."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network, self._frame = network, Frame.of(network.config)

    def forward(self, values: Tensor) -> Tensor:
        probabilities = self.network.class_scores(_grown(values, self._frame.cut, -1)).softmax(dim=1)
        return _grown(probabilities, self._frame.fill, 1)


class _Grey(nn.Module):
    """What of a curve follows the rule: the fixed scale, the bend and the bounds (`intensity.Intensity.apply`)."""

    offset: Tensor
    scale: Tensor
    knee: Tensor
    reach: Tensor

    def __init__(self, rule: Rule, dims: int) -> None:
        super().__init__()
        curve = rule.curve
        self._fixed, self._bounded, self._bends = rule.kind == "fixed", curve.bounded, curve.compressive
        values: dict[str, NDArray[Any]] = {"offset": curve.offset, "scale": curve.scale}
        if curve.bounded:
            values |= {"knee": curve.knee, "reach": curve.reach}
        for name, one in values.items():
            self.register_buffer(name, torch.tensor(one.astype(np.float32)).reshape(1, -1, *(1,) * dims))

    def forward(self, values: Tensor) -> Tensor:
        if self._fixed:
            values = (values - self.offset) * self.scale
        if not self._bounded:
            return values
        values = torch.minimum(torch.maximum(values, -self.reach), self.reach)
        if self._bends:
            size = values.abs() / self.knee
            bent = torch.log(size + torch.sqrt(size * size + 1)) / torch.asinh(1 / self.knee)
            values = bent * torch.sign(values)
        return values.clamp(LOWEST, HIGHEST)


def _grown(values: Tensor, ends: Sequence[Ends], sign: int) -> Tensor:
    """Values (B, C, *S) with as many zeros at the ends of each axis; with `sign` -1 without as many pixels."""
    pads = [sign * pixels for pair in reversed(ends) for pixels in pair]  # the last axis first
    return nn.functional.pad(values, pads) if any(pads) else values


def configs_of(model: Model) -> Iterator[Any]:
    """The configurations of all networks of a model."""
    return (one.config for one in (model.stored, *model.others))
