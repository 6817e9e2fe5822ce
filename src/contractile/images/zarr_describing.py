"""What is known of an array -> the metadata of OME-Zarr, versions 0.4 and 0.5, built and checked by yaozarrs."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.images.image import Size
from contractile.images.overlay import OBJECTS
from contractile.images.tiff_forms import SOFTWARE
from contractile.images.zarr_layout import Grid, Level

logger = logging.getLogger(__name__)

VERSIONS = ("0.4", "0.5")
MOST_OBJECTS = 4000  # of which colours and properties are written: viewers read all metadata before they show anything
SHOWN = ["FFFFFF", "FF8C00", "00BEFF", "00D296", "FF78D2", "FFEB3C"]  # colours of channels
KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
UNITS = {"time": "second", "space": "micrometer"}
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Facts:
    """What is known of an array beside its values, for the metadata of an OME-Zarr.

    `pixel_size_um` and `origin_um` (where the centre of the first pixel is) have one entry per axis of space of a page,
    each of which may be None in a size. A list of sizes, one for each page, is written where all are the same.
    `interval_s` is the time between two frames, where the stack does not give it. `channels` are names, one for each.

    Of labels: `count` is the largest number, `objects` a table with a column `id` and others of the same length. Each
    object up to `MOST_OBJECTS` of them gets a colour, and its row as properties; beyond that none does, since viewers
    read all metadata before they show anything. A table in which numbers come twice, as in stacks, is left out.
    """

    pixel_size_um: Any = None
    origin_um: Size = None
    interval_s: float | None = None
    channels: Sequence[str] = ()
    count: int | None = None
    objects: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Scale:
    """The size of a step and the place of the first element, by the letter of the axis, where they are known."""

    sizes: Numbers
    origins: Numbers

    def along(self, level: Level, axes: str) -> list[dict[str, Any]]:
        """The transformations of a resolution: scale, and translation where there is one.

        The first element of a lower resolution stands for several, and lies in their middle.
        """
        steps = [self.sizes.get(letter, 1.0) for letter in axes]
        places = [
            self.origins.get(letter, 0.0) + step * (2**times - 1) / 2
            for letter, step, times in zip(axes, steps, level.halved, strict=True)
        ]
        scale = [float(step * 2**times) for step, times in zip(steps, level.halved, strict=True)]
        found: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        return [*found, {"type": "translation", "translation": places}] if any(places) or self.origins else found


def describe_image(name: str, grid: Grid, levels: Sequence[Level], scale: Scale, method: str) -> dict[str, Any]:
    """`multiscales` of an image, its resolutions in folders 0, 1, ..."""
    axes = [_axis(letter, scale.sizes) for letter in grid.axes]
    datasets = [
        {"path": f"{number}", "coordinateTransformations": scale.along(level, grid.axes)}
        for number, level in enumerate(levels)
    ]
    made = {"type": method, "metadata": {"software": SOFTWARE}}
    return {"multiscales": [{"name": name, "axes": axes, "datasets": datasets, **made}]}


def _axis(letter: str, sizes: Numbers) -> dict[str, str]:
    kind = KINDS.get(letter)
    axis = {"name": letter.lower()} | ({"type": kind} if kind else {})
    return axis | ({"unit": UNITS[kind]} if kind in UNITS and letter in sizes else {})


def describe_channels(names: Sequence[str], count: int) -> dict[str, Any]:
    """`omero` of an image whose channels are probabilities. Raises ContractileError for another number of names."""
    if len(names) != count:
        problem = f"channels must have one name for each of {count} channels, got {len(names)}"
        raise ContractileError(problem, "name all channels, or none")
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    channels = [
        {"label": name, "color": SHOWN[number % len(SHOWN)], "window": window, "active": True}
        for number, name in enumerate(names)
    ]
    return {"omero": {"channels": channels}}


def describe_labels(facts: Facts, *, inside: bool) -> dict[str, Any]:
    """`image-label` of labels: the image that they lie `inside`, colours, properties. All numbers are integers."""
    found: dict[str, Any] = {"source": {"image": "../../"}} if inside else {}
    numbers = _numbers(facts)
    if numbers:
        found["colors"] = [
            {"label-value": number, "rgba": [*map(int, OBJECTS[number % len(OBJECTS)]), 255]} for number in numbers
        ]
    if numbers and facts.objects is not None:
        columns = {name: np.asarray(values).tolist() for name, values in facts.objects.items() if name != "id"}
        found["properties"] = [
            {"label-value": number}
            | {name: value for name, value in zip(columns, row, strict=True) if _is_plain(value)}
            for number, row in zip(numbers, zip(*columns.values(), strict=True), strict=True)
        ]
    return {"image-label": found}


def _numbers(facts: Facts) -> list[int]:
    """The objects that get colours and properties."""
    if facts.objects is not None:
        numbers = [int(number) for number in np.asarray(facts.objects["id"])]
    else:
        numbers = list(range(1, min(facts.count or 0, MOST_OBJECTS + 1) + 1))
    if len(numbers) > MOST_OBJECTS:
        logger.info(
            "more than %d objects: viewers would wait for colours and properties, so none are written", MOST_OBJECTS
        )
        return []
    return numbers if len(set(numbers)) == len(numbers) else []


def _is_plain(value: Any) -> bool:
    """Whether JSON has this value."""
    return not isinstance(value, float) or math.isfinite(value)


def attributes(described: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The attributes of a group, checked against the specification. Raises ContractileError where they break it."""
    from pydantic import ValidationError  # both are slow to load, and not every result is a Zarr
    from yaozarrs import v04, v05

    models: Any = v05 if version == "0.5" else v04
    kind = models.LabelImage if "image-label" in described else models.Image
    try:
        kind.model_validate(json.loads(json.dumps(described, allow_nan=False)))
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ContractileError(
            f"OME-Zarr {version} has no place for this image ({first:.200})", "write TIFF"
        ) from error
    if version == "0.5":
        return {"ome": {"version": version, **described}}
    return _with_versions(described)


def _with_versions(described: Mapping[str, Any]) -> dict[str, Any]:
    """In 0.4 each part has a version of its own."""
    found = dict(described)
    found["multiscales"] = [{"version": "0.4", **one} for one in described["multiscales"]]
    if "image-label" in found:
        found["image-label"] = {"version": "0.4", **described["image-label"]}
    return found
