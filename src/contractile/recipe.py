"""A run as one frozen value: everything training depends on, apart from the data.

`Recipe.paper()` is the 2015 network and training; `derive` fits the default to a dataset, a device and a
time budget. On disk a recipe is a TOML file whose keys are these fields.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contractile.augment import AugmentConfig
from contractile.dataset import Example, SampleConfig, find_task
from contractile.images import Normalization
from contractile.loss import LossConfig
from contractile.targets import TargetConfig
from contractile.unet import UNetConfig

NAMES = ("default", "paper")
DEFAULT_MINUTES = 10.0
SHORT_MINUTES = 3.0


class OptimizerConfig(BaseModel):
    """How weights follow the gradient. The learning rate rises over `warmup` steps, then follows `schedule` to 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = Field(default=3e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of SGD; the first-moment decay of AdamW")
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup: int = Field(default=50, ge=0, description="steps")
    schedule: Literal["constant", "cosine"] = "cosine"


class Recipe(BaseModel):
    """Everything a training run depends on. With `steps` set, a run can be repeated exactly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(default="default", description="the named recipe this one departs from")
    network: UNetConfig
    samples: SampleConfig
    targets: TargetConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    minutes: float | None = Field(default=None, gt=0, description="time budget; measured into steps at the start")
    steps: int | None = Field(default=None, ge=1)
    validations: int = Field(default=8, ge=1, description="times the validation images are scored during the run")
    val_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="of the images, when none are named for validation"
    )
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = Field(default=0, ge=0)

    @classmethod
    def paper(cls, *, dims: Literal[2, 3] = 2) -> Recipe:
        """The 2015 paper: one 572-pixel tile per step, momentum 0.99, weight map, elastic deformation.

        The paper names neither learning rate, schedule nor intensity scaling; those chosen here are
        explained in docs/log.md.
        """
        network = UNetConfig.paper(dims=dims)
        tile = network.input_size(388 if dims == 2 else 4)
        return cls(
            base="paper",
            network=network,
            samples=SampleConfig(
                tile=(tile,) * dims,
                core=(network.output_size(tile),) * dims,
                batch=1,
                augment=AugmentConfig.paper(),
                normalization=Normalization(kind="percentile"),
            ),
            targets=TargetConfig(task="objects", w0=10, sigma=5, balance=True),
            optimizer=OptimizerConfig(
                kind="sgd", learning_rate=1e-4, momentum=0.99, weight_decay=0, warmup=0, schedule="constant"
            ),
        )

    def to_toml(self) -> str:
        """The recipe as TOML text; fields without a value are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def derive(examples: Sequence[Example], changes: Mapping[str, Any]) -> Recipe:
    """The recipe for a dataset: a named base fitted to the data, then the caller's changes on top.

    `changes` holds recipe fields, nested as in the TOML file; `base` names the recipe they depart from.
    Raises ValueError for an unknown base or field, naming it.
    """
    base = changes.get("base", "default")
    if base not in NAMES:
        raise ValueError(f"recipe must be one of {', '.join(NAMES)} or a TOML file, got {base!r}; use default")
    dims: Literal[2, 3] = 2 if examples[0].labels.ndim == 2 else 3
    device = str(changes.get("device", "auto"))
    recipe = Recipe.paper(dims=dims) if base == "paper" else _default(examples, dims, _budget(changes), device)
    ignore_label = changes.get("targets", {}).get("ignore_label")
    task, values = find_task(examples, ignore_label=ignore_label)
    fitted = {
        "network": {"channels": examples[0].pixels.shape[0], "classes": max(2, len(values))},
        # Between classes there is no gap to learn: the default weighs pixels alike, the paper always weighs.
        "targets": {
            "task": task,
            "class_values": values,
            **({"w0": 0.0} if task == "classes" and base != "paper" else {}),
        },
        **({} if "steps" in changes or "minutes" in changes else {"minutes": DEFAULT_MINUTES}),
    }
    merged = _merge(_merge(recipe.model_dump(), fitted), changes)
    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise ValueError(
            f"recipe field {where}: {problem['msg']} (got {problem['input']!r}); "
            "the recipe.toml of any run shows all fields"
        ) from None
    _check_tile(recipe)
    return recipe


def read_recipe(source: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Recipe changes from a name ("default", "paper"), a TOML file or a mapping.

    Raises FileNotFoundError, or ValueError when the file is not TOML.
    """
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return dict(source)
    if str(source) in NAMES:
        return {"base": str(source)}
    path = Path(source)
    if path.suffix != ".toml":
        raise ValueError(f"recipe must be one of {', '.join(NAMES)} or a .toml file, got {str(source)!r}; use default")
    if not path.is_file():
        raise FileNotFoundError(f"recipe {path} does not exist; give one of {', '.join(NAMES)} or a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path} is not valid TOML ({error}); correct that line") from None


def _budget(changes: Mapping[str, Any]) -> float:
    return float(changes.get("minutes") or DEFAULT_MINUTES)


def _default(examples: Sequence[Example], dims: Literal[2, 3], minutes: float, device: str) -> Recipe:
    """Padded network with batch norm, AdamW and a cosine; width, tile and batch for device, budget and data."""
    fast = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    short = not fast and minutes < SHORT_MINUTES
    depth = 4 if dims == 2 else 3
    stride = 2**depth
    side = 256 if dims == 2 else 64
    # A tile larger than the images would show little but mirror images.
    typical = np.median([example.labels.shape for example in examples], axis=0)
    tile = tuple(int(min(side, max(stride, n // stride * stride))) for n in typical)
    batch = max(1, round((4 if dims == 2 else 2) * side**dims / np.prod(tile)) // (2 if short else 1))
    return Recipe(
        # Few steps go further with free kernels and small batches (docs/log.md).
        network=UNetConfig(dims=dims, width=32 if fast else 16, depth=depth, symmetry="none" if short else "square"),
        samples=SampleConfig(tile=tile, core=tile, batch=min(batch, 16)),
        targets=TargetConfig(task="objects", w0=5, sigma=5, balance=False),
        optimizer=OptimizerConfig(warmup=20 if short else 50),
    )


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return merged


def _check_tile(recipe: Recipe) -> None:
    """The tile must fit the network, and the core be what the network makes of it."""
    network, samples = recipe.network, recipe.samples
    if len(samples.tile) != network.dims:
        raise ValueError(
            f"samples.tile must have one size per axis, got {samples.tile} for a {network.dims}-D network; "
            f"give {network.dims} numbers"
        )
    core = tuple(network.output_size(size) for size in samples.tile)
    if samples.core != core:
        raise ValueError(
            f"samples.core must be what the network makes of the tile {samples.tile}, got {samples.core}; use {core}"
        )
