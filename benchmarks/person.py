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
from skimage.morphology import skeletonize

CLICK, STROKE, OUTLINE = 1.5, 3.0, 8.0
GOOD = 0.85  # IoU: above it an object is accepted as it is shown, below it is outlined
TOGETHER = 3  # neighbours that are annotated in one visit: the borders between them are what is hardest to learn
AROUND = 0.6  # of the width of objects: how far around them a lasso of background goes
STROKES, MUCH = 2, 0.5  # strokes in one visit over false predictions, each over so much of a typical object
BEYOND = 4.0  # pixels that a cut goes beyond the border between two objects
TRIED = 60  # strokes that come to mind, of which the one over most errors is drawn

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Act:
    """Something to do: the fields of a stroke for the page, its seconds, and how many more objects it touches."""

    fields: dict[str, Any]
    seconds: float
    touches: int = 0


@dataclass
class Person:
    """Annotates objects (labels 1..N) or two classes (0 and 1). `size` is the width of typical structures.

    Of objects, a person annotates a few neighbours at a time: those that are shown rightly by a click, the others with
    their outline. Then it draws a lasso of background around them, and goes elsewhere.
    """

    task: str
    size: float
    rng: np.random.Generator
    done: dict[int, set[int]] = field(default_factory=dict)  # objects of each image that were annotated
    latest: set[int] = field(default_factory=set)  # the objects of the last act
    together: list[int] | None = None  # the objects of this visit
    cut: list[list[float]] | None = None  # the line along which an object that was just accepted is two
    surrounded: bool = False
    strokes: int = 0  # over false predictions, in this visit
    begun: bool = False  # there is background
    place: tuple[slice, slice] | None = None  # what the page suggested to look at

    def begin(self, place: tuple[slice, slice] | None = None) -> None:
        """Look at another image, or at another place."""
        self.together, self.cut, self.surrounded, self.strokes, self.place = None, None, False, 0, place

    def decide(self, image: int, truth: Labels, painted: Labels, shown: Labels | None) -> Act | None:
        """The next act on an image; None where the person sees nothing that is worth its time."""
        if self.task == "classes":
            return self._paint_class(image, truth, painted, shown)
        if self.cut is not None:
            return self._split(image, painted)
        done = self.done.setdefault(image, set())
        free = [n for n in range(1, truth.max() + 1) if n not in done and (painted[truth == n] < 0).mean() > 0.5]
        fits, partner = fits_of(truth, np.zeros_like(truth) if shown is None else shown)
        if self.together is None:
            self.together = self._choose(truth, free, fits)
        free = [n for n in self.together if n in free]
        if not self.begun and len(free) < len(self.together):
            self.begun = True
            return self._stroke(image, (truth == 0) & (painted < 0), self._near(truth, self.together), 0)
        if free and fits[free[0]] > GOOD:
            self._mark(image, free[0])
            y, x = np.argwhere((truth == free[0]) & (shown == partner[free[0]]))[0].tolist()
            return Act({"kind": "accept", "image": image, "point": [y, x]}, CLICK, touches=1)
        if free and shown is not None and (act := self._accept_two(image, truth, shown, free)):
            return act
        if free:
            return self._outline(image, truth, free[0])
        if not self.surrounded and self.together:
            self.surrounded = True
            return self._surround(image, truth, painted)
        false = (truth == 0) & (painted < 0) & (False if shown is None else shown > 0)
        if self.strokes < STROKES and false.sum() > MUCH * np.pi * self.size**2 / 4:
            self.strokes += 1
            return self._stroke(image, (truth == 0) & (painted < 0), false, 0)
        return None

    def give_up(self, image: int) -> None:
        """The page refused the last act, since what it shows has changed meanwhile."""
        self.done[image] -= self.latest
        self.cut = None

    def _mark(self, image: int, *numbers: int) -> None:
        self.latest = set(numbers)
        self.done[image] |= self.latest

    def _choose(self, truth: Labels, free: list[int], fits: NDArray[np.float64]) -> list[int]:
        """An object that is shown wrongly, where the page suggested to look, and its nearest neighbours."""
        wrong = [n for n in free if fits[n] <= GOOD]
        here = [n for n in wrong if self.place is not None and (truth[self.place] == n).any()]
        if not wrong:
            return []
        first = min(here or wrong, key=lambda n: fits[n] + 0.3 * self.rng.random())
        far = ndimage.distance_transform_edt(truth != first)
        reach = {n: float(far[truth == n].min()) for n in free}
        return [n for n in sorted(free, key=reach.__getitem__) if reach[n] <= width_of(truth == first)][:TOGETHER]

    def _near(self, truth: Labels, objects: list[int], share: float = AROUND) -> Mask:
        """What lies around these objects, as far as a share of their width."""
        own = np.isin(truth, objects)
        near: Mask = ndimage.distance_transform_edt(~own) <= share * width_of(own) / len(objects) ** 0.5
        return near

    def _surround(self, image: int, truth: Labels, painted: Labels) -> Act:
        """A lasso of background around the objects of this visit, which leaves out all others; else a stroke beside."""
        assert self.together
        others = (truth > 0) & ~np.isin(truth, self.together)
        for share in (AROUND, AROUND / 2):
            room = self._near(truth, self.together, share) & ~ndimage.binary_dilation(others)
            pieces, count = ndimage.label(room)
            largest = pieces == 1 + int(np.bincount(pieces[pieces > 0], minlength=count + 1)[1:].argmax())
            if not (ndimage.binary_fill_holes(largest) & others).any():
                fields = {"kind": "fill", "image": image, "points": contour(largest), "value": 0, "over": False}
                return Act(fields, OUTLINE)
        return self._stroke(image, (truth == 0) & (painted < 0), self._near(truth, self.together), 0)

    def _accept_two(self, image: int, truth: Labels, shown: Labels, free: list[int]) -> Act | None:
        """Accept two neighbours that are shown as one object, rightly but for the border between them; cut it next."""
        inside = np.isin(truth, free) & (shown > 0)
        pairs, counts = np.unique(np.stack([shown[inside], truth[inside]]), axis=1, return_counts=True)
        sizes, shown_sizes = np.bincount(truth.ravel()), np.bincount(shown.ravel())
        mostly = counts > 0.5 * sizes[pairs[1]]
        for number in self.rng.permutation(np.unique(pairs[0, mostly])).tolist():
            both = pairs[1, mostly & (pairs[0] == number)].tolist()
            if len(both) != 2:
                continue
            common = int((np.isin(truth, both) & (shown == number)).sum())
            if common > GOOD * (shown_sizes[number] + sum(sizes[n] for n in both) - common):
                self._mark(image, *both)
                self.cut = border(truth, *both)
                y, x = np.argwhere((truth == both[0]) & (shown == number))[0].tolist()
                return Act({"kind": "accept", "image": image, "point": [y, x]}, CLICK, touches=1)
        return None

    def _split(self, image: int, painted: Labels) -> Act | None:
        line, self.cut = self.cut, None
        assert line is not None
        y, x = np.rint(np.mean(line, axis=0)).astype(int).tolist()
        if painted[y, x] <= 0:
            return None
        return Act({"kind": "split", "image": image, "number": int(painted[y, x]), "points": line}, STROKE, touches=1)

    def _outline(self, image: int, truth: Labels, number: int) -> Act:
        self._mark(image, number)
        fields = {"kind": "fill", "image": image, "points": contour(truth == number), "value": "new", "over": True}
        return Act(fields, OUTLINE, touches=1)

    def _paint_class(self, image: int, truth: Labels, painted: Labels, shown: Labels | None) -> Act | None:
        """A stroke of the class that is missed most; of both in turn while nothing is shown.

        What a person notices are gaps in thin structures, and spots within wide ones; not how thick a line is.
        """
        lines, rooms = skeletonize(truth == 0), ndimage.binary_erosion(truth == 1, iterations=3)
        missed = [part & (painted < 0) & (True if shown is None else shown != truth) for part in (lines, rooms)]
        if shown is None:
            value = int((painted == 0).sum() > (painted == 1).sum())
        else:
            lengths = [int(missed[0].sum()), int(missed[1].sum()) / (2 * self._radius(1))]
            value = int(np.argmax(lengths))
            if lengths[value] < self.size:
                return None
        if value == 0:
            return self._stroke(image, truth == 0, missed[0], 0, ridge=np.argwhere(lines))
        return self._stroke(image, rooms, missed[1], 1)

    def _stroke(
        self, image: int, allowed: Mask, wanted: Mask, value: int, *, ridge: NDArray[np.int64] | None = None
    ) -> Act | None:
        """A stroke within `allowed` over as much of `wanted` as comes to mind: straight, or along a ridge (N, 2)."""
        places = np.argwhere(allowed)
        if len(places) == 0:
            return None
        best, found, room = -1.0, places[:1], ndimage.distance_transform_edt(allowed)
        starts = places if ridge is None else ridge
        chance = 0.001 + wanted[tuple(starts.T)]
        for index in self.rng.choice(len(starts), size=TRIED, p=chance / chance.sum()):
            if ridge is not None:
                line = along(starts, int(index), allowed.shape, int(4 * self.size))
            else:
                line = straight(allowed, places[index], 4 * self.size, self.rng.uniform(0, np.pi))
            worth = float(wanted[tuple(line.T)].sum()) + 0.02 * len(line)
            if worth > best:
                best, found = worth, line
        widest = max(0.5, float(room[tuple(found.T)].min()) - 1)  # a person keeps away from the edge
        radius = min(self._radius(value), widest)
        points = (found[:: max(1, len(found) // 40)] if ridge is not None else found[[0, -1]]).tolist()
        return Act({"kind": "paint", "image": image, "points": points, "radius": radius, "value": value}, STROKE)

    def _radius(self, value: int) -> float:
        if self.task == "classes":
            return 2.0 if value == 0 else 4.0
        return max(2.0, self.size / 8)


def along(ridge: NDArray[np.int64], first: int, shape: tuple[int, ...], length: int) -> NDArray[np.int64]:
    """Pixels (N, 2) of a path along a ridge, the pixels (M, 2) of a skeleton, through one of them, to both sides."""
    free = np.zeros((shape[0] + 2, shape[1] + 2), bool)  # with a border, so that each pixel has neighbours
    free[tuple(ridge.T + 1)] = True
    sides: list[list[tuple[int, int]]] = []
    start = int(ridge[first][0]), int(ridge[first][1])
    free[start[0] + 1, start[1] + 1] = False
    for _ in range(2):
        (y, x), side = start, []
        while len(side) < length // 2:
            near = np.argwhere(free[y : y + 3, x : x + 3])
            if len(near) == 0:
                break
            y, x = (int(n) for n in (y, x) + near[0] - 1)
            free[y + 1, x + 1] = False
            side.append((y, x))
        sides.append(side)
    return np.array([*sides[0][::-1], start, *sides[1]])


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


def width_of(mask: Mask) -> float:
    """The diameter in pixels of a disc as large as a mask."""
    return float(np.sqrt(4 * mask.sum() / np.pi))


def border(truth: Labels, one: int, other: int) -> list[list[float]]:
    """The line (two points y, x) between two neighbours, a little longer than their border."""
    here = ndimage.distance_transform_edt(truth != one), ndimage.distance_transform_edt(truth != other)
    near = np.maximum(*here)
    places = np.argwhere(near <= near.min() + 1).astype(float)
    middle = places.mean(axis=0)
    _, _, directions = np.linalg.svd(places - middle, full_matrices=True)
    reach = (places - middle) @ directions[0]
    ends = [middle + directions[0] * (reach.min() - BEYOND), middle + directions[0] * (reach.max() + BEYOND)]
    return [np.clip(end, 0, np.array(truth.shape) - 1).tolist() for end in ends]


def contour(mask: Mask) -> list[list[float]]:
    """The outline of an object as a person draws it, at most 200 points (y, x)."""
    from skimage.measure import find_contours

    longest = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
    step = max(1, len(longest) // 200)
    points: list[list[float]] = np.clip(longest[::step], 0, np.array(mask.shape) - 1).round(2).tolist()
    return points
