"""The U-Net in 8-bit integers: NNCF measures the range of every activation on real tiles, OpenVINO runs it."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine.openvino_backend import INSTALL, OpenVinoBackend, build_graph
from contractile.unet import UNet

MOST_CALIBRATION_TILES = 16


class Int8Backend(OpenVinoBackend):
    """Runs (B, C, *S) -> class scores (B, K, *S') with weights and activations quantised to 8 bits.

    `tiles`: batches (1, C, *S) like those it will see. Raises ValueError when NNCF is not installed.
    """

    def __init__(self, network: UNet, tiles: Sequence[NDArray[np.float32]]) -> None:
        if importlib.util.find_spec("nncf") is None:
            raise ValueError(f"precision int8 needs NNCF, which is not installed; {INSTALL}")
        super().__init__(network, precision="float32")
        self._tiles = [np.ascontiguousarray(tile) for tile in tiles[:MOST_CALIBRATION_TILES]]

    def _graph(self, shape: tuple[int, ...]) -> Any:
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        fitting = [_resized(tile, shape) for tile in self._tiles]
        return nncf.quantize(
            build_graph(self._network, shape),
            nncf.Dataset(fitting),
            subset_size=len(fitting),
            preset=nncf.QuantizationPreset.MIXED,
        )


def _resized(tile: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A tile of another size, repeated or cropped to `shape`: ranges are measured, not positions."""
    repeats = [-(-want // have) for want, have in zip(shape, tile.shape, strict=True)]
    return np.tile(tile, repeats)[tuple(slice(0, n) for n in shape)]
