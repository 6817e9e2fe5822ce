"""The parameters of decoding."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from contractile.errors import in_one_line


@in_one_line
class Decoding(BaseModel):
    """How probabilities become objects; stored in the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, ge=0, lt=1, description="inside is where its probability exceeds this")
    core: float = Field(default=0.5, ge=0, lt=1, description="a core is where its probability exceeds this")
    split: int = Field(
        default=0, ge=0, description="a core is split into pieces of at least so many pixels (0: it is not split)"
    )
    smooth: float = Field(default=0, ge=0, le=9, description="sigma in pixels of the blur of the core probability")
    min_size: int = Field(default=0, ge=0, description="objects of fewer pixels are dropped")
    sure: float = Field(default=0, ge=0, lt=1, description="objects with a lower mean probability inside are dropped")

    def scaled(self, factor: float, dims: int) -> Decoding:
        """The same decoding for an image with `factor` times as many pixels along each of its `dims` axes.

        The result is not validated: `smooth` may exceed the largest value that a card can hold.
        """
        sizes = {name: round(getattr(self, name) * factor**dims) for name in ("min_size", "split")}
        if self.split:
            sizes["split"] = max(1, sizes["split"])
        return self.model_copy(update={"smooth": self.smooth * factor, **sizes})
