"""The U-Net in 8-bit integers: NNCF measures the range of every activation on real tiles, OpenVINO runs it."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine.openvino_backend import INSTALL, OpenVinoBackend, build_graph
from contractile.unet import UNet

MOST_CALIBRATION_TILES = 16


class Int8Backend(OpenVinoBackend):
    """Runs (B, C, *S) -> class scores (B, K, *S') with weights and activations quantised to 8 bits.

    `tiles`: batches (1, C, *S) like those it will see; the ranges measured on them are kept on disk, so that
    the same network starts at once the next time. Raises ValueError when NNCF is not installed.
    """

    def __init__(self, network: UNet, tiles: Sequence[NDArray[np.float32]]) -> None:
        if importlib.util.find_spec("nncf") is None:
            raise ValueError(f"precision int8 needs NNCF, which is not installed; {INSTALL}")
        super().__init__(network, precision="float32")
        self._tiles = [np.ascontiguousarray(tile) for tile in tiles[:MOST_CALIBRATION_TILES]]

    def _graph(self, shape: tuple[int, ...]) -> Any:
        """The quantised network for inputs of `shape`: measured once, then read from the cache."""
        path = cache_folder() / f"int8-{self._key(shape)}.xml"
        if path.is_file():
            return self._core.read_model(path)
        import nncf
        import openvino

        logging.getLogger("nncf").setLevel(logging.ERROR)
        fitting = [_resized(tile, shape) for tile in self._tiles]
        graph = nncf.quantize(
            build_graph(self._network, shape),
            nncf.Dataset(fitting),
            subset_size=len(fitting),
            preset=nncf.QuantizationPreset.MIXED,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        openvino.save_model(graph, path, compress_to_fp16=False)
        return graph

    def _key(self, shape: tuple[int, ...]) -> str:
        """What the quantised network depends on: weights, configuration, shape, tiles and both tools' versions."""
        digest = hashlib.sha256(repr((shape, self._network.config, version("nncf"), version("openvino"))).encode())
        for weights in self._network.state_dict().values():
            digest.update(weights.cpu().contiguous().numpy().tobytes())
        for tile in self._tiles:
            digest.update(tile.tobytes())
        return digest.hexdigest()[:32]


def cache_folder() -> Path:
    """Where compiled networks are kept between runs; safe to delete."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "contractile"


def _resized(tile: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A tile of another size, repeated or cropped to `shape`: ranges are measured, not positions."""
    repeats = [-(-want // have) for want, have in zip(shape, tile.shape, strict=True)]
    return np.tile(tile, repeats)[tuple(slice(0, n) for n in shape)]
