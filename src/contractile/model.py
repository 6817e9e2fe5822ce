"""The model file: one `.safetensors` with the weights, and in its metadata everything needed to use them.

It can be read without this package. It is not a pickle: reading it runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.torch import save as serialise

from contractile.decode import Decoding
from contractile.errors import ContractileError, NotFound, describe_invalid
from contractile.images import replacing
from contractile.intensity import Normalization
from contractile.unet import UNet, UNetConfig

METADATA_KEY = "contractile"
RETIRED = ("activation_ranges",)  # fields of the cards of earlier versions; they are not used any more
PRETRAINED_FOLDER = Path(__file__).with_name("pretrained")
PRETRAINED = {path.stem: path for path in sorted(PRETRAINED_FOLDER.glob("*.safetensors"))}


class ModelCard(BaseModel):
    """What a model is, which images it is for, and how well it did on the validation images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: UNetConfig
    symmetry: Literal["none", "square"] = Field(
        default="none", description="square: the output turns and mirrors with the image, because kernels were tied"
    )
    description: str = Field(default="", description="what the model is for, what it learned from, and its limits")
    task: Literal["classes", "objects"] = "classes"
    class_values: tuple[int, ...] = Field(
        default=(), description="task `classes`: the value of each class in label files, in the order of the classes"
    )
    diameter: float | None = Field(
        default=None, description="task `objects`: the typical diameter of the training objects, in pixels"
    )
    diameters: tuple[float, float] | None = Field(
        default=None, description="diameters of small and large training objects: within them images are not resampled"
    )
    any_size: bool = Field(
        default=False, description="images are resampled so that the diameter of their objects becomes `diameter`"
    )
    pixel_size_um: tuple[float, ...] | None = Field(default=None, description="of the training images")
    axes: str | None = Field(default=None, description="letters of the axes of image files, where they had to be given")
    normalization: Normalization = Normalization()
    decoding: Decoding = Decoding()
    scores: dict[str, float] = Field(default_factory=dict, description="on the validation images")
    provenance: dict[str, Any] = Field(default_factory=dict, description="versions, seed, data, steps, date")

    @model_validator(mode="before")
    @classmethod
    def _drop_retired(cls, card: Any) -> Any:
        return {key: card[key] for key in card if key not in RETIRED} if isinstance(card, dict) else card


@dataclass(frozen=True)
class Model:
    """A network and its card."""

    network: UNet
    card: ModelCard


def save(model: Model, path: str | Path) -> None:
    """Write the model file. An old one is replaced when the new one is complete. Raises NotWritten, NotWritable."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
    with replacing(Path(path)) as partial:
        partial.write_bytes(serialise(weights, metadata={METADATA_KEY: model.card.model_dump_json()}))


def is_model(path: str | Path) -> bool:
    """Whether `path` ends like a model file, is a folder that holds one, or is the name of a pretrained model."""
    path = _find(Path(path))
    return path.suffix == ".safetensors" or (path / "model.safetensors").is_file()


def read_card(path: str | Path) -> ModelCard:
    """The card alone. Raises as `load`."""
    return _read(Path(path))[0]


def load(path: str | Path) -> Model:
    """Read a model file, the one in a run folder, or a pretrained model by its name. Files go before names.

    Raises NotFound, and ContractileError for a file that is not a model of this package.
    """
    card, weights = _read(Path(path), weights=True)
    network = UNet(card.network)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        problem = f"does not hold the network on its card ({reason})"
        raise ContractileError(problem, "train it again", where=path) from error
    return Model(network=network.eval(), card=card)


def _find(path: Path) -> Path:
    """The path itself where there is a model, else the path of the pretrained model of this name."""
    there = path.is_file() or (path / "model.safetensors").is_file()
    return path if there else PRETRAINED.get(str(path), path)


def _read(path: Path, *, weights: bool = False) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    path = _find(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        others = "".join(f", or {name} (pretrained)" for name in PRETRAINED)
        raise NotFound("does not exist", f"give RUN/model.safetensors of a finished training{others}", where=path)
    cure = "give the model.safetensors that `contractile train` wrote"
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            card = (file.metadata() or {}).get(METADATA_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ContractileError(f"cannot be read as safetensors ({error})", cure, where=path) from error
    if card is None:
        raise ContractileError("has no contractile card in its metadata", cure, where=path)
    try:
        return ModelCard.model_validate_json(card), tensors
    except ValidationError as error:
        problem = f"has a card this version cannot read ({': '.join(describe_invalid(error)):.300})"
        cure = "use the version of contractile that wrote it, or train again"
        raise ContractileError(problem, cure, where=path) from error
