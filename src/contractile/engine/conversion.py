"""The U-Net as an OpenVINO network: converted once by PyTorch, which no later start needs."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from contractile.unet import UNet


class _Probabilities(nn.Module):
    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.class_scores(image).softmax(dim=1)


def convert(arranged: UNet) -> Any:
    """An `openvino.Model` of class probabilities for inputs (B, C, *S) of any shape that the network takes.

    `openvino.convert_model` would do the same, but it reports its use to a server on the internet.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    config = arranged.config
    image = torch.zeros(1, config.channels, *(config.input_size(1, axis) for axis in range(config.dims)))
    with torch.no_grad(), warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")  # PyTorch and OpenVINO warn about their own code
        exported = torch.export.export(_Probabilities(arranged).cpu(), (image,), strict=False).run_decompositions()
        decoder = TorchFXPythonDecoder(exported.module(), dynamic_shapes=True)
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    model.set_friendly_name("unet")
    return model
