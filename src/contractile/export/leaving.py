"""Model file -> ONNX file or BioImage.IO package, compared with the model before it is written."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from contractile.errors import ContractileError
from contractile.export.frame import Tiles
from contractile.export.network import ExportedNetwork, configs_of
from contractile.export.package import Contents, check_people, write_package
from contractile.export.proof import predict_exactly, prove
from contractile.export.rule import Rule
from contractile.export.sample import Sample, make_noise, read_sample
from contractile.export.settings import ExportConfig
from contractile.export.to_onnx import Floats, make_onnx, run_onnx
from contractile.export.to_torchscript import make_torchscript, run_torchscript
from contractile.export.words import Facts, entries, write_page
from contractile.model import Model, load
from contractile.prediction import Predictor
from contractile.storage import claimed, replacing

logger = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "bioimageio": ".zip"}


@dataclass(frozen=True)
class Exported:
    """A file that was written, and what was measured before.

    `off` is how far at most the probabilities of each form of weights are from those of the model. `changed` is the
    part of the pixels of the test image whose class is another one with the rule for grey values than with the model's
    own curve; None without a test image.
    """

    path: Path
    off: dict[str, float]
    changed: float | None
    rule: Rule
    tiles: Tiles


def export_model(
    place: str | Path,
    out: Path,
    *,
    config: ExportConfig | None = None,
    image: str | None = None,
    axes: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the model at a place (as of `load`) as an ONNX file or a BioImage.IO package.

    `image` is a place of images, of which the first one is compared on; a package shows a part of it. ONNX files need
    none, unless grey values are fixed. Raises what `load`, `find` and `claimed` raise; ContractileError for what a
    package lacks, for a name that does not fit its form, and where the packages of `contractile[export]` are missing;
    NotFinished where the weights do not give what the model gives.
    """
    config, out = config or ExportConfig(), Path(os.path.expanduser(out))
    _check(config, out, image)
    _say_unused(config, image, axes)
    model = load(place)
    tiles = Tiles.of(list(configs_of(model)))
    sample = make_noise(model, tiles) if image is None else read_sample(image, model, tiles, axes=axes)
    with claimed([out], by="export", inputs=[*sample.files, *_files_of(place)], overwrite=overwrite) as claim:
        made = _Export(model, tiles, sample, config)
        if config.to == "onnx":
            content = made.onnx()
            with claim.together(), replacing(out) as partial:
                partial.write_bytes(content)
        else:
            named = config.model_copy(update={"name": config.name or _name_of(place)})
            contents = made.package(named.name or "")
            with claim.together():
                write_package(out, made.facts, contents, named)
    return Exported(out, made.off, None if image is None else made.changed, made.rule, tiles)


class _Export:
    """The parts of an export; `off` grows while they are made."""

    def __init__(self, model: Model, tiles: Tiles, sample: Sample, config: ExportConfig) -> None:
        self.model, self.tiles, self.sample = model, tiles, sample
        self.rule = Rule.of(model.card.normalization, sample.curve, fixed=config.grey == "fixed")
        self.facts = Facts(model, tiles, self.rule)
        self.off: dict[str, float] = {}
        self.curve = self.rule.fit(sample.pixels)
        self.values = self.rule.scale(sample.pixels, self.curve)
        self.ours: Floats = predict_exactly(model, sample.pixels, self.curve)
        self.network = ExportedNetwork(model, self.rule)

    @cached_property
    def changed(self) -> float:
        own = predict_exactly(self.model, self.sample.pixels, self.sample.curve)
        return float((own.argmax(axis=0) != self.ours.argmax(axis=0)).mean())

    def onnx(self) -> bytes:
        content = make_onnx(self.network, self.tiles, self.model.card.network.channels, entries(self.facts))
        self.off["ONNX"] = prove(run_onnx(content), self.values, self.ours, self.tiles, name="ONNX")
        return content

    def torchscript(self) -> bytes:
        content = make_torchscript(self.network, self.tiles, self.model.card.network.channels)
        self.off["TorchScript"] = prove(
            run_torchscript(content), self.values, self.ours, self.tiles, name="TorchScript"
        )
        return content

    def package(self, name: str) -> Contents:
        weights = {"onnx": self.onnx(), "torchscript": self.torchscript()}
        test = [f"{form}: {off:.1g}" for form, off in self.off.items()]
        with torch.inference_mode():
            output = self.network(torch.from_numpy(self.values[None])).numpy()
        return Contents(
            weights=weights,
            page=write_page(self.facts, name=name, changed=self.changed, test=test),
            test_input=self.sample.pixels[None],
            test_output=np.ascontiguousarray(output),
            labels=Predictor(self.model).decode(self.ours),
        )


def _check(config: ExportConfig, out: Path, image: str | None) -> None:
    """What can be said before anything is read."""
    suffix = SUFFIXES[config.to]
    if out.suffix.lower() != suffix:
        problem = f"out must name a {suffix} file for {config.to}, got {out}"
        raise ContractileError(problem, f"write e.g. {out.with_suffix(suffix)}" if out.name else f"write model{suffix}")
    if config.to == "bioimageio":
        check_people(config)
        if image is None:
            raise ContractileError(
                "a package needs an image, of which it shows a part, got none", "add --image, one that may be published"
            )
    elif config.grey == "fixed" and image is None:
        raise ContractileError("fixed grey values are those of an image, got none", "add --image")


def _say_unused(config: ExportConfig, image: str | None, axes: str | None) -> None:
    """Warn of options that change nothing."""
    people = [name for name in ("name", "authors", "license") if getattr(config, name)]
    for name in people if config.to == "onnx" else []:
        logger.warning("%s changes nothing: it is for packages (--to bioimageio)", name)
    if axes is not None and image is None:
        logger.warning("axes changes nothing: it is for --image (image), and none was given")


def _files_of(place: str | Path) -> list[Path]:
    path = Path(place)
    return [path] if path.is_file() else [path / "model.safetensors"]


def _name_of(place: str | Path) -> str:
    """A name for a model, of the letters that a package may use."""
    path = Path(place).absolute()
    own = path.parent.name if path.stem == "model" else path.stem
    return re.sub(r"[^A-Za-z0-9_+\- ()]", "_", f"contractile {own}")[:64]
