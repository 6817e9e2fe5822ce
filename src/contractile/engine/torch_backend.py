"""The U-Net in PyTorch, arranged for inference: norms folded, channels last, one number type, a graph on CUDA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contractile.engine.arrange import fold_norms, split_first_kernel, split_image
from contractile.unet import UNet

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WARM_UPS = 3


class TorchBackend:
    """Runs (B, C, *S) -> class scores (B, K, *S') on a device in "float32" or "bfloat16".

    On CUDA the work is captured once per shape as a graph and replayed: small networks spend most of their
    time in starting kernels.
    """

    def __init__(self, network: UNet, *, device: torch.device, precision: str) -> None:
        self._device, self._type = device, TYPES[precision]
        self._format = torch.channels_last if network.config.dims == 2 else torch.contiguous_format
        folded = fold_norms(network)
        arranged = split_first_kernel(folded) if precision == "bfloat16" else folded
        self._network = arranged.to(device=device, dtype=self._type, memory_format=self._format)  # type: ignore[call-overload]
        self._captured: tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None = None

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = split_image(batch) if self._type == torch.bfloat16 else torch.from_numpy(np.ascontiguousarray(batch))
        # shapes repeat: cuDNN's fastest kernel is worth a search
        with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=True):
            x = parts.to(device=self._device, dtype=self._type).contiguous(memory_format=self._format)
            scores = self._replay(x) if self._device.type == "cuda" else self._scores(x)
            values: NDArray[np.float32] = scores.cpu().numpy()
        return values

    def _scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self._network.class_scores(x).float()
        return scores

    def _replay(self, x: Tensor) -> Tensor:
        """The scores by a graph for this shape; a graph of another shape gives way, and its memory with it."""
        if self._captured is None or self._captured[1].shape != x.shape:
            self._captured = None
            self._captured = self._capture(x.clone())
        graph, image, scores = self._captured
        image.copy_(x)
        graph.replay()
        return scores

    def _capture(self, image: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):  # libraries choose their kernels and workspaces outside the graph
                self._scores(image)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = self._scores(image)
        return graph, image, scores
