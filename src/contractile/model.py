"""The model file: one `.safetensors` with the weights, and in its metadata everything needed to use them.

No pickle: the file can be read without this package and executes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save_file

from contractile.decode import Decoding
from contractile.errors import ContractileError, NotFound
from contractile.images import replacing
from contractile.intensity import Normalization
from contractile.unet import UNet, UNetConfig

METADATA_KEY = "contractile"
PRETRAINED_FOLDER = Path(__file__).with_name("pretrained")
PRETRAINED = {path.stem: path for path in sorted(PRETRAINED_FOLDER.glob("*.safetensors"))}


class ModelCard(BaseModel):
    """What a model is, what it expects and how good it was seen to be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: UNetConfig
    symmetry: Literal["none", "square"] = Field(
        default="none", description="square: kernels were tied, so that outputs turn and mirror along with the image"
    )
    description: str = Field(default="", description="what it is for, what it learned from, and its limits")
    task: Literal["classes", "objects"] = "classes"
    class_values: tuple[int, ...] = Field(
        default=(), description="task `classes`: the value in label files of each class, in order"
    )
    diameter: float | None = Field(default=None, description="task `objects`: of those learned from, in pixels")
    diameters: tuple[float, float] | None = Field(
        default=None, description="of small and of large ones among them: images of such objects are not resampled"
    )
    any_size: bool = Field(
        default=False, description="images are resampled so that their objects have `diameter`, given or estimated"
    )
    pixel_size_um: tuple[float, ...] | None = None
    normalization: Normalization = Normalization()
    decoding: Decoding = Decoding()
    activation_ranges: tuple[tuple[float, float], ...] = Field(
        default=(), description="smallest and largest input of each convolution on training images, in running order"
    )
    scores: dict[str, float] = Field(default_factory=dict, description="on the validation images")
    provenance: dict[str, Any] = Field(default_factory=dict, description="versions, seed, data, steps, date")


@dataclass(frozen=True)
class Model:
    """A network and its card."""

    network: UNet
    card: ModelCard


def save(model: Model, path: str | Path) -> None:
    """Write the model file; an existing one is replaced only when the new one is complete."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
    with replacing(Path(path)) as partial:
        save_file(weights, partial, metadata={METADATA_KEY: model.card.model_dump_json()})


def is_model(path: str | Path) -> bool:
    """Whether `path` is named like a model file, is a folder that holds one, or the name of a pretrained model."""
    path = _find(Path(path))
    return path.suffix == ".safetensors" or (path / "model.safetensors").is_file()


def read_card(path: str | Path) -> ModelCard:
    """The card alone. Raises FileNotFoundError, or ValueError for a file that is not a contractile model."""
    return _read(Path(path))[0]


def load(path: str | Path) -> Model:
    """Read a model file, or a model of the package by its name, unless a run folder or file has it.

    Raises FileNotFoundError, or ValueError for a file that is not a contractile model.
    """
    card, weights = _read(Path(path), weights=True)
    network = UNet(card.network)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ContractileError(
            f"model file {path} does not hold the network on its card ({reason})", "train it again"
        ) from error
    return Model(network=network.eval(), card=card)


def _find(path: Path) -> Path:
    """The path itself where a model lies there, else that of the pretrained model it names."""
    there = path.is_file() or (path / "model.safetensors").is_file()
    return path if there else PRETRAINED.get(str(path), path)


def _read(path: Path, *, weights: bool = False) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    path = _find(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        others = "".join(f", or {name} (pretrained)" for name in PRETRAINED)
        raise NotFound(
            f"model file {path} does not exist", f"give RUN/model.safetensors of a finished training{others}"
        )
    cure = "give the model.safetensors that `contractile train` wrote"
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            card = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ContractileError(f"model file {path} cannot be read as safetensors ({error})", f"{cure}") from error
    if card is None:
        raise ContractileError(f"model file {path} has no contractile card in its metadata", f"{cure}")
    try:
        return ModelCard.model_validate_json(card), tensors
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ContractileError(
            f"model file {path} has a card this version cannot read ({where}: {problem['msg']})",
            "use the version of contractile that wrote it, or train again",
        ) from error
