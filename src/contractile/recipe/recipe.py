"""A run as one frozen value. On disk it is a TOML file whose keys are these fields."""

from __future__ import annotations

from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from contractile.augment import AugmentConfig
from contractile.dataset import SampleConfig
from contractile.intensity import Normalization
from contractile.loss import LossConfig
from contractile.targets import TargetConfig
from contractile.unet import UNetConfig


class OptimizerConfig(BaseModel):
    """How weights follow the gradient. The learning rate rises over `warmup` steps, then follows `schedule` to 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sgd", "adamw", "muon"] = "muon"
    learning_rate: float = Field(
        default=3e-3, gt=0, description="the largest; under Muon kernels and the last layer take several times this"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of SGD and Muon; the first-moment decay of AdamW")
    weight_decay: float = Field(default=1e-2, ge=0, description="a step shrinks weights by this times their rate")
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
    score: Literal["pq", "f1", "ap", "seg"] = Field(
        default="pq", description="objects: what says which network is kept, and how its output becomes objects"
    )
    val_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="of the annotated images, when none are named for validation; of few, a part of the last",
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
