"""Microscope-like images of touching cells with exact truth, for the demo and for tests.

The picture is built in the order of the light's journey: cells, their brightness and texture, the
microscope's blur and uneven lamp, the camera's photon and read noise. Knows no files.
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

Floats = NDArray[np.float32]

PATCH = 8  # distance of dense from empty patches, in radii
CANDIDATES = 12  # places tried per cell wanted
SURVIVES = 0.3  # share of its own area that a cell must keep from its neighbours to count


class SceneConfig(BaseModel):
    """A field of view. Lengths are in pixels, brightness in photons per pixel.

    `objects` cells are wanted, or as many as cover the share `coverage` of the image; where they do
    not fit, there are fewer. `crowding` is how far two cells may grow into each other (0: they just
    touch), `patchiness` how unevenly they lie, `elongation` the ratio of longest to shortest axis,
    `ruggedness` the dents of the outline as a share of the radius. `seam` is how much darker the line
    between two touching cells is. `haze` is out-of-focus light, `shading` the fall-off of the lamp.
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
    """`labels` (*S); `depth` (*S) is 1 at a cell's centre, 0 on its outline, negative outside;
    `lead` (*S) is by how much the cell is deeper here than the next one: 0 on the line between."""

    labels: NDArray[np.int32]
    depth: Floats
    lead: Floats


def draw_scene(config: SceneConfig, rng: np.random.Generator) -> tuple[Floats, NDArray[np.int32]]:
    """Image (1, *S) float32 in camera counts, and its labels (*S) int32, 1..N without gaps."""
    cells = draw_cells(config, rng)
    light = _emit(cells, config, rng)
    return _record(light, config, rng)[None], cells.labels


def draw_cells(config: SceneConfig, rng: np.random.Generator) -> Cells:
    """Ellipsoids in random places and directions, dented; each pixel belongs to the cell in which it
    lies deepest, so that neighbours share a line and truth is exact."""
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
        deeper = depth > old
        second[window] = np.maximum(second[window], np.minimum(depth, old))
        owner[window] = np.where(deeper, number, owner[window])
        best[window] = np.maximum(depth, old)
    labels = _keep_whole(np.where(best > 0, owner, 0), radii)
    return Cells(labels, np.where(labels > 0, best, np.minimum(best, 0)), best - second)


def _place(config: SceneConfig, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Radii (N,) and centres (N, D): of many candidates, in random order, those that keep their
    distance from the ones before; dense patches of the field are filled first."""
    shape = np.array(config.shape)
    unit = {2: math.pi, 3: 4 / 3 * math.pi}[len(shape)]
    volume = unit * config.radius ** len(shape) * (1 - config.crowding / 2)
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
    """Indices of the first `wanted` candidates that lie no nearer to an earlier one than `closeness`
    times the sum of their radii."""
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
    """(D, D): maps an offset from the centre to a vector of length 1 on the outline; the volume is
    that of a ball of this radius."""
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
    """One connected piece per cell, numbered without gaps; cells hidden by others are dropped."""
    dims = owner.ndim
    labels = np.zeros_like(owner)
    number = 0
    for index, region in enumerate(ndimage.find_objects(owner)):
        if region is None:
            continue
        pieces, count = ndimage.label(owner[region] == index + 1)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = 0
        at_border = any(p.start == 0 or p.stop == n for p, n in zip(region, owner.shape, strict=True))
        whole = {2: math.pi, 3: 4 / 3 * math.pi}[dims] * radii[index] ** dims
        if sizes.max() < (0.02 if at_border else SURVIVES) * whole:
            continue
        number += 1
        labels[region][pieces == sizes.argmax()] = number
    return labels


def _emit(cells: Cells, config: SceneConfig, rng: np.random.Generator) -> Floats:
    """Light per pixel (*S) before the microscope, in photons."""
    count = int(cells.labels.max(initial=0))
    brightness = np.exp(rng.normal(0, config.brightness_spread, count + 1)).astype(np.float32)
    brightness[0] = 0
    fine = _noise(config.shape, 1.5, rng)
    coarse = _noise(config.shape, config.radius / 4, rng)
    pattern = np.clip(1 + config.texture * (0.6 * fine + 0.8 * coarse), 0.2, None)
    thickness = np.sqrt(np.clip(cells.depth, 0, 1))  # cells are lens-shaped: thin at the rim
    seam = 1 - config.seam * np.exp(-cells.lead / 0.12)
    light = brightness[cells.labels] * (0.45 + 0.55 * thickness) * pattern * seam
    emitted: Floats = (config.photons * light).astype(np.float32)
    return emitted


def _record(light: Floats, config: SceneConfig, rng: np.random.Generator) -> Floats:
    """Blur, haze, shading, background, photon noise, read noise: (*S) -> camera counts (*S)."""
    sharp = ndimage.gaussian_filter(light, config.blur)
    haze = ndimage.gaussian_filter(light, 0.7 * config.radius, truncate=3.0)
    lit = (sharp + config.haze * haze + config.background) * _shading(config, rng)
    noisy = rng.poisson(np.maximum(lit, 0)) + rng.normal(0, config.read_noise, lit.shape)
    counts: Floats = noisy.astype(np.float32)
    return counts


def _shading(config: SceneConfig, rng: np.random.Generator) -> Floats:
    """A lamp that is brightest somewhere near the middle and falls off with the square of distance."""
    squared: NDArray[Any] = np.zeros((1,) * len(config.shape))
    for axis, length in enumerate(config.shape):
        place = np.linspace(-1, 1, length) - rng.uniform(-0.4, 0.4)
        lay = [1] * len(config.shape)
        lay[axis] = length
        squared = squared + (place**2).reshape(lay)
    shading: Floats = (1 - config.shading * squared / squared.max()).astype(np.float32)
    return shading


def _noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Floats:
    """Smooth random values (*S) of mean 0 and standard deviation 1 that vary over `scale` pixels."""
    rough = rng.standard_normal(shape, dtype=np.float32)
    smooth: Floats = ndimage.gaussian_filter(rough, scale, truncate=3.0, mode="wrap")
    # variance of white noise after a Gaussian filter, per axis 1 / (2 sqrt(pi) scale)
    return smooth * np.float32((2 * math.sqrt(math.pi) * scale) ** (len(shape) / 2))
