"""The actions of a person on the annotation of one image, as they come from the page: checked, and nothing else.

Points are (y, x) in pixels of the full resolution, a region is [y0, y1, x0, x1]. A `value` is -1 (erase), 0
(background), the number of an object or class, or "new" (the next object).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contractile.errors import ContractileError, shown

MOST_POINTS = 100_000
FARTHEST = 1e7  # pixels; no image is larger

Place = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False)]
Point = tuple[Place, Place]
Points = Annotated[list[Point], Field(min_length=1, max_length=MOST_POINTS)]
Value = Annotated[int, Field(ge=-1, le=2**31 - 1)] | Literal["new"]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
Box = tuple[int, int, int, int]


class _Act(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, strict=False)

    image: Annotated[int, Field(ge=0)]


class Paint(_Act):
    """A brush of `radius` pixels along points."""

    kind: Literal["paint"] = "paint"
    points: Points
    radius: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
    value: Value


class Fill(_Act):
    """All within an outline; without `over` only what is unknown."""

    kind: Literal["fill"] = "fill"
    points: Annotated[list[Point], Field(min_length=3, max_length=MOST_POINTS)]
    value: Value
    over: bool = True


class Flood(_Act):
    """The connected pixels that have the label of the one under a point."""

    kind: Literal["flood"] = "flood"
    point: Point
    value: Value


class Merge(_Act):
    """Several objects become one, with the first of the numbers."""

    kind: Literal["merge"] = "merge"
    numbers: Annotated[list[Number], Field(min_length=2, max_length=1000)]


class Split(_Act):
    """An object is cut along a line."""

    kind: Literal["split"] = "split"
    number: Number
    points: Annotated[list[Point], Field(min_length=2, max_length=MOST_POINTS)]


class Delete(_Act):
    """All pixels of an object become unknown."""

    kind: Literal["delete"] = "delete"
    number: Number


class Background(_Act):
    """All pixels of an object become background."""

    kind: Literal["background"] = "background"
    number: Number


class Add(_Act):
    """A predicted object, a `mask` (bool) of a region, is taken over where nothing is known."""

    kind: Literal["add"] = "add"
    region: Box
    mask: NDArray[np.bool_]
    value: Value = "new"


class AddAll(_Act):
    """All predicted objects in a region, `labels` (int32) above 0, are taken over where nothing is known."""

    kind: Literal["add_all"] = "add_all"
    region: Box
    labels: NDArray[np.int32]


Action = Annotated[
    Paint | Fill | Flood | Merge | Split | Delete | Background | Add | AddAll, Field(discriminator="kind")
]
_adapter: TypeAdapter[Action] = TypeAdapter(Action)


def read_action(fields: Mapping[str, Any]) -> Action:
    """The action that these fields name, such as {"kind": "flood", "image": 0, "point": [1, 2], "value": 0}.

    Raises ContractileError for fields that make none.
    """
    try:
        return _adapter.validate_python(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the action"
        rule = first["msg"].replace("Input should be", "must be")
        problem = f"{where}: {rule}, got {shown(first['input'])}"
        raise ContractileError(problem, "give the fields that this kind of action has") from None
