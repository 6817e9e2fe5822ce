"""The U-Net in PyTorch for inference: arranged, channels last, one number type, as a graph on CUDA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contractile.engine.arrange import arrange
from contractile.engine.halves import arrange_image
from contractile.engine.hardware import Device
from contractile.unet import UNet, memory_format

WARM_UPS = 3


class TorchBackend:
    """Computes class probabilities (B, K, *S'), K >= 2, of images (B, C, *S) on a device in "float32" or "bfloat16".

    On CUDA the work is recorded once per shape as a graph and replayed, because small networks spend most of their
    time on starting kernels.
    """

    def __init__(self, network: UNet, *, device: Device, precision: str) -> None:
        self._device, self._precision = torch.device(str(device)), precision
        self._type = getattr(torch, precision)
        self._format = memory_format(network.config.dims, self._device.type)
        arranged = arrange(network, precision)
        self._network = arranged.to(device=self._device, dtype=self._type, memory_format=self._format)  # type: ignore[call-overload]
        self._captured: tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None = None

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(arrange_image(batch, self._precision))
            x = x.to(self._device, self._type, memory_format=self._format)
            found = self._replay(x) if self._device.type == "cuda" else self._probabilities(x)
            values: NDArray[np.float32] = found.cpu().numpy()
        return values

    def _probabilities(self, x: Tensor) -> Tensor:
        found: Tensor = self._network.class_scores(x).float().softmax(dim=1)
        return found

    def _replay(self, x: Tensor) -> Tensor:
        """The probabilities by the graph of this shape. Only one is kept, so that its memory is free for the next."""
        if self._captured is None or self._captured[1].shape != x.shape:
            self._captured = None
            search, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True  # for the fastest kernels
            try:
                self._captured = self._capture(x.clone())
            finally:
                torch.backends.cudnn.benchmark = search
        graph, image, found = self._captured
        image.copy_(x)
        graph.replay()
        return found

    def _capture(self, image: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):  # libraries choose their kernels and workspaces outside the graph
                self._probabilities(image)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = self._probabilities(image)
        return graph, image, found
