"""A person at the local page, for `annotator.py`: looks at an image and at what the network shows, and decides.

It sees what a person sees: the truth of the image in front of it stands for the eyes, and the prediction on the screen.
Each act takes the seconds that a person takes: a click 1.5 s, a stroke 3 s, an outline 8 s, going elsewhere 1.5 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CLICK, STROKE, OUTLINE = 1.5, 3.0, 8.0
GOOD, BAD = 0.85, 0.7  # IoU: above the first an object is accepted, below the second it is outlined
MUCH = 0.2  # of the area of a typical object: so much false prediction is worth a stroke of background
ACCEPTED = 2  # objects that are accepted in one visit
TRIED = 60  # strokes that come to mind, of which the one over most errors is drawn

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Act:
    """Something to do: the fields of a stroke for the page, its seconds, and whether it touches an object."""

    fields: dict[str, Any]
    seconds: float
    touches: bool = False


@dataclass
class Person:
    """Annotates objects (labels 1..N) or two classes (0 and 1). `size` is the width of typical structures."""

    task: str
    size: float
    rng: np.random.Generator
    done: dict[int, set[int]] = field(default_factory=dict)  # objects of each image that were annotated
    accepted: int = 0
    outlined: bool = False  # the last act was an outline: strokes of background and outlines take turns

    def begin(self) -> None:
        """Look at another image."""
        self.accepted, self.outlined = 0, False

    def decide(self, image: int, truth: Labels, painted: Labels, shown: Labels | None) -> Act | None:
        """The next act on an image; None where the person sees nothing that is worth its time."""
        if self.task == "classes":
            return self._paint_class(image, truth, painted, shown)
        done = self.done.setdefault(image, set())
        if shown is None:
            self.outlined = not self.outlined
            if self.outlined:
                return self._outline(image, truth, [n for n in range(1, truth.max() + 1) if n not in done])
            near = ndimage.distance_transform_edt(truth == 0) < self.size
            return self._stroke(image, (truth == 0) & (painted < 0), near, 0)
        fits, partner = fits_of(truth, shown)
        free = [n for n in range(1, truth.max() + 1) if n not in done and (painted[truth == n] < 0).mean() > 0.5]
        bad = sorted((n for n in free if fits[n] < BAD), key=lambda n: fits[n] + 0.3 * self.rng.random())
        false = (shown > 0) & (truth == 0) & (painted < 0)
        if false.sum() > MUCH * np.pi * self.size**2 / 4 and (self.outlined or not bad):
            self.outlined = False
            return self._stroke(image, (truth == 0) & (painted < 0), false, 0)
        if bad:
            self.outlined = True
            return self._outline(image, truth, bad[:1])
        good = [n for n in free if fits[n] > GOOD]
        if good and self.accepted < ACCEPTED:
            self.accepted += 1
            number = int(self.rng.choice(good))
            done.add(number)
            y, x = np.argwhere((truth == number) & (shown == partner[number]))[0].tolist()
            return Act({"kind": "accept", "image": image, "point": [y, x]}, CLICK, touches=True)
        return None

    def _outline(self, image: int, truth: Labels, numbers: list[int]) -> Act | None:
        if not numbers:
            return None
        number = int(numbers[0] if len(numbers) == 1 else self.rng.choice(numbers))
        self.done[image].add(number)
        fields = {"kind": "fill", "image": image, "points": contour(truth == number), "value": "new", "over": False}
        return Act(fields, OUTLINE, touches=True)

    def _paint_class(self, image: int, truth: Labels, painted: Labels, shown: Labels | None) -> Act | None:
        """A stroke of the class that is shown wrongly most; of both in turn while nothing is shown."""
        wrong = np.ones(truth.shape, bool) if shown is None else shown != truth
        counts = [int((wrong & (truth == value) & (painted < 0)).sum()) for value in (0, 1)]
        value = int(np.argmax(counts)) if shown is not None else int((painted == 0).any() and not (painted == 1).any())
        allowed = truth == value if value == 0 else ndimage.binary_erosion(truth == 1, iterations=2)
        return self._stroke(image, allowed, wrong & (painted < 0), value)

    def _stroke(self, image: int, allowed: Mask, wanted: Mask, value: int) -> Act | None:
        """A straight stroke within `allowed` over as much of `wanted` as comes to mind."""
        places = np.argwhere(allowed)
        if len(places) == 0:
            return None
        radius = self._radius(value)
        chance = 0.001 + wanted[tuple(places.T)]
        best, found = -1.0, None
        for index in self.rng.choice(len(places), size=TRIED, p=chance / chance.sum()):
            line = straight(allowed, places[index], 4 * self.size, self.rng.uniform(0, np.pi))
            worth = float(wanted[tuple(line.T)].sum()) + 0.02 * len(line)
            if worth > best:
                best, found = worth, line
        assert found is not None
        room = ndimage.distance_transform_edt(allowed)[tuple(found.T)].min()  # a person keeps away from the edge
        radius = min(radius, max(0.5, float(room) - 1))
        points = [[int(y), int(x)] for y, x in found[[0, -1]]]
        return Act({"kind": "paint", "image": image, "points": points, "radius": radius, "value": value}, STROKE)

    def _radius(self, value: int) -> float:
        if self.task == "classes":
            return 2.0 if value == 0 else 4.0
        return max(2.0, self.size / 8)


def straight(allowed: Mask, middle: NDArray[np.int64], length: float, angle: float) -> NDArray[np.int64]:
    """Pixels (N, 2) of a line through `middle` that stay within `allowed`, to both sides of it."""
    steps = np.arange(-int(length / 2), int(length / 2) + 1)
    line = np.rint(middle + steps[:, None] * np.array([np.sin(angle), np.cos(angle)])).astype(int)
    inside = ((line >= 0) & (line < allowed.shape)).all(axis=1)
    inside[inside] = allowed[tuple(line[inside].T)]
    outside, centre = np.flatnonzero(~inside), len(line) // 2
    before, after = outside[outside < centre], outside[outside > centre]
    first, last = (before[-1] + 1 if len(before) else 0), (after[0] if len(after) else len(line))
    kept: NDArray[np.int64] = line[first:last]
    return kept if len(kept) else middle[None]


def fits_of(truth: Labels, shown: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each true object 0..N: its IoU with the shown object that fits it best, and the number of that one."""
    names, dense = np.unique(shown, return_inverse=True)
    dense = dense.reshape(shown.shape)
    both = np.zeros((int(truth.max()) + 1, len(names)), np.int64)
    np.add.at(both, (truth.ravel(), dense.ravel()), 1)
    union = both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both
    fits = np.where(names > 0, both / np.maximum(1, union), 0.0)
    return fits.max(axis=1), names[fits.argmax(axis=1)]


def contour(mask: Mask) -> list[list[float]]:
    """The outline of an object as a person draws it, at most 200 points (y, x)."""
    from skimage.measure import find_contours

    longest = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
    step = max(1, len(longest) // 200)
    points: list[list[float]] = np.clip(longest[::step], 0, np.array(mask.shape) - 1).round(2).tolist()
    return points
