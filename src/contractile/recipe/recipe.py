"""A training run as one frozen value. On disk it is a TOML file with the same fields."""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from contractile.augment import AugmentConfig
from contractile.dataset import SampleConfig
from contractile.errors import in_one_line
from contractile.loss import LossConfig
from contractile.targets import TargetConfig
from contractile.unet import UNetConfig

YEAR = 365 * 24 * 60  # minutes


@in_one_line
class OptimizerConfig(BaseModel):
    """How weights follow the gradient. The learning rate rises over `warmup` steps and then follows `schedule`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sgd", "adamw", "muon"] = Field(
        default="muon",
        description="`sgd`: gradient descent with momentum, as in the paper; `adamw`: Adam; `muon`: steps of "
        "kernels made orthogonal, and Adam for everything else",
    )
    learning_rate: float = Field(
        default=3e-3,
        gt=0,
        le=100,
        description="largest rate; with Muon, kernels and the last layer take several times as much",
    )
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="of SGD and Muon; for AdamW, the decay of the first moment"
    )
    weight_decay: float = Field(
        default=1e-2, ge=0, le=100, description="each step shrinks weights by this factor times their rate"
    )
    warmup: int = Field(
        default=50, ge=0, le=10**9, description="steps over which the rate rises, at most a quarter of all"
    )
    schedule: Literal["constant", "cosine"] = Field(default="cosine", description="cosine falls to 0 at the end")


@in_one_line
class Recipe(BaseModel):
    """Everything that a training run depends on. With `steps` set, the run can be repeated exactly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(default="default", description="the named recipe that this one starts from")
    network: UNetConfig
    samples: SampleConfig
    targets: TargetConfig
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    minutes: float | None = Field(
        default=None,
        gt=0,
        le=YEAR,
        examples=[10],
        description="time budget; turned into steps at the start of the run",
    )
    steps: int | None = Field(
        default=None, ge=1, le=10**9, examples=[500], description="optimiser steps; where given, minutes do not count"
    )
    validations: int = Field(
        default=8, ge=1, le=10**5, description="how often validation images are scored during the run"
    )
    score: Literal["pq", "f1", "ap", "seg"] = Field(
        default="pq", description="objects: the score that decides which network is kept, and how objects are decoded"
    )
    val_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="fraction of the annotated images held out when no validation images are given; where that is less "
        "than one image, a part of the last one",
    )
    folds: int = Field(
        default=1,
        ge=1,
        le=20,
        examples=[3],
        description="networks that share the time; each leaves out another part of the images, and their mean is used",
    )
    axes: str | None = Field(
        default=None,
        examples=["YXC"],
        description="letters of the axes of the image files, such as YXC, where the files do not say it right",
    )
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda` (an NVIDIA GPU) or `mps` (a GPU by Apple)")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of the numbers in training; `auto` takes bfloat16 where the hardware multiplies it"
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**63 - 1,
        description="of all random numbers; the same seed and steps on the same machine give the same network",
    )

    @classmethod
    def paper(cls, *, dims: Literal[2, 3] = 2) -> Recipe:
        """The 2015 paper: one 572-pixel tile per step, momentum 0.99, weight map, elastic deformation.

        The paper names no learning rate, schedule or intensity scaling; docs/log.md explains those chosen here.
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
            ),
            targets=TargetConfig(task="objects", w0=10, sigma=5, balance=True),
            optimizer=OptimizerConfig(
                kind="sgd", learning_rate=1e-4, momentum=0.99, weight_decay=0, warmup=0, schedule="constant"
            ),
        )

    def to_toml(self) -> str:
        """The recipe as TOML text; fields without a value are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
