"""What a stroke does to labels: pieces of the image, and the labels in each of them afterwards.

Points are (y, x) in pixels; the middle of the first pixel is (0, 0). What lies outside of the image is cut off. Pieces
are small, so that a stroke costs what it covers and not the box around it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.errors import ContractileError
from contractile.labels import connected
from contractile.viewer.canvas import TILE, UNKNOWN, Canvas, Labels, Region

Points = Sequence[tuple[float, float]]
Places = NDArray[np.float64]  # (N, 2)
Piece = tuple[Region, Labels]

LINE = 0.75  # pixels to each side of a line that splits: its pixels connect by their sides
EDGE = 0.5  # pixels to each side of an outline that belong to it
BLOCK = 1024  # pixels along Y and X of a piece that is filled
AREA = 4096  # pixels along Y and X that are left out at once, where a line is far away
SHARE = 0.05  # of the radius: points of a brush that are closer to one another draw nothing new
REACH = 2048  # pixels around the point that is flooded
MOST_FLOODED = 2**22  # pixels
LARGEST = 2**24  # pixels of the box of an object that is split


def paint(canvas: Canvas, points: Points, radius: float, value: int) -> Iterator[Piece]:
    """A brush of `radius` pixels drawn along points; the pixel under each point changes, however small the brush is."""
    places = np.asarray(points, float).reshape(-1, 2)
    line = _thinned(places, SHARE * radius)
    for region in _along(canvas, line, radius):
        mask = _near(line, radius, region) | _dots(places, region)
        yield region, np.where(mask, np.int32(value), canvas[region])


def fill(canvas: Canvas, outline: Points, value: int, *, over: bool = True) -> Iterator[Piece]:
    """All pixels whose middle lies within an outline or on it; without `over` only those that are unknown."""
    corners = np.asarray(outline, float).reshape(-1, 2)
    closed = np.concatenate([corners, corners[:1]])
    around = _around(canvas, corners, EDGE)
    for region in _parts(around, BLOCK) if around else ():
        mask = _within(corners, region) | _near(closed, EDGE, region) | _dots(corners, region)
        labels = canvas[region]
        yield region, np.where(mask if over else mask & (labels == UNKNOWN), np.int32(value), labels)


def flood(canvas: Canvas, point: tuple[float, float], value: int) -> Iterator[Piece]:
    """The connected pixels that have the label of the one under a point. Pixels connect along Y and X.

    Raises ContractileError where these are too many, or lie too far away.
    """
    y, x = (round(place) for place in point)
    if not (0 <= y < canvas.shape[0] and 0 <= x < canvas.shape[1]):
        return
    reach = 128
    while True:
        region = _window(canvas, (y, x), reach)
        labels = canvas[region]
        here = y - region[0].start, x - region[1].start
        pieces = connected(labels == labels[here])
        mask = pieces == pieces[here]
        is_whole = not _leaves(mask, region, canvas.shape)
        if mask.sum() > MOST_FLOODED or (not is_whole and reach >= REACH):
            rule = f"an area to fill must have at most {MOST_FLOODED:,} pixels, all within {REACH:,} of the point"
            raise ContractileError(f"{rule}, got a larger one", "close its outline first, or draw around a part of it")
        if is_whole:
            yield region, np.where(mask, np.int32(value), labels)
            return
        reach *= 2


def replace(canvas: Canvas, number: int, other: int) -> Iterator[Piece]:
    """All pixels of a number above 0 get another one: merges two objects, or makes one background."""
    for region in canvas.tiles_of(number):
        labels = canvas[region]
        yield region, np.where(labels == number, np.int32(other), labels)


def split(canvas: Canvas, number: int, line: Points, first_free: int) -> Iterator[Piece]:
    """Cut an object along a line: its largest part keeps the number, others get numbers from `first_free` on.

    The pixels under the line go to the part that is nearest. Raises ContractileError for an object that is too large.
    """
    region = canvas.find(number)
    if region is None:
        return
    labels = canvas[region]
    if labels.size > LARGEST:
        problem = f"an object to split must lie in a box of at most {LARGEST:,} pixels, got one of {labels.size:,}"
        raise ContractileError(problem, "erase along the line instead")
    own = labels == number
    places = np.asarray(line, float).reshape(-1, 2)
    parts = connected(own & ~_near(places, LINE, region))
    count = int(parts.max(initial=0))
    if count < 2:
        return
    _, nearest = ndimage.distance_transform_edt(parts == 0, return_indices=True)
    parts = np.where(own, parts[tuple(nearest)], 0)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    largest = 1 + int(sizes.argmax())
    numbers = np.arange(count + 1) + first_free - 1
    numbers[largest], numbers[largest + 1 :] = number, numbers[largest + 1 :] - 1
    yield region, np.where(own, numbers[parts], labels).astype(np.int32)


def accept(canvas: Canvas, region: Region, shapes: Labels, mask: NDArray[np.bool_]) -> Iterator[Piece]:
    """Take over what the model shows, labels and where they count (*region): only where nothing is known."""
    labels = canvas[region]
    yield region, np.where(mask & (labels == UNKNOWN), shapes, labels)


def _around(canvas: Canvas, places: Places, radius: float) -> Region | None:
    """The region of the image that holds places and what lies within a radius of them."""
    reach = max(radius, EDGE)
    lows = np.floor(places.min(axis=0) - reach).clip(0).astype(int).tolist()
    highs = np.minimum(np.ceil(places.max(axis=0) + reach) + 1, canvas.shape).astype(int).tolist()
    if lows[0] >= highs[0] or lows[1] >= highs[1]:
        return None
    return slice(lows[0], highs[0]), slice(lows[1], highs[1])


def _parts(region: Region, side: int) -> Iterator[Region]:
    """The parts of a region that lie in squares of this side."""
    y, x = (range(part.start // side * side, part.stop, side) for part in region)
    for top, left in itertools.product(y, x):
        yield (
            slice(max(top, region[0].start), min(top + side, region[0].stop)),
            slice(max(left, region[1].start), min(left + side, region[1].stop)),
        )


def _along(canvas: Canvas, places: Places, radius: float) -> Iterator[Region]:
    """The tiles that a line of this radius may touch."""
    around = _around(canvas, places, radius)
    for area in _parts(around, AREA) if around else ():
        if _comes_near(places, max(radius, EDGE), area):
            yield from (tile for tile in _parts(area, TILE) if _comes_near(places, max(radius, EDGE), tile))


def _comes_near(places: Places, reach: float, region: Region) -> bool:
    """Whether a line may come near to a region: to the circle around it."""
    middle = np.array([(part.start + part.stop - 1) / 2 for part in region])
    around = np.hypot(*((part.stop - part.start) / 2 for part in region))
    begins, along = places, np.diff(places, axis=0, append=places[-1:])
    length = (along**2).sum(axis=1)
    share = (((middle - begins) * along).sum(axis=1) / np.where(length > 0, length, 1)).clip(0, 1)
    away = np.hypot(*(middle - begins - share[:, None] * along).T)
    return bool(away.min() <= reach + around + 1)


def _thinned(places: Places, step: float) -> Places:
    """Places without those closer than a step to the last one before them that stays; the last one stays."""
    kept = [0]
    for index in range(1, len(places)):
        if index == len(places) - 1 or np.hypot(*(places[index] - places[kept[-1]])) >= step:
            kept.append(index)
    return places[kept]


def _near(places: Places, radius: float, region: Region) -> NDArray[np.bool_]:
    """The pixels of a region within a radius of the line through places."""
    mask: NDArray[np.bool_] = np.zeros([part.stop - part.start for part in region], np.bool_)
    places = places - [float(part.start) for part in region]
    lows: Places = np.floor(np.minimum(places, np.roll(places, -1, axis=0)) - radius)
    highs: Places = np.ceil(np.maximum(places, np.roll(places, -1, axis=0)) + radius) + 1
    hits = np.nonzero(((lows < mask.shape) & (highs > 0)).all(axis=1))[0].tolist()
    for index in hits:
        if 0 < index == len(places) - 1:  # the last place begins no line
            break
        low, high = np.maximum(0, lows[index]).astype(int), np.minimum(mask.shape, highs[index]).astype(int)
        begin, along = places[index], places[min(index + 1, len(places) - 1)] - places[index]
        y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
        length = float(along @ along)
        share = (((y - begin[0]) * along[0] + (x - begin[1]) * along[1]) / (length or 1.0)).clip(0, 1)
        away = (y - begin[0] - share * along[0]) ** 2 + (x - begin[1] - share * along[1]) ** 2
        part = mask[low[0] : high[0], low[1] : high[1]]
        np.logical_or(part, away <= radius**2, out=part)
    return mask


def _dots(places: Places, region: Region) -> NDArray[np.bool_]:
    """The pixels of a region that lie under a place."""
    mask = np.zeros([part.stop - part.start for part in region], bool)
    spots = np.rint(places - [part.start for part in region]).astype(np.int64)
    spots = spots[((spots >= 0) & (spots < mask.shape)).all(axis=1)]
    mask[tuple(spots.T)] = True
    return mask


def _within(corners: Places, region: Region) -> NDArray[np.bool_]:
    """The pixels of a region whose middle lies within an outline, by the even-odd rule.

    Each side of the outline turns inside into outside, in each row that it crosses and from there on. This costs what
    the outline is long; to compare each pixel with each side would take minutes for a large one.
    """
    height, width = (part.stop - part.start for part in region)
    begins = corners - [part.start for part in region]
    ends = np.roll(begins, -1, axis=0)
    first = np.ceil(np.minimum(begins[:, 0], ends[:, 0])).clip(0, height).astype(np.int64)
    last = np.ceil(np.maximum(begins[:, 0], ends[:, 0])).clip(0, height).astype(np.int64)  # not crossed any more
    sides = np.repeat(np.arange(len(corners)), last - first)
    rows = np.arange(len(sides)) - np.repeat(np.cumsum(last - first) - last, last - first)
    (y0, x0), (y1, x1) = begins[sides].T, ends[sides].T
    crossed = np.ceil(x0 + (rows - y0) / (y1 - y0) * (x1 - x0)).clip(0, width).astype(np.int64)
    turns = np.bincount(rows * (width + 1) + crossed, minlength=height * (width + 1)).reshape(height, width + 1)
    inside: NDArray[np.bool_] = np.cumsum(turns, axis=1)[:, :width] % 2 == 1
    return inside


def _window(canvas: Canvas, place: tuple[int, int], reach: int) -> Region:
    y, x = (slice(max(0, at - reach), min(n, at + reach)) for at, n in zip(place, canvas.shape, strict=True))
    return y, x


def _leaves(mask: NDArray[np.bool_], region: Region, shape: tuple[int, int]) -> bool:
    """Whether a mask reaches the border of its region where the image goes on."""
    rim = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    y, x = region
    goes_on = (y.start > 0, y.stop < shape[0], x.start > 0, x.stop < shape[1])
    return any(side.any() and beyond for side, beyond in zip(rim, goes_on, strict=True))
