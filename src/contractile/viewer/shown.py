"""All that a local page shows, and what it may ask of it: the thin layer between requests and the session."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, NotFound
from contractile.images import Source, read_labels
from contractile.viewer import actions
from contractile.viewer.canvas import Region, box, middles

if TYPE_CHECKING:
    from contractile.viewer.jobs import Jobs
    from contractile.viewer.learning import Learning
    from contractile.viewer.news import Newsroom
    from contractile.viewer.pictures import Pictures
    from contractile.viewer.session import Change, Session

LARGEST_REGION = 2048**2  # pixels of a layer that one request gives
COUNTED = 2**24  # pixels of the box of an object whose pixels are counted
TRUTHS = 4  # images whose true labels are kept in memory
PREDICTED = ("prediction", "inside", "certainty")
LAYERS = ("pixels", "annotation", "held", *PREDICTED, "truth")


class Truths:
    """True labels (Y, X) of images that have some, read when they are first asked for."""

    def __init__(self, sources: Mapping[int, Source]) -> None:
        self._sources = sources
        self._read = lru_cache(TRUTHS)(lambda image: read_labels(sources[image]))

    def __contains__(self, image: int) -> bool:
        return image in self._sources

    def __getitem__(self, image: int) -> NDArray[np.int32]:
        return self._read(image)


@dataclass(frozen=True)
class Shown:
    """The session that the page shows, its images, what learns from it, its jobs, and who hears of it.

    `learning` is None where nothing learns. `model` is the file of the model that it started from.
    """

    session: Session
    pictures: Pictures
    sources: Sequence[Source]
    jobs: Jobs
    news: Newsroom
    learning: Learning | None = None
    model: Path | None = None
    truths: Truths = field(default_factory=lambda: Truths({}))

    def describe(self) -> dict[str, Any]:
        """All that a page needs to begin."""
        session = self.session
        return {
            "name": session.folder.resolve().name,
            "task": session.task,
            "classes": [{"value": one.value, "name": one.name, "colour": one.colour} for one in session.classes],
            "writable": True,
            "changes": session.changes,
            "undo": session.can_undo,
            "redo": session.can_redo,
            "learning": None if self.learning is None else self.learning.status(),
            "images": [self.describe_image(image) for image in range(len(self.pictures))],
        }

    def describe_image(self, image: int) -> dict[str, Any]:
        facts = self.pictures.facts(image)
        channels = [
            {"name": one.name, "colour": one.colour, "low": one.low, "high": one.high} for one in facts.channels
        ]
        return {
            "id": image,
            "name": facts.name,
            "file": str(facts.file),
            "page": facts.page,
            "pages": facts.pages,
            "shape": facts.shape,
            "channels": channels,
            "type": facts.dtype,
            "levels": facts.levels,
            "pixel_size_um": facts.pixel_size_um,
            "objects": len(self.session.objects(image)),
            "truth": image in self.truths,
        }

    def check_image(self, image: int) -> tuple[int, int]:
        """The shape of an image. Raises NotFound where there is none of this number."""
        if not 0 <= image < len(self.pictures):
            raise NotFound(f"there is no image {image}, there are {len(self.pictures)}", "reload the page")
        shape = self.pictures.facts(image).shape
        return int(shape[0]), int(shape[1])

    def layer(self, image: int, name: str, query: Mapping[str, Any]) -> NDArray[Any] | None:
        """The numbers of a layer in a region of a level; None where there are none yet.

        Raises NotFound for a layer that is not known; ContractileError for a region that is too large, or not there.
        """
        self.check_image(image)
        if name not in LAYERS:
            raise NotFound(f"the layers are {', '.join(LAYERS)}, got {name!r}", "name one of them")
        levels = self.pictures.facts(image).levels
        level = actions.whole(query, "level", most=len(levels) - 1)
        region = _region(query, levels[level])
        if name == "pixels":
            return self.pictures.pixels(image, level, region)
        factor = _factor(levels, level)
        if name in PREDICTED:
            return None if self.learning is None else self.learning.layer(image, name, factor, region)
        if name == "truth":
            return self.truths[image][np.ix_(*middles(factor, region))] if image in self.truths else None
        if name == "held":
            return self.session.held(image, region, factor=factor)
        return self.session.annotation(image, factor, region)

    def act(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Do a stroke. Raises ContractileError, and then nothing has changed."""
        kind = actions.kind_of(fields)
        image = actions.whole(fields, "image")
        shape = self.check_image(image)
        if kind in actions.ACCEPTING:
            return self._accept(kind, image, fields, shape)
        return self.say_change(self.session.act(actions.action_of(fields)))

    def _accept(self, kind: str, image: int, fields: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Any]:
        from contractile.viewer.acts import Add, AddAll

        learning = self.need_learning()
        if kind == "accept_all":
            region, labels = learning.objects_in(image, actions.region_of(fields, shape))
            if not (labels > 0).any():
                raise ContractileError("no predicted object lies wholly in view", "zoom out, or wait for a prediction")
            return self.say_change(self.session.act(AddAll(image=image, region=box(region), labels=labels)))
        found = learning.object_at(image, *actions.point_of(fields))
        if found is None:
            raise ContractileError("no predicted object is there", "point at one, or wait for a prediction")
        if found.cut:
            problem = "the predicted object is cut off, since the prediction ends there"
            raise ContractileError(problem, "move it to the middle of the view, and wait for a prediction")
        value = "new" if self.session.task == "objects" else found.value
        add = Add(image=image, region=box(found.region), mask=found.mask, value=value)
        return self.say_change(self.session.act(add))

    def say_change(self, change: Change | None) -> dict[str, Any]:
        """The answer to a stroke; without a change (nothing to undo) it names no region."""
        if change is None:
            return {"image": None, "changed": None, "number": None, "changes": self.session.changes}
        changed = None if change.region is None else box(change.region)
        return {"image": change.image, "changed": changed, "number": change.number, "changes": change.changes}

    def say_news(self, change: Change) -> dict[str, Any]:
        """A change in words for all pages."""
        region = None if change.region is None else box(change.region)
        return {"image": change.image, "region": region, "changes": change.changes}

    def need_learning(self) -> Learning:
        """What learns. Raises ContractileError where nothing does."""
        if self.learning is None:
            raise ContractileError("nothing learns in this session", "start the page anew")
        return self.learning

    def object_at(self, image: int, y: int, x: int) -> dict[str, Any]:
        """What is under the pointer."""
        shape = self.check_image(image)
        if not (0 <= y < shape[0] and 0 <= x < shape[1]):
            problem = f"y and x must lie in the image of {shape[0]} x {shape[1]} pixels, got {y}, {x}"
            raise ContractileError(problem, actions.RESEND)
        place = slice(y, y + 1), slice(x, x + 1)
        values = self.pictures.pixels(image, 0, place)[:, 0, 0]
        size = self.pictures.facts(image).pixel_size_um
        pixel_um2 = None if size is None else math.prod(size)
        return {
            "values": values.tolist(),
            "annotated": self._annotated(image, int(self.session.labels(image, place)[0, 0]), pixel_um2),
            "predicted": self._predicted(image, y, x, pixel_um2),
        }

    def _annotated(self, image: int, number: int, pixel_um2: float | None) -> dict[str, Any] | None:
        if number < 0 or (number == 0 and self.session.task == "objects"):
            return None
        area, held = None, False
        if self.session.task == "objects":
            region = self.session.find(image, number)
            held = number in self.session.held_numbers(image)
            if region is not None and math.prod(part.stop - part.start for part in region) <= COUNTED:
                area = int((self.session.labels(image, region) == number).sum())
        return {"number": number, "area_px": area, "area_um2": _times(area, pixel_um2), "held": held}

    def _predicted(self, image: int, y: int, x: int, pixel_um2: float | None) -> dict[str, Any] | None:
        found = None if self.learning is None else self.learning.object_at(image, y, x)
        if found is None:
            return None
        area = int(found.mask.sum())
        sure = {"probability": found.probability, "confidence": found.confidence}
        return {"area_px": area, "area_um2": _times(area, pixel_um2), **sure}


def _times(area: int | None, pixel_um2: float | None) -> float | None:
    return None if area is None or pixel_um2 is None else area * pixel_um2


def _region(query: Mapping[str, Any], shape: Sequence[int]) -> Region:
    """The region of a query, cut off at the edge of the level."""
    y, x = actions.whole(query, "y", most=shape[0] - 1), actions.whole(query, "x", most=shape[1] - 1)
    h, w = actions.whole(query, "h", least=1), actions.whole(query, "w", least=1)
    region = slice(y, min(y + h, shape[0])), slice(x, min(x + w, shape[1]))
    if h * w > LARGEST_REGION:
        problem = f"a request gives at most {LARGEST_REGION:,} pixels, got h {h:,} and w {w:,}"
        raise ContractileError(problem, "ask for tiles, or for a lower level")
    return region


def _factor(levels: Sequence[Sequence[int]], level: int) -> tuple[float, float]:
    """How many pixels of the full resolution one pixel of a level has along Y and X."""
    (height, width), (rows, columns) = levels[0], levels[level]
    return height / rows, width / columns
