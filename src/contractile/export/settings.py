"""What can be chosen about an export."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contractile.errors import in_one_line

Text = Annotated[str, Field(min_length=1, max_length=200)]


@in_one_line
class ExportConfig(BaseModel):
    """In which form a model leaves, how grey values are scaled there, and what its package says about its people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Literal["onnx", "bioimageio"] = "bioimageio"
    grey: Literal["each", "fixed"] = Field(
        default="each", description="each image is scaled by its own percentiles, or all as the test image is"
    )
    name: str | None = Field(default=None, min_length=5, max_length=64, description="of the model")
    authors: tuple[Text, ...] = ()
    license: str | None = Field(default=None, min_length=1, max_length=60, description="SPDX identifier")
