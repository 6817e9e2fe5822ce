"""ONNX: the network with free sizes, and what one has to know about it in its metadata."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.export.frame import Tiles
from contractile.export.network import ExportedNetwork

INSTALL = "pip install 'contractile[export]'"
OPSET = 20  # of 2023: what follows brings nothing to this network, and fewer programs read it
TAKES, GIVES = "image", "probabilities"
SPACE = {2: ("y", "x"), 3: ("z", "y", "x")}
LARGEST = 2**31 - 2**20  # bytes of a file without others beside it

Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]  # (B, C, *S) -> (B, K, *S)


def make_onnx(network: ExportedNetwork, tiles: Tiles, channels: int, metadata: Mapping[str, str]) -> bytes:
    """The network as an ONNX file, whose batch and sizes are free; sizes must be multiples of `tiles.step`.

    Raises ContractileError where the packages of `contractile[export]` are missing, and for a network that is too large
    for one file.
    """
    _need("onnx", "onnxscript")
    weights = 4 * sum(one.numel() for one in network.parameters())
    if weights > LARGEST:
        problem = f"networks must have less than {LARGEST / 1e9:.1f} GB of weights for ONNX, got {weights / 1e9:.1f} GB"
        raise ContractileError(problem, "train a smaller network")
    names = SPACE[len(tiles.step)]
    example = torch.zeros(2, channels, *(least + 2 * step for least, step in zip(tiles.least, tiles.step, strict=True)))
    axes = zip(names, tiles.step, tiles.least, strict=True)
    # PyTorch takes maps of one pixel for a case of their own; what it makes for larger ones is right for them, too
    sizes = [step * torch.export.Dim(name, min=least // step + 1) for name, step, least in axes]
    shapes = {0: torch.export.Dim("batch"), **dict(enumerate(sizes, start=2))}
    with torch.no_grad(), _quiet():
        exported = torch.export.export(network, (example,), dynamic_shapes=(shapes,), strict=False)
        made: Any = torch.onnx.export(
            exported, dynamo=True, opset_version=OPSET, input_names=[TAKES], output_names=[GIVES], verbose=False
        )
    model = made.model_proto
    model.producer_name, model.doc_string = "contractile", metadata["summary"]
    _name_axes(model, names)
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = model.SerializeToString()
    return content


def run_onnx(content: bytes) -> Run:
    """An ONNX file, ready to run on the processor."""
    _need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(batch: Floats) -> Floats:
        found: Floats = session.run([GIVES], {TAKES: batch})[0]
        return found

    return run


def _name_axes(model: Any, names: tuple[str, ...]) -> None:
    """Call the axes by their names, and forget what PyTorch called sizes inside of the network."""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        size = value.type.tensor_type.shape.dim
        for place, name in ((0, "batch"), *enumerate(names, start=2)):
            size[place].dim_param = name


def _need(*packages: str) -> None:
    import importlib

    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError:
            raise ContractileError(f"export needs the package {package}", INSTALL) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch warns about its own code while it exports, and logs what it does not need."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)
