"""Weights of Pytorch-UNet (https://github.com/milesial/Pytorch-UNet) as a model file.

That network is ours with up-convolutions: width 64 at first, padded, batch norm, one output channel for a sigmoid or
several for a soft-max. Its skips come before what is brought up, ours behind. It has a second form, whose maps are
brought up by bilinear interpolation between the corners; ours cannot do that, since the result depends on the size of
the image, so that tiles would not fit together.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contractile.errors import ContractileError, NotFound, printable
from contractile.intensity import Normalization
from contractile.model import Model, ModelCard, save
from contractile.model.fit import list_shapes
from contractile.storage import claimed
from contractile.unet import StoredUNet, UNetConfig

FIRST, LAST, UP = "inc.double_conv.0.weight", "outc.conv.weight", "up1.up.weight"
DOWN = re.compile(r"down(\d+)\.maxpool_conv\.1\.double_conv\.0\.weight")
VALUES = "mask_values"  # what a later train.py adds: the value of each class in the label files
WHITE = 255.0  # its pixels are divided by this
INT32 = 2**31
NAMED = 3  # tensors in an error
CURE = "give the checkpoint that train.py of Pytorch-UNet wrote"

Weights = dict[str, NDArray[Any]]


def import_weights(weights: Path, out: Path, *, scale: float = 1.0, overwrite: bool = False) -> ModelCard:
    """Write weights of Pytorch-UNet as a model file. Its card says which images it takes.

    `scale` is that of its train.py and predict.py: images were brought to this part of their size. No code of the file
    is run. Raises NotFound; ContractileError for a file that holds no such weights, or those of the bilinear form, and
    for a scale that is no number from 1/16 to 1; and what `claimed` and `save` raise.
    """
    if not 1 / 16 <= scale <= 1:
        raise ContractileError(f"scale must be from 0.0625 to 1, got {scale:g}", "use that of train.py, e.g. 0.5")
    out = Path(os.path.expanduser(out))
    if out.suffix.lower() != ".safetensors":
        raise ContractileError(f"out must name a .safetensors file, got {out}", "write e.g. model.safetensors")
    state = _read(weights)
    try:
        model = _make_model(state, weights, scale)
    except ContractileError as error:
        raise error.at(weights) from None
    with claimed([out], by="import", inputs=[weights], overwrite=overwrite) as claim, claim.together():
        save(model, out)
    return model.card


def _read(path: Path) -> dict[str, Any]:
    """The names and values of a file of PyTorch's, read without running code."""
    if not path.is_file():
        raise NotFound("does not exist, or is no file", CURE, where=path)
    _refuse_compressed(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that were not written by torch.save
            state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a reader of strange files fails in many ways
        problem = f"cannot be read as weights of PyTorch without running code ({type(error).__name__})"
        raise ContractileError(problem, CURE, where=path) from error
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise ContractileError(f"must hold weights by name, got {type(state).__name__}", CURE, where=path)
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    if sum(one.numel() * one.element_size() for one in tensors) > path.stat().st_size:
        raise ContractileError("declares more numbers than it holds", CURE, where=path)
    return {name.removeprefix("module."): value for name, value in state.items()}  # of a network on several devices


def _refuse_compressed(path: Path) -> None:
    """Raise ContractileError for a zip that would grow while it is read; torch.save compresses nothing."""
    try:
        with zipfile.ZipFile(path) as file:
            grown = [entry.filename for entry in file.infolist() if entry.file_size > entry.compress_size]
    except zipfile.BadZipFile:  # of an earlier version of PyTorch, or no weights at all
        return
    if grown:
        raise ContractileError(f"is compressed inside ({printable(grown[0])})", CURE, where=path)


def _make_model(state: dict[str, Any], path: Path, scale: float) -> Model:
    values = state.pop(VALUES, None)
    tensors = {name: _as_array(name, value) for name, value in state.items()}
    config = _read_config(tensors)
    weights = dict(_rename(tensors))
    _complete(weights, config)
    _check(weights, config)
    weights["contract.0.0.weight"] = weights["contract.0.0.weight"] / np.float32(WHITE)
    for place in range(config.depth):
        name = f"expand.{place}.0.weight"
        skip, up = np.split(weights[name], 2, axis=1)
        weights[name] = np.concatenate([up, skip], axis=1)
    return Model(StoredUNet(config, weights), _make_card(config, values, path, scale))


def _as_array(name: str, value: Any) -> NDArray[Any]:
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_complex():
        raise ContractileError(f"{name} must be a tensor of numbers, got {type(value).__name__}", CURE)
    if not value.is_floating_point():
        return value.numpy()
    numbers: NDArray[Any] = value.float().contiguous().numpy()
    if not np.isfinite(numbers).all():
        raise ContractileError(f"{name} must hold finite numbers, got NaN or infinity", "train it again")
    return numbers


def _read_config(tensors: Mapping[str, NDArray[Any]]) -> UNetConfig:
    """The configuration that the names and shapes tell."""
    if missing := [name for name in (FIRST, LAST) if name not in tensors or tensors[name].ndim != 4]:
        raise ContractileError(f"holds no weights of Pytorch-UNet ({missing[0]} is missing)", CURE)
    depth = sum(DOWN.fullmatch(name) is not None for name in tensors)
    if depth and UP not in tensors:
        problem = "has the bilinear form of Pytorch-UNet, whose result depends on the size of a tile"
        raise ContractileError(problem, "use weights that were trained with up-convolutions (bilinear=False)")
    width, channels = tensors[FIRST].shape[:2]
    classes = len(tensors[LAST])
    return UNetConfig(channels=channels, classes=classes, width=width, depth=depth, sigmoid=classes == 1)


def _rename(tensors: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each tensor under our name; under its own where we have none."""
    for name, values in tensors.items():
        plain = re.sub(r"^inc\.double_conv\.", "contract.0.", name)
        plain = re.sub(r"^down(\d+)\.maxpool_conv\.1\.double_conv\.", r"contract.\1.", plain)
        plain = re.sub(r"^up(\d+)\.up\.", lambda found: f"up.{int(found[1]) - 1}.0.", plain)
        plain = re.sub(r"^up(\d+)\.conv\.double_conv\.", lambda found: f"expand.{int(found[1]) - 1}.", plain)
        yield re.sub(r"^outc\.conv\.", "head.", plain), values


def _complete(weights: Weights, config: UNetConfig) -> None:
    """Add, in place, biases of 0 where later versions have none, and counters where earlier ones had none."""
    for name, shape in list_shapes(config):
        if name.startswith(("contract.", "expand.")) and name.endswith("bias"):
            weights.setdefault(name, np.zeros(shape, np.float32))
        elif name.endswith("num_batches_tracked"):
            weights.setdefault(name, np.zeros(shape, np.int64))


def _check(weights: Weights, config: UNetConfig) -> None:
    """Raise ContractileError for tensors that a network of this configuration does not have, or not in this shape."""
    expected = dict(list_shapes(config))
    odd = [f"{name} is missing" for name in sorted(expected.keys() - weights.keys())]
    odd += [f"{name} is not known" for name in sorted(weights.keys() - expected.keys())]
    odd += [
        f"{name} has shape {weights[name].shape}, not {shape}"
        for name, shape in expected.items()
        if name in weights and weights[name].shape != shape
    ]
    if odd:
        more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
        problem = f"has other layers than Pytorch-UNet with width {config.width} and depth {config.depth}"
        raise ContractileError(f"{problem} ({printable(', '.join(odd[:NAMED]))}{more})", CURE)


def _make_card(config: UNetConfig, values: Any, path: Path, scale: float) -> ModelCard:
    told = f"Weights of Pytorch-UNet, read from {path.name}. For 8-bit images: pixels go in as they are, from 0 to 255 "
    told += "(the division by 255 is in the first kernel). Scale images of other types to 0 ... 255 first."
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelCard(
        network=config,
        description=told,
        task="classes",
        class_values=_class_values(values, config.maps),
        shrunk=1 / scale,
        normalization=Normalization(kind="none"),
        provenance={"imported": "Pytorch-UNet", "file": path.name, "sha256": digest},
    )


def _class_values(values: Any, count: int) -> tuple[int, ...]:
    """The value of each class in label files: as the weights say, where these are whole numbers; else 0, 1, 2, ..."""
    whole = isinstance(values, list) and all(type(one) is int and -INT32 <= one < INT32 for one in values)
    if whole and len(values) == len(set(values)) == count:
        return tuple(values)
    return tuple(range(count))
