"""The random smooth map from a tile to the image, and its application to image, classes and weight."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.interpolate import CubicSpline

from contractile.augment.resample import positions, warp_tile
from contractile.errors import ContractileError, WrongType, in_one_line
from contractile.grid import mirror
from contractile.spacing import check_spacing, in_finest

MOST_SCALED = 100  # times larger or smaller


@in_one_line
class WarpConfig(BaseModel):
    """Strength of the warp; every part has a value that switches it off.

    Random displacement vectors belong to the points of a grid, which are as far apart along shorter axes as along the
    longest one. Their standard deviation is at most an eighth of the distance between two points: folds are rare.
    Quarter turns and mirrors are the exact symmetries of the pixel grid. With `spacing`, the warp is drawn in space, in
    units of the finest axis.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    elastic_grid: int = Field(
        default=3, ge=2, le=64, description="points of the grid of random displacements, along the longest axis"
    )
    elastic_std: float = Field(
        default=10.0, ge=0, le=1e4, description="standard deviation of the displacements, in pixels; 0: none"
    )
    rotation: float = Field(
        default=180.0,
        ge=0,
        le=180,
        description="largest angle in the plane of Y and X, in degrees, in either direction",
    )
    tilt: float = Field(default=0.0, ge=0, le=180, description="largest angle in the planes with Z, in degrees")
    quarter_turns: bool = Field(default=False, description="turn by 0, 90, 180 or 270 degrees")
    flip: bool = Field(default=True, description="mirror along every axis")
    scale: tuple[float, float] = Field(default=(0.8, 1.25), description="smallest and largest magnification")
    spacing: tuple[float, ...] = Field(
        default=(), description="relative size of a pixel along each axis, in the order of the axes; empty: isotropic"
    )

    @model_validator(mode="after")
    def _ranges_make_sense(self) -> WarpConfig:
        low, high = self.scale
        if not 1 / MOST_SCALED <= low <= high <= MOST_SCALED:
            raise ContractileError(
                f"scale must be (low, high) with {1 / MOST_SCALED} <= low <= high <= {MOST_SCALED}, got {self.scale}",
                "use (1, 1) for none",
            )
        check_spacing(self.spacing)
        return self


class Sample(NamedTuple):
    """A whole annotated image, or one tile of it: `image` (C, *S), `classes` (*S) integer, `weight` (*S)."""

    image: NDArray[Any]
    classes: NDArray[Any]
    weight: NDArray[Any]


@dataclass(frozen=True)
class Warp:
    """A smooth map from tile to image: p(q) = middle + matrix (q - (tile - 1) / 2) + displacement(q).

    `middle` (D,) and `matrix` (D, D) are in image pixels. `vectors` (D, *grid) are displacements in image pixels at
    the points of a regular grid from the first to the last pixel of the tile.
    """

    tile: tuple[int, ...]
    middle: NDArray[np.float64]
    matrix: NDArray[np.float64]
    vectors: NDArray[np.float64]

    def coordinates(self) -> NDArray[np.float64]:
        """Position in the image of every pixel of the tile: (D, *tile)."""
        whole, plan = _plan(self, flat=len(self.tile) == 2)
        sizes = [weights.shape[1] for weights in plan[3:]]  # (Z, Y, X)
        at = np.empty((*sizes[:2], 3, sizes[2]), np.float32)
        for z, y in np.ndindex(*sizes[:2]):
            positions(plan, z, y, 0, at[z, y])
        placed = np.moveaxis(at, 2, 0).astype(np.float64) + whole.reshape(3, 1, 1, 1)  # (3, Z, Y, X)
        return placed[3 - len(self.tile) :].reshape(-1, *self.tile)


def warp(
    whole: Sample,
    centre: tuple[int, ...],
    *,
    tile: tuple[int, ...],
    inner: tuple[int, ...],
    config: WarpConfig,
    rng: np.random.Generator,
) -> Sample:
    """One random sample around pixel `centre` of a whole annotated image: `draw_warp`, then `apply_warp`."""
    return apply_warp(draw_warp(tile, centre, config=config, rng=rng), whole, inner=inner)


def draw_warp(tile: tuple[int, ...], centre: tuple[int, ...], *, config: WarpConfig, rng: np.random.Generator) -> Warp:
    """Draw a map in which pixel tile // 2 of the tile shows pixel `centre` of the image, before the elastic part.

    Elastic deformation is that of Ronneberger, Fischer, Brox 2015, sec. 3.1 (doi:10.1007/978-3-319-24574-4_28):
    Gaussian displacement vectors on a coarse grid, interpolated by bicubic (tricubic) natural splines. The same state
    of `rng` gives the same warp. Raises ContractileError when tile, centre and spacing differ in axes.
    """
    dims = len(tile)
    if dims not in (2, 3) or min(tile) < 1 or len(centre) != dims:
        raise ContractileError(
            "tile and centre must have the same number of axes, 2 or 3, and tile at least 1 pixel "
            f"on each, got tile {tuple(tile)} and centre {tuple(centre)}",
            "give one number per axis of the image",
        )
    spacing = np.asarray(in_finest(config.spacing, dims) or (1.0,) * dims)  # (D,)
    turn = _draw_matrix(dims, config=config, rng=rng)
    matrix = turn * spacing / spacing[:, None]  # tile pixels -> space, turn, space -> image pixels
    vectors = _draw_vectors(tile, spacing, config=config, rng=rng)
    half = (np.asarray(tile) - 1) / 2
    middle = np.asarray(centre) - np.asarray(tile) // 2 + half
    first = middle - matrix @ half
    if (matrix == np.rint(matrix)).all():  # a symmetry of the grid: put pixels on pixels, not between them
        middle = middle + np.floor(first) - first
    return Warp(tuple(tile), middle, matrix, vectors)


def apply_warp(drawn: Warp, whole: Sample, *, inner: tuple[int, ...]) -> Sample:
    """Resample a whole annotated image once: image (C, *S), classes (*S), weight (*S), in any dtype,
    -> (C, *tile) float32, (*inner) int64, (*inner) float32.

    `inner` is the size of the network's output for an input of `tile`, in whose middle it lies. The image is
    interpolated by cubic convolution; each pixel takes the class of the nearest pixel; the weight is interpolated
    linearly and set to 0 where the class is negative (ignored). Everything is mirrored beyond the image. Arrays in C
    order and in the byte order of the machine are read in place, others are copied first.

    Raises ContractileError when the shapes do not fit together, WrongType when classes are not integers.
    """
    _check(drawn.tile, whole, inner=inner)
    dims = len(drawn.tile)
    planes = (1,) * (3 - dims)  # a 2-D image is one plane
    image, classes, weight = (_readable(a) for a in whole)
    shape = planes + image.shape[1:]
    start, plan = _plan(drawn, flat=shape[0] == 1)
    tile = _empty_sample(len(image), planes + drawn.tile, planes + tuple(inner))
    arrays = (image.reshape(-1, *shape), classes.reshape(shape), weight.reshape(shape))
    warp_tile(arrays, start, plan, tuple(tile))
    if dims == 3:
        return tile
    return Sample(tile.image[:, 0], tile.classes[0], tile.weight[0])


def nearest(drawn: Warp, values: NDArray[Any]) -> NDArray[Any]:
    """The value (*S) of the nearest pixel for every pixel of the tile, mirrored beyond the image: (*tile)."""
    at = np.rint(drawn.coordinates()).astype(np.intp)
    taken: NDArray[Any] = values[tuple(mirror(one, size) for one, size in zip(at, values.shape, strict=True))]
    return taken


def _empty_sample(channels: int, tile: tuple[int, ...], inner: tuple[int, ...]) -> Sample:
    """Three uninitialised arrays in one block: small blocks get small pages, which slow the warp by a third."""
    n, shape = math.prod(inner), (channels, *tile)
    ends = np.cumsum([8 * n, 4 * n, 4 * math.prod(shape)])
    classes, weight, image = np.split(np.empty(ends[-1], np.uint8), ends[:-1])
    return Sample(
        image.view(np.float32).reshape(shape),
        classes.view(np.int64).reshape(inner),
        weight.view(np.float32).reshape(inner),
    )


def _draw_matrix(dims: int, *, config: WarpConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rotation, mirroring and 1 / magnification (D, D), in space."""
    matrix = np.eye(dims)
    for plane in itertools.combinations(range(dims), 2):
        largest = config.rotation if plane == (dims - 2, dims - 1) else config.tilt
        if largest > 0:
            matrix = _turn(dims, plane, rng.uniform(-largest, largest)) @ matrix
    if config.quarter_turns:
        matrix = np.rint(_turn(dims, (dims - 2, dims - 1), 90.0 * int(rng.integers(4)))) @ matrix
    if config.flip:
        matrix = matrix * rng.choice((-1.0, 1.0), dims)
    if config.scale != (1, 1):
        matrix = matrix / math.exp(rng.uniform(*np.log(config.scale)))
    return matrix


def _draw_vectors(
    tile: tuple[int, ...], spacing: NDArray[np.float64], *, config: WarpConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Displacements (D, *grid) in image pixels; grid points are about equally far apart along all axes."""
    extent = (np.asarray(tile) - 1) * spacing  # (D,) in units of the finest axis
    apart = max(extent.max(), 1.0) / (config.elastic_grid - 1)
    grid = np.floor(extent / apart + 1e-9).astype(int) + 1
    vectors = np.zeros((len(tile), *grid))
    if config.elastic_std > 0:
        std = min(config.elastic_std, apart / 8) / spacing
        vectors = rng.standard_normal(vectors.shape) * std.reshape(-1, *(1,) * len(tile))
    return vectors


def _turn(dims: int, plane: tuple[int, ...], degrees: float) -> NDArray[np.float64]:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(dims)
    a, b = plane
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


def _plan(drawn: Warp, *, flat: bool) -> tuple[NDArray[np.int64], tuple[NDArray[np.float32], ...]]:
    """The map in three dimensions: whole pixels (3,), and the rest in the form of `resample.positions`.

    With whole pixels apart, float32 is exact enough for the rest, which is no larger than the tile wherever in the
    image the tile lies. In a `flat` image everything lies in plane 0.
    """
    dims = len(drawn.tile)
    extra = 3 - dims
    first = np.zeros(3)
    first[extra:] = drawn.middle - drawn.matrix @ ((np.asarray(drawn.tile) - 1) / 2)
    middle = np.floor(np.concatenate([np.zeros(extra), drawn.middle])).astype(np.int64)
    matrix = np.eye(3)
    matrix[extra:, extra:] = drawn.matrix
    grid = (1,) * extra + drawn.vectors.shape[1:]
    vectors = np.zeros((3, *grid))
    vectors[extra:] = drawn.vectors.reshape(dims, *grid)
    if flat:
        middle[0] = first[0] = vectors[0] = matrix[0] = 0
    sizes = (1,) * extra + drawn.tile
    splines = tuple(_spline(n, g) for n, g in zip(sizes, grid, strict=True))
    rest = (a.astype(np.float32) for a in (first - middle, matrix, vectors))
    return middle, (*rest, *splines)


@lru_cache(maxsize=64)
def _spline(n: int, g: int) -> NDArray[np.float32]:
    """Weights (g, n) of the natural cubic spline through g points spread from the first to the last pixel."""
    if g == 1:
        return np.ones((1, n), np.float32)
    at = np.linspace(0, 1, n) if n > 1 else np.array([0.5])
    weights = CubicSpline(np.linspace(0, 1, g), np.eye(g), bc_type="natural")(at)  # (n, g)
    return np.ascontiguousarray(weights.T, np.float32)


def _readable(array: NDArray[Any]) -> NDArray[Any]:
    """The array (..., *S) itself where compiled code can read it, otherwise a copy that it can read."""
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind == "b" or dtype == np.float16:
        dtype = np.dtype(np.float32)
    for axis in (-2, -1):
        if array.shape[axis] == 1:  # mirroring needs two pixels, and those of one repeated are the same
            array = array.repeat(2, axis)
    return np.ascontiguousarray(array, dtype)


def _check(tile: tuple[int, ...], whole: Sample, *, inner: tuple[int, ...]) -> None:
    shape = whole.image.shape[1:]
    others = {whole.classes.shape, whole.weight.shape}
    if len(shape) != len(tile) or others != {shape} or 0 in whole.image.shape:
        raise ContractileError(
            f"image must be (C, *S), classes and weight (*S), with {len(tile)} axes in *S, "
            f"got {whole.image.shape}, {whole.classes.shape} and {whole.weight.shape}",
            "give all three the same *S",
        )
    if whole.classes.dtype.kind not in "iu":
        raise WrongType(f"classes must be integers, got {whole.classes.dtype}", "see targets.make_target")
    if len(inner) != len(tile) or any(not 0 < n <= t or (t - n) % 2 for n, t in zip(inner, tile, strict=False)):
        raise ContractileError(
            f"inner must be at most tile = {tile} and differ from it by an even number on every axis, "
            f"got {tuple(inner)}",
            "use the output size of the network",
        )
