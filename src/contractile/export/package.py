"""A BioImage.IO package (format 0.5): weights in two forms, a page, test tensors, a picture, and who made it.

https://bioimage-io.github.io/spec-bioimage-io/ defines the format; the library of its makers writes it.
"""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.export.rule import EPS, Rule
from contractile.export.settings import ExportConfig
from contractile.export.to_onnx import INSTALL, OPSET
from contractile.export.words import PAPER, PAPER_DOI, Facts
from contractile.images import overlay
from contractile.images.overlay import as_picture
from contractile.storage import replacing, telling

IMAGE, RESULT = "image", "probabilities"  # tensors
NAMES = {"onnx": "weights.onnx", "torchscript": "weights.torchscript.pt"}
LARGEST_COVER = 480  # pixels; a picture may have 500 kB
LONGEST = 500  # characters of a description
Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Contents:
    """The files of a package: weights by form, the page, and what the test image (1, C, *S) gives (1, K, *S).

    `labels` (*S) are what contractile makes of it, for the picture.
    """

    weights: Mapping[str, bytes]
    page: str
    test_input: Values
    test_output: Values
    labels: Values


def check_people(config: ExportConfig) -> None:
    """Raise ContractileError where a package lacks its authors or a licence that SPDX knows."""
    if not config.authors:
        raise ContractileError("a package needs at least one author, got none", "add --author 'First Last'")
    if config.license is None:
        raise ContractileError("a package needs a licence, got none", "add --license, e.g. CC-BY-4.0 or MIT")
    spec = _load()
    try:
        spec.generic.v0_3.LicenseId(config.license)
    except ValueError:
        problem = f"license must be an SPDX identifier, got {config.license}"
        raise ContractileError(problem, "write e.g. CC-BY-4.0 or MIT") from None


def write_package(path: Path, facts: Facts, contents: Contents, config: ExportConfig) -> None:
    """Write a package as a zip. Raises ContractileError for what the format refuses, NotWritten, NotWritable."""
    spec = _load()
    with telling(path), tempfile.TemporaryDirectory() as place, _quiet():
        folder = Path(place)
        for form, content in contents.weights.items():
            (folder / NAMES[form]).write_bytes(content)
        (folder / "README.md").write_text(contents.page, encoding="utf-8")
        (folder / "cover.png").write_bytes(_draw_cover(contents))
        np.save(folder / "test_input.npy", contents.test_input)
        np.save(folder / "test_output.npy", contents.test_output)
        try:
            described = _describe(spec, folder, facts, config)
            with replacing(path) as partial:
                spec.save_bioimageio_package(described, output_path=partial)
        except ValueError as error:  # pydantic's, too
            if isinstance(error, ContractileError):
                raise
            reason = " ".join(str(error).split())[:300]
            raise ContractileError(f"the package is refused by its own format ({reason})", "change this") from error


def _describe(spec: Any, folder: Path, facts: Facts, config: ExportConfig) -> Any:
    v = spec.model.v0_5
    card = facts.card
    torch_version, parent = str(torch.__version__).split("+")[0], {"parent": "torchscript"}
    summary = card.description or f"U-Net for {card.task}, trained with contractile."
    return v.ModelDescr(
        name=config.name,
        description=summary if len(summary) <= LONGEST else f"{summary[:LONGEST]} ...",
        authors=[v.Author(name=author) for author in config.authors],
        cite=[v.CiteEntry(text=PAPER, doi=v.Doi(PAPER_DOI))],
        license=config.license,
        tags=_tags(facts),
        documentation=v.FileDescr(source=folder / "README.md"),
        covers=[v.FileDescr(source=folder / "cover.png")],
        inputs=[_describe_input(v, folder, facts)],
        outputs=[_describe_output(v, folder, facts)],
        weights=v.WeightsDescr(
            torchscript=v.TorchscriptWeightsDescr(source=folder / NAMES["torchscript"], pytorch_version=torch_version),
            onnx=v.OnnxWeightsDescr(source=folder / NAMES["onnx"], opset_version=OPSET, **parent),
        ),
    )


def _describe_input(v: Any, folder: Path, facts: Facts) -> Any:
    tiles = facts.tiles
    sizes = [v.ParameterizedSize(min=least, step=step) for least, step in zip(tiles.least, tiles.step, strict=True)]
    axes = [v.SpaceInputAxis(size=size, **known) for size, known in zip(sizes, _space(facts), strict=True)]
    return v.InputTensorDescr(
        id=IMAGE,
        description="grey values",
        axes=[v.BatchAxis(), v.ChannelAxis(channel_names=facts.channels), *axes],
        data=v.IntervalOrRatioDataDescr(type="float32"),
        pad=v.ReflectPadding(mode="reflect"),
        preprocessing=_preprocess(v, facts.rule, facts.axes),
        test_tensor=v.FileDescr(source=folder / "test_input.npy"),
    )


def _describe_output(v: Any, folder: Path, facts: Facts) -> Any:
    axes = []
    for halo, known in zip(facts.tiles.halo, _space(facts), strict=True):
        size = v.SizeReference(tensor_id=IMAGE, axis_id=known["id"])
        axes.append(v.SpaceOutputAxisWithHalo(size=size, halo=halo, **known) if halo else _plain(v, size, known))
    return v.OutputTensorDescr(
        id=RESULT,
        description="class probabilities, which add up to 1 (outside of the halo)",
        axes=[v.BatchAxis(), v.ChannelAxis(channel_names=facts.identifiers), *axes],
        data=v.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        test_tensor=v.FileDescr(source=folder / "test_output.npy"),
    )


def _plain(v: Any, size: Any, known: Mapping[str, Any]) -> Any:
    return v.SpaceOutputAxis(size=size, **known)


def _space(facts: Facts) -> list[dict[str, Any]]:
    """Names and pixel sizes of the axes of space."""
    sizes = facts.pixel_size_um
    if sizes is None:
        return [{"id": axis} for axis in facts.axes]
    axes = zip(facts.axes, sizes, strict=True)
    return [{"id": axis, "unit": "micrometer", "scale": size} for axis, size in axes]


def _preprocess(v: Any, rule: Rule, axes: str) -> list[Any]:
    """What a program does with the whole image before the network sees it."""
    if not rule.looks_at_image:
        return []
    if rule.kind == "mean":
        return [v.ZeroMeanUnitVarianceDescr(kwargs=v.ZeroMeanUnitVarianceKwargs(axes=list(axes), eps=EPS))]
    found = v.ScaleRangeKwargs(axes=list(axes), min_percentile=rule.low, max_percentile=rule.high, eps=EPS)
    return [v.ScaleRangeDescr(kwargs=found)]


def _tags(facts: Facts) -> list[str]:
    network = facts.card.network
    kind = "instance-segmentation" if facts.card.task == "objects" else "semantic-segmentation"
    return ["unet", "segmentation", kind, f"{network.dims}d", "pytorch", "contractile"]


def _draw_cover(contents: Contents) -> bytes:
    """A square picture: the image, and from its diagonal on with outlines of the result."""
    pixels, labels = contents.test_input[0], contents.labels
    if labels.ndim == 3:
        middle = len(labels) // 2
        pixels, labels = pixels[:, middle], labels[middle]
    side = min(*labels.shape, LARGEST_COVER)
    starts = [(size - side) // 2 for size in labels.shape]
    square = tuple(slice(start, start + side) for start in starts)
    pixels, labels = pixels[(slice(None), *square)], labels[square]
    drawn = np.where(np.tri(side, dtype=bool)[::-1, :, None], overlay(pixels, labels), as_picture(pixels))
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(drawn), level=9))


def _load() -> Any:
    """The library that writes packages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for room in ("model.v0_5", "generic.v0_3"):
                importlib.import_module(f"bioimageio.spec.{room}")
            return importlib.import_module("bioimageio.spec")
    except ImportError:
        raise ContractileError("a BioImage.IO package needs the package bioimageio.spec", INSTALL) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """The library logs, and warns of what is only recommended."""
    from loguru import logger

    logger.disable("bioimageio.spec")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
