"""The card: what a model is and how it is used, as JSON in the metadata of its file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contractile.decode import Decoding
from contractile.errors import ContractileError, describe_invalid, in_one_line
from contractile.intensity import Normalization
from contractile.model.header import shown
from contractile.quality import Calibration, Confidence, Likeness
from contractile.unet import UNetConfig

FORMAT_VERSION = 2  # of what `write_card` writes; files of version 1 do not name it, and have no checksum
RETIRED = ("activation_ranges",)  # fields of the cards of earlier versions; they are not used any more
NEEDED = ("network", "task", "normalization", "decoding")  # what decides the result; every version wrote them
INT32 = 2**31
LONGEST = 300  # characters of what is wrong with a card that an error shows

Pixels = Annotated[float, Field(ge=0.5, le=1e5)]
Micrometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ClassValue = Annotated[int, Field(ge=-INT32, lt=INT32)]


@in_one_line
class ModelCard(BaseModel):
    """What a model is, which images it is for, and how well it did on the validation images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: UNetConfig
    others: tuple[UNetConfig, ...] = Field(
        default=(), max_length=63, description="further networks: the model says the mean of what all say"
    )
    symmetry: Literal["none", "square"] = Field(
        default="none",
        description="square: the output turns and mirrors with the image, because kernels were tied in training; the "
        "network is stored as an ordinary one, so that network.symmetry is none",
    )
    description: str = Field(default="", description="what the model is for, what it learned from, and its limits")
    task: Literal["classes", "objects"] = "classes"
    class_values: tuple[ClassValue, ...] = Field(
        default=(), description="task `classes`: the value of each class in label files, in the order of the classes"
    )
    class_names: tuple[str, ...] = Field(
        default=(), description="task `classes`: a name for each class, where the annotations have them"
    )
    shrunk: float = Field(
        default=1.0, ge=1, le=16, description="images are shrunk by this factor before the network sees them"
    )
    diameter: Pixels | None = Field(
        default=None,
        description="task `objects`: the typical diameter of the training objects, in pixels of the shrunk images",
    )
    diameters: tuple[Pixels, Pixels] | None = Field(
        default=None, description="diameters of small and large training objects: within them images are not resampled"
    )
    any_size: bool = Field(
        default=False, description="images are resampled so that the diameter of their objects becomes `diameter`"
    )
    pixel_size_um: tuple[Micrometres, ...] | None = Field(default=None, description="of the training images")
    axes: str | None = Field(
        default=None, max_length=16, description="letters of the axes of image files, where they had to be given"
    )
    normalization: Normalization = Normalization()
    decoding: Decoding = Decoding()
    confidence: Confidence | None = Field(
        default=None, description="task `objects`: how likely an object is right, from what it shows"
    )
    calibration: Calibration | None = Field(
        default=None, description="task `classes`: how often a pixel has a class that it is given with a probability"
    )
    likeness: Likeness | None = Field(default=None, description="what the training images are known by")
    scores: dict[str, float] = Field(default_factory=dict, description="on the validation images")
    provenance: dict[str, Any] = Field(default_factory=dict, description="versions, seed, data, steps, date")

    @model_validator(mode="before")
    @classmethod
    def _drop_retired(cls, card: Any) -> Any:
        if not isinstance(card, dict):
            return card
        card = {key: value for key, value in card.items() if key not in RETIRED}
        if isinstance(card.get("scores"), dict):  # JSON has no NaN: earlier versions wrote null for it
            card["scores"] = {name: value for name, value in card["scores"].items() if value is not None}
        return card

    @model_validator(mode="after")
    def _check(self) -> ModelCard:
        self._check_others()
        self._check_classes()
        self._check_sizes()
        for field, cure in (("min_size", "use 0 to keep all objects"), ("split", "use 0 to split no core")):
            if (size := getattr(self.decoding, field)) >= INT32:
                raise ContractileError(f"decoding.{field} must be less than 2^31 pixels, got {size}", cure)
        return self

    def _check_others(self) -> None:
        for one in self.others:
            for field, words in (("dims", "dims"), ("channels", "channels"), ("maps", "number of classes")):
                if (told := getattr(one, field)) != (own := getattr(self.network, field)):
                    problem = f"others must have the {words} of the first network, {own}, got {told}"
                    raise ContractileError(problem, "combine networks of one kind")

    def _check_classes(self) -> None:
        wanted = self.network.maps
        values = self.class_values
        if self.task == "classes" and len(values) != wanted:
            problem = f"class_values must hold one value for each of the {wanted} classes of the network for task"
            raise ContractileError(f"{problem} classes, got {len(values)}", "give as many values as classes")
        if self.task == "classes" and len(set(values)) != len(values):
            raise ContractileError(f"class_values must differ from each other, got {values}", "give each value once")
        if self.calibration is not None and len(self.calibration.spread) != wanted:
            problem = f"calibration.spread must hold one number for each of the {wanted} classes of the network"
            raise ContractileError(f"{problem}, got {len(self.calibration.spread)}", "train again")
        if self.class_names and len(self.class_names) != len(values):
            problem = f"class_names must name each of the {len(values)} class_values, got {len(self.class_names)}"
            raise ContractileError(problem, "give one for each, or none")

    def _check_sizes(self) -> None:
        if self.any_size and (self.diameter is None or self.network.dims != 2):
            got = f"diameter {self.diameter} and network.dims {self.network.dims}"
            problem = f"any_size needs a diameter and a network of 2-D images, got {got}"
            raise ContractileError(problem, "set any_size to false, or give the diameter")
        if self.diameters is None:
            return
        small, large = self.diameters
        if not small <= (small if self.diameter is None else self.diameter) <= large:
            problem = f"diameters must be a small and a large one around diameter {self.diameter}, got {small}, {large}"
            raise ContractileError(problem, "give the smaller one first")


@dataclass(frozen=True)
class Written:
    """A card as it lies in a file: the version of the file's format, and the checksum that it names."""

    card: ModelCard
    version: int
    checksum: str | None


def write_card(card: ModelCard, checksum: str) -> str:
    """The text of a card for a file of the current version. It is ASCII, and the checksum comes before all names."""
    fields = card.model_dump(mode="json")
    fields["scores"] = {name: value for name, value in fields["scores"].items() if math.isfinite(value)}
    return json.dumps({"format_version": FORMAT_VERSION, "checksum": checksum, **fields}, separators=(",", ":"))


def parse_card(text: str) -> Written:
    """The card from its text. Raises ContractileError for one that a later version wrote, or that cannot be used."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"no JSON: {shown(error, LONGEST)}") from error
    if not isinstance(fields, dict):
        raise _unreadable(f"it must hold named fields, got {shown(fields)}")
    version, checksum = fields.pop("format_version", 1), fields.pop("checksum", None)
    if type(version) is not int or version < 1:
        raise _unreadable(f"format_version must be a whole number from 1, got {shown(repr(version))}")
    if version > FORMAT_VERSION:
        problem = f"was written by a later version of contractile (its format_version is {shown(version)}, and this one"
        raise ContractileError(f"{problem} reads up to {FORMAT_VERSION})", "update with pip install -U contractile")
    if checksum is not None and not isinstance(checksum, str):
        raise _unreadable(f"checksum must be a text, got {shown(checksum)}")
    try:
        card = ModelCard.model_validate(fields)
    except ValidationError as error:
        raise _explain(error) from error
    if missing := [name for name in NEEDED if name not in fields]:
        raise _unreadable(f"{missing[0]} is missing")
    return Written(card, version, checksum)


def _explain(error: ValidationError) -> ContractileError:
    """What is wrong with the fields of a card."""
    first = error.errors()[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, ContractileError):
        place = ".".join(map(str, first["loc"]))
        problem = own.problem if own.problem.startswith(place) else f"{place}: {own.problem}"
        return ContractileError(f"has a card that cannot be used ({shown(problem, LONGEST)})", own.cure)
    cure = "use the version of contractile that wrote it, or train again"
    if first["type"] == "extra_forbidden":
        cure = "a later version of contractile may have written it: update with pip install -U contractile"
    problem = shown(": ".join(describe_invalid(error)), LONGEST)
    return ContractileError(f"has a card this version cannot read ({problem})", cure)


def _unreadable(reason: str) -> ContractileError:
    return ContractileError(f"has a card this version cannot read ({reason})", "copy the file again, or train again")
