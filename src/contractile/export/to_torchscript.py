"""TorchScript: PyTorch's older form, which QuPath and deepImageJ load."""

from __future__ import annotations

import io
import warnings

import torch

from contractile.export.frame import Tiles
from contractile.export.network import ExportedNetwork
from contractile.export.to_onnx import Floats, Run


def make_torchscript(network: ExportedNetwork, tiles: Tiles, channels: int) -> bytes:
    """The network as a TorchScript file. What tracing takes for fixed in it does not depend on the size of a tile."""
    example = torch.zeros(1, channels, *tiles.least)
    stream = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch: it is deprecated, and sizes of maps are looked at
        torch.jit.save(torch.jit.trace(network, (example,), check_trace=False), stream)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def run_torchscript(content: bytes) -> Run:
    """A TorchScript file, ready to run on the processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(batch: Floats) -> Floats:
        with torch.inference_mode():
            found: Floats = script(torch.from_numpy(batch)).numpy()
        return found

    return run
