"""Whether tiles show: what tiling changes in the map of a model, for our way of tiling and for those of other tools.

Everything is measured on the middle of one image, with the true pixels around it. The reference is what the network
says about all of that part at once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.engine import EngineConfig, Placed, place
from contractile.errors import ContractileError, OutOfMemory, WrongType, check_progress, shown
from contractile.metrics.contingency import select_objects, tabulate
from contractile.prediction.arrays import as_image, refuse_dask
from contractile.prediction.field import Progress
from contractile.prediction.margins import Margins, border_windows, measure_margins
from contractile.prediction.peers import habits, join, lay
from contractile.prediction.predictor import Predictor
from contractile.prediction.scaling import scaled
from contractile.prediction.tilings import (
    Floats,
    Part,
    Region,
    Sides,
    Watched,
    all_at_once,
    by,
    lines_of,
    see_all,
    see_tiles,
    shifted_plan,
    take_part,
)
from contractile.unet import UNetConfig

logger = logging.getLogger(__name__)

Labels = NDArray[np.int32]

SAME, PARTNER = 0.9, 0.5  # IoU of an object that is as it was, and of one that is still the same one
ROUNDING = 1e-6  # of probabilities in float32, at least
EXACT = EngineConfig(device="cpu", backend="torch", precision="float32")


@dataclass(frozen=True, eq=False)
class Tiling:
    """What one way of tiling changes.

    `largest` is the largest difference of a probability, `pixels` the fraction of pixels with another label, `objects`
    the number of objects that no object overlaps with an IoU of 0.9 any more (None for task "classes"). `differences`
    (*S) are those of each pixel, and `lines` say for each axis where tiles end.
    """

    title: str
    largest: float
    pixels: float
    objects: int | None
    differences: Floats
    lines: tuple[Sides, ...]


@dataclass(frozen=True, eq=False)
class Seams:
    """What tiles change in what a model says about `pixels` (C, *S), a part of an image.

    The part begins at `start` in an image of `shape` (*S), which is the given one enlarged `scale` times. The network
    saw `tile` (*S) pixels at a time, in `precision`. `whole` is our tiling beside none; `moved` beside one whose grid
    is shifted by `shift`, and `off_grid` by `odd_shift`, which is no multiple of the pooling `stride`; `peers` are
    what other tools do, beside no tiles. `float32` is the largest difference of `whole` and `moved` in float32.
    `objects` were found in the part, `crossing` of them lie across lines between our tiles (None: task "classes").
    """

    pixels: NDArray[Any]
    start: Sides
    shape: Sides
    scale: float
    tile: Sides
    stride: Sides
    shift: Sides
    odd_shift: Sides
    precision: str
    whole: Tiling
    moved: Tiling
    off_grid: Tiling
    peers: tuple[Tiling, ...]
    margins: Margins
    float32: float
    objects: int | None
    crossing: int | None


def measure_seams(
    predictor: Predictor, image: Any, *, tile: int | None = None, progress: Progress | None = None
) -> Seams:
    """Measure what tiles change in the map of an image (C, *S), an array or anything that slices into arrays.

    At most 1024 x 1024 pixels in the middle are measured, of volumes 32 x 128 x 128. `tile` limits the side of a tile
    in pixels, as it does for a Predictor; without it tiles give 256 x 256 pixels (48 x 48 x 48), or a third of the
    part. Tiles that would hold all of it are made smaller, which is logged. `progress(done, total)` counts tiles.
    Raises what `Predictor.probabilities` raises; WrongType for a Dask array; ContractileError for a tile that leaves
    less than two strides inside its margins, and for an image of at most two strides along every axis; OutOfMemory.
    """
    if not isinstance(predictor, Predictor):
        raise WrongType(f"predictor must be a Predictor, got {shown(predictor)}", "use contractile.load(path)")
    check_progress(progress, "(done, total)")
    refuse_dask(image)
    config = predictor.card.network
    if others := len(predictor.card.others):
        logger.warning("the model is the mean of %d networks, of which the first is measured", others + 1)
    limit = _check_tile(config, tile or predictor.tile)
    field = predictor.probabilities(image)  # looks at the image and places the network; nothing is predicted yet
    image, scale = as_image(image, config.channels, config.dims), field.scale
    intensity = predictor.card.normalization.fit(image)
    seen = scaled(image, scale)
    _check_shape(config, seen.shape[1:])
    assert predictor.placed is not None
    most, least = predictor.placed.largest_tile(), 2 * max(config.margin) + 2 * max(config.stride)
    while True:
        part = take_part(seen, config, intensity.apply, limit=limit, most=most)
        _check_finite(part)
        try:
            return _measure(predictor, predictor.placed, part, seen.shape[1:], scale, progress)
        except OutOfMemory:
            most = (max(part.size) + 2 * max(config.margin)) // 2
            if most <= least:
                raise
            logger.warning("out of memory: a smaller part of the image is measured")


def _check_tile(config: UNetConfig, tile: int | None) -> int | None:
    least = max(2 * rim + 2 * stride for rim, stride in zip(config.margin, config.stride, strict=True))
    if tile is not None and tile < least:
        problem = f"tile must be at least {least} pixels (two margins of {max(config.margin)} and two steps of the "
        problem += f"pooling, {max(config.stride)}) to be moved on the grid of this network, got {tile}"
        raise ContractileError(problem, f"use {least} or more, or leave it out")
    return tile


def _check_shape(config: UNetConfig, shape: Sequence[int]) -> None:
    least = [2 * stride + 1 for stride in config.stride]
    if all(n < side for n, side in zip(shape, least, strict=True)):
        problem = f"image must have at least {by(least)} pixels along one of its axes to be cut into two tiles"
        raise ContractileError(f"{problem}, got {by(shape)}", "give a larger image")


def _check_finite(part: Part) -> None:
    """Raise ContractileError for pixels that are NaN or infinite: an image on disk was not looked through."""
    if bad := int(np.count_nonzero(~np.isfinite(part.values))):
        problem = f"image must hold finite numbers where it is measured, got {bad} NaN or infinite pixels there"
        raise ContractileError(problem, "replace them, e.g. with np.nan_to_num(image)")


class _Result(NamedTuple):
    maps: Floats
    labels: Labels


class _Grids(NamedTuple):
    """How far (*S) our tiles are shifted: not at all, by half a tile, and by a step that the poolings do not repeat."""

    none: Sides
    shift: Sides
    odd: Sides

    @classmethod
    def of(cls, part: Part) -> _Grids:
        stride = part.config.stride
        shift = tuple(core // (2 * step) * step for core, step in zip(part.core, stride, strict=True))
        odd = tuple(by + step // 2 for by, step in zip(shift, stride, strict=True))
        return cls((0,) * len(stride), shift, odd)

    @staticmethod
    def regions(part: Part, shift: Sides) -> list[Region]:
        return [write for grid in {(0,) * len(shift), shift} for _, write in shifted_plan(part, grid)]


class _Steps:
    """Counts the pixels that networks have seen, in tiles."""

    def __init__(self, progress: Progress | None, tile: int, total: int) -> None:
        self._progress, self._tile, self._total, self._done = progress, tile, total, 0

    def tick(self, pixels: int) -> None:
        self._done += pixels
        if self._progress is not None:
            self._progress(self._done // self._tile, max(1, self._total // self._tile))


class _Judge:
    """Compares the maps of a part with others."""

    def __init__(self, predictor: Predictor) -> None:
        self._decode, self._objects = predictor.decode, predictor.card.task == "objects"

    def result(self, maps: Floats) -> _Result:
        return _Result(maps, self._decode(maps))

    def compare(self, title: str, maps: Floats, beside: _Result, regions: Sequence[Region]) -> Tiling:
        """What differs in `maps`, which were made of `regions`."""
        differences, labels = np.abs(maps - beside.maps).max(axis=0), self._decode(maps)
        changed = None
        if self._objects:
            labels, changed = _as_named(labels, beside.labels)
        pixels = float((labels != beside.labels).mean())
        lines = lines_of(regions, labels.shape)
        return Tiling(title, float(differences.max()), pixels, changed, differences, lines)

    def count(self, labels: Labels) -> int | None:
        return int(labels.max(initial=0)) if self._objects else None

    def count_crossing(self, labels: Labels, lines: Sequence[Sides]) -> int | None:
        """The objects that lie on both sides of a line."""
        if not self._objects:
            return None
        ends = [(axis, end) for axis, along in enumerate(lines) for end in along]
        pairs = [(np.take(labels, end - 1, axis=axis), np.take(labels, end, axis=axis)) for axis, end in ends]
        return len({number for one, other in pairs for number in np.unique(one[(one == other) & (one > 0)]).tolist()})


def _as_named(labels: Labels, beside: Labels) -> tuple[Labels, int]:
    """Labels with the numbers of the same objects in `beside` (others get new ones), and how many of those changed."""
    table = select_objects(tabulate(labels, beside))
    best = np.zeros(len(table.true_ids))
    np.maximum.at(best, table.rows, table.iou)
    names = np.arange(0, -int(labels.max(initial=0)) - 1, -1, dtype=np.int32)
    same = table.iou > PARTNER
    names[table.pred_ids[table.cols[same]]] = table.true_ids[table.rows[same]]
    return names[labels], int((best < SAME).sum())


def _measure(
    predictor: Predictor, placed: Placed, part: Part, shape: Sides, scale: float, progress: Progress | None
) -> Seams:
    exact = placed if placed.precision == "float32" else place(predictor.network, EXACT)
    steps = _Steps(progress, math.prod(part.tile), _count_pixels(part, twice=exact is not placed))
    network, reference = Watched(placed, steps.tick), Watched(exact, steps.tick)
    judge, grids = _Judge(predictor), _Grids.of(part)
    whole = judge.result(see_all(network, part))
    ours = judge.result(see_tiles(network, part, grids.none))
    beside_none = judge.compare("ours, beside no tiles", ours.maps, whole, grids.regions(part, grids.none))
    moved, off_grid = (
        judge.compare(title, see_tiles(network, part, shift), ours, grids.regions(part, shift))
        for title, shift in (("ours, two grids", grids.shift), ("off the pooling grid", grids.odd))
    )
    peers = tuple(
        judge.compare(title, maps, whole, lay(part, habit))
        for habit in habits(part.config.dims)
        for title, maps in zip(habit.titles(), join(network, part, habit), strict=True)
    )
    exact_maps, float32 = whole.maps, max(beside_none.largest, moved.largest)
    if exact is not placed:
        exact_maps, float32 = _measure_exactly(reference, part, grids)
    return Seams(
        pixels=part.pixels,
        start=part.start,
        shape=shape,
        scale=scale,
        tile=part.tile,
        stride=part.config.stride,
        shift=grids.shift,
        odd_shift=grids.odd,
        precision=placed.precision,
        whole=beside_none,
        moved=moved,
        off_grid=off_grid,
        peers=peers,
        margins=measure_margins(reference, part, exact_maps, max(ROUNDING, 2 * float32)),
        float32=float32,
        objects=judge.count(whole.labels),
        crossing=judge.count_crossing(whole.labels, beside_none.lines),
    )


def _measure_exactly(network: Watched, part: Part, grids: _Grids) -> tuple[Floats, float]:
    """What the network says about a part at once, and how far our tiles are from it and from each other."""
    whole, ours, moved = see_all(network, part), *(see_tiles(network, part, by) for by in (grids.none, grids.shift))
    return whole, max(float(np.abs(ours - other).max()) for other in (whole, moved))


def _count_pixels(part: Part, *, twice: bool) -> int:
    """How many pixels networks will see; `twice` where a second one in float32 repeats a part of the work."""
    config, grids, tile = part.config, _Grids.of(part), math.prod(part.tile)
    whole = math.prod(side.stop - side.start for side in all_at_once(config, part.size))
    none, moved, odd = (len(shifted_plan(part, by)) for by in (grids.none, grids.shift, grids.odd))
    peers = sum(len(lay(part, habit)) for habit in habits(config.dims))
    rims = (0,) * config.dims if config.padding == "same" else config.margin
    window = math.prod(long + 2 * rim for long, rim in zip(part.window, rims, strict=True)) * len(border_windows(part))
    again = whole + (none + moved) * tile if twice else 0
    return int(whole + (none + moved + odd + peers) * tile + again + window)
