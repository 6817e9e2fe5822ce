"""Microscope-like images of touching cells with exact labels, for the demo and for tests.

An image is made in the order in which light travels: cells with their brightness and texture, the blur and the uneven
lamp of the microscope, the photon noise and read noise of the camera.

Shapes: *S is (Y, X) or (Z, Y, X), D the number of these axes, N the number of cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage
from scipy.spatial import cKDTree

from contractile.errors import in_one_line
from contractile.labels import boxes, connected

Floats = NDArray[np.float32]

BALL = {2: math.pi, 3: 4 / 3 * math.pi}  # area of a disc and volume of a ball of radius 1
PATCH = 8  # size of dense and of sparse patches, in radii
CANDIDATES = 12  # positions tried per wanted cell
WHOLE, CUT = 0.3, 0.02  # a cell with less than this fraction of its own area is dropped: inside, at the border


@in_one_line
class SceneConfig(BaseModel):
    """A field of view. Lengths are in pixels, brightness in photons per pixel.

    `objects` is the number of cells; without it, as many as cover the fraction `coverage` of the image. There are fewer
    where they do not fit. `crowding` is how far two cells may overlap (0: they just touch), `patchiness` how unevenly
    cells are spread, `elongation` the largest ratio of the longest to the shortest axis, `ruggedness` the typical depth
    of dents in the outline as a fraction of the radius. `seam` is how much darker the line between two cells is,
    `haze` the fraction of light that is out of focus, `shading` the loss of light at the point farthest from the lamp.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...] = Field((256, 256), min_length=2, max_length=3)
    objects: int | None = Field(None, ge=0)
    coverage: float = Field(0.45, ge=0, le=1)
    radius: float = Field(13.0, gt=1)
    radius_spread: float = Field(0.2, ge=0, le=0.5)
    elongation: float = Field(1.5, ge=1, le=4)
    ruggedness: float = Field(0.2, ge=0, le=1)
    crowding: float = Field(0.25, ge=0, le=0.6)
    patchiness: float = Field(0.7, ge=0, le=1)
    photons: float = Field(60.0, gt=0)
    brightness_spread: float = Field(0.3, ge=0, le=1)
    texture: float = Field(0.25, ge=0, le=1)
    seam: float = Field(0.45, ge=0, le=1)
    background: float = Field(12.0, ge=0)
    haze: float = Field(0.15, ge=0, le=1)
    shading: float = Field(0.3, ge=0, lt=1)
    blur: float = Field(1.3, ge=0)
    read_noise: float = Field(2.0, ge=0)


@dataclass(frozen=True)
class Cells:
    """Cells before they are imaged; all arrays are (*S).

    `depth` is 1 at the centre of a cell, 0 on its outline and negative outside. `lead` is the depth in the cell minus
    the depth in the second deepest cell at this pixel: 0 on the line between two cells.
    """

    labels: NDArray[np.int32]
    depth: Floats
    lead: Floats


def draw_scene(config: SceneConfig, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int32]]:
    """An image (1, *S) in camera counts and its labels (*S): cells are 1..N without gaps, background is 0."""
    cells = draw_cells(config, rng)
    light = _emit(cells, config, rng)
    return _record(light, config, rng)[None], cells.labels


def draw_cells(config: SceneConfig, rng: np.random.Generator) -> Cells:
    """Dented ellipsoids with random positions and directions.

    Each pixel belongs to the cell in which it is deepest, so that the line between two neighbours is exact.
    """
    radii, centres = _place(config, rng)
    shape = config.shape
    dents = config.ruggedness * config.radius
    offset = np.stack([dents * _noise(shape, 0.6 * config.radius, rng) for _ in shape])  # (D, *S)
    best = np.full(shape, -1, np.float32)
    second = np.full(shape, -1, np.float32)
    owner = np.zeros(shape, np.int32)
    for number, (radius, centre) in enumerate(zip(radii, centres, strict=True), start=1):
        axes = _ellipsoid(radius, config, rng)
        window = _window(centre, radius * math.sqrt(config.elongation) + 3 * dents, shape)
        depth = _depth(window, centre, axes, offset)
        old = best[window]
        second[window] = np.maximum(second[window], np.minimum(depth, old))
        owner[window] = np.where(depth > old, number, owner[window])
        best[window] = np.maximum(depth, old)
    labels = _keep_whole(np.where(best > 0, owner, 0), radii)
    return Cells(labels, np.where(labels > 0, best, np.minimum(best, 0)), best - second)


def _place(config: SceneConfig, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Radii (N,) and centres (N, D) of the cells.

    Candidates come in random order, those in dense patches first. Each is taken if it is far enough from those before.
    """
    shape = np.array(config.shape)
    volume = BALL[len(shape)] * config.radius ** len(shape) * (1 - config.crowding / 2)
    wanted = config.objects if config.objects is not None else round(config.coverage * shape.prod() / volume)
    count = CANDIDATES * wanted
    centres = rng.uniform(0, shape, (count, len(shape)))
    radii = config.radius * np.clip(rng.normal(1, config.radius_spread, count), 0.5, 1.8)
    if count == 0:
        return radii, centres
    patch = PATCH * config.radius
    field = rng.normal(size=tuple(np.ceil(shape / patch).astype(int) + 2))
    density = ndimage.map_coordinates(field, (centres / patch + 0.5).T, order=1, mode="nearest")
    rank = config.patchiness * density + (1 - config.patchiness) * rng.normal(size=count)
    order = np.argsort(-rank)
    chosen = _keep_distance(centres[order], radii[order], 1 - config.crowding, wanted)
    return radii[order][chosen], centres[order][chosen]


def _keep_distance(centres: NDArray[Any], radii: NDArray[Any], closeness: float, wanted: int) -> list[int]:
    """Indices of the first `wanted` candidates that are far enough from all candidates taken before them.

    The least distance of two centres is `closeness` times the sum of their radii.
    """
    tree = cKDTree(centres)
    near = tree.query_ball_point(centres, closeness * (radii + radii.max()))
    taken = np.zeros(len(centres), bool)
    chosen: list[int] = []
    for i, others in enumerate(near):
        rivals = [j for j in others if taken[j]]
        distance = np.linalg.norm(centres[rivals] - centres[i], axis=1)
        if np.all(distance >= closeness * (radii[rivals] + radii[i])):
            taken[i] = True
            chosen.append(i)
        if len(chosen) == wanted:
            break
    return chosen


def _ellipsoid(radius: float, config: SceneConfig, rng: np.random.Generator) -> NDArray[Any]:
    """Matrix (D, D) from offsets on the outline to vectors of length 1; the volume is that of a ball of this radius."""
    dims = len(config.shape)
    stretch = np.exp(rng.uniform(-0.5, 0.5, dims) * math.log(config.elongation))
    stretch /= np.prod(stretch) ** (1 / dims)
    rotation, _ = np.linalg.qr(rng.normal(size=(dims, dims)))
    scaled: NDArray[Any] = rotation / (radius * stretch[:, None])
    return scaled


def _window(centre: NDArray[Any], reach: float, shape: tuple[int, ...]) -> tuple[slice, ...]:
    low = np.floor(centre - reach).astype(int)
    high = np.ceil(centre + reach).astype(int) + 1
    return tuple(slice(max(0, int(a)), min(n, max(0, int(b)))) for a, b, n in zip(low, high, shape, strict=True))


def _depth(window: tuple[slice, ...], centre: NDArray[Any], axes: NDArray[Any], offset: Floats) -> Floats:
    grid = np.meshgrid(*(np.arange(part.start, part.stop) for part in window), indexing="ij", sparse=True)
    away = [axis - c + dent[window] for axis, c, dent in zip(grid, centre, offset, strict=True)]
    squared = sum(sum(weight * a for weight, a in zip(row, away, strict=True)) ** 2 for row in axes)
    depth: Floats = (1 - np.sqrt(squared)).astype(np.float32)
    return depth


def _keep_whole(owner: NDArray[np.int32], radii: NDArray[Any]) -> NDArray[np.int32]:
    """The largest connected piece of each cell, numbered without gaps; cells mostly covered by others are dropped."""
    labels = np.zeros_like(owner)
    number = 0
    for index, region in enumerate(boxes(owner)):
        pieces = connected(owner[region] == index + 1)
        sizes = np.bincount(pieces.ravel(), minlength=1)
        sizes[0] = 0
        at_border = any(p.start == 0 or p.stop == n for p, n in zip(region, owner.shape, strict=True))
        volume = BALL[owner.ndim] * radii[index] ** owner.ndim
        if sizes.max() < (CUT if at_border else WHOLE) * volume:
            continue
        number += 1
        labels[region][pieces == sizes.argmax()] = number
    return labels


def _emit(cells: Cells, config: SceneConfig, rng: np.random.Generator) -> Floats:
    """Light (*S) that the cells emit, in photons per pixel."""
    count = int(cells.labels.max(initial=0))
    brightness = np.exp(rng.normal(0, config.brightness_spread, count + 1)).astype(np.float32)
    brightness[0] = 0
    fine = _noise(config.shape, 1.5, rng)
    coarse = _noise(config.shape, config.radius / 4, rng)
    pattern = np.clip(1 + config.texture * (0.6 * fine + 0.8 * coarse), 0.2, None)
    thickness = np.sqrt(np.clip(cells.depth, 0, 1))  # a cell is shaped like a lens: thin at the rim
    seam = 1 - config.seam * np.exp(-cells.lead / 0.12)
    light = brightness[cells.labels] * (0.45 + 0.55 * thickness) * pattern * seam
    emitted: Floats = (config.photons * light).astype(np.float32)
    return emitted


def _record(light: Floats, config: SceneConfig, rng: np.random.Generator) -> Floats:
    """Light (*S) -> camera counts (*S): blur, haze, background, shading, photon noise, read noise."""
    sharp = ndimage.gaussian_filter(light, config.blur)
    haze = ndimage.gaussian_filter(light, 0.7 * config.radius, truncate=3.0)
    lit = (sharp + config.haze * haze + config.background) * _shading(config, rng)
    noisy = rng.poisson(np.maximum(lit, 0)) + rng.normal(0, config.read_noise, lit.shape)
    counts: Floats = noisy.astype(np.float32)
    return counts


def _shading(config: SceneConfig, rng: np.random.Generator) -> Floats:
    """Brightness of the lamp (*S): 1 at a random point near the middle, less with the square of the distance."""
    squared: NDArray[Any] = np.zeros((1,) * len(config.shape))
    for axis, length in enumerate(config.shape):
        place = np.linspace(-1, 1, length) - rng.uniform(-0.4, 0.4)
        squared = squared + np.expand_dims(place**2, [a for a in range(len(config.shape)) if a != axis])
    shading: Floats = (1 - config.shading * squared / squared.max()).astype(np.float32)
    return shading


def _noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Floats:
    """Smooth random values (*S) of mean 0 and standard deviation 1: white noise filtered by a Gaussian of `scale`."""
    rough = rng.standard_normal(shape, dtype=np.float32)
    smooth: Floats = ndimage.gaussian_filter(rough, scale, truncate=3.0, mode="wrap")
    # a Gaussian filter multiplies the variance of white noise by 1 / (2 sqrt(pi) scale) per axis
    return smooth * np.float32((2 * math.sqrt(math.pi) * scale) ** (len(shape) / 2))
