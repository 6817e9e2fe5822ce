"""A Source -> its pixels, labels or probabilities, in the canonical order."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.axes import Layout, arrange
from contractile.images.formats import Raster, one_clear_line, open_rasters
from contractile.images.sources import Source, stem

Key = int | slice | EllipsisType
INTEGRAL_UP_TO = 2**31 - 1  # labels are int32


@dataclass(frozen=True)
class Image:
    """Pixels (C, *S) in the file's own type and range; `pixel_size_um` per axis of *S, None where
    the file does not tell it."""

    name: str
    pixels: NDArray[Any]
    pixel_size_um: tuple[float, ...] | None


class LazyImage:
    """An image (C, *S) that stays on disk; slices of it are read when they are asked for.

    Close it after use, or use it in a `with` statement. `np.asarray` reads all of it.
    """

    def __init__(self, source: Source | str | Path, *, dims: int = 2, indices: bool = False) -> None:
        self.source = _as_source(source)
        self.name = self.source.name
        self._files = ExitStack()
        path = self.source.path
        try:
            rasters = self._files.enter_context(open_rasters(path, dims=dims, indices=indices))
            self._raster, self._layout, self._page = _choose(rasters, self.source, dims)
            with one_clear_line(path):
                self._array = self._raster.load()
        except BaseException:
            self._files.close()
            raise
        self.dtype = _plain_dtype(self._raster.dtype, path)
        channels, *space = self._layout.shape
        if self._raster.alpha and channels > self._raster.alpha:
            channels -= self._raster.alpha
        self.shape: tuple[int, ...] = (channels, *space)
        self.pixel_size_um = _pixel_size(self._raster, dims)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Key | tuple[Key, ...]) -> NDArray[Any]:
        parts, taken = _as_slices(key, self.shape)
        # absolute bounds: transparent channels behind the last one must stay out of reach
        bounded = [slice(*part.indices(length)) for part, length in zip(parts, self.shape, strict=True)]
        index = self._layout.index(self._page, bounded[0], tuple(bounded[1:]))
        with one_clear_line(self.source.path):
            block = np.array(self._array[index]).transpose(self._layout.order())
        if self._layout.channel_axis is None:
            block = block[None][bounded[0]]  # (*S) -> (C, *S)
        return np.ascontiguousarray(block, dtype=self.dtype)[taken]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def close(self) -> None:
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_lazily(source: Source | str | Path, *, dims: int = 2) -> LazyImage:
    """The image of a source, left on disk: for images larger than memory.

    Uncompressed TIFF and .npy are mapped into memory, tiled and compressed TIFF and OME-Zarr are read
    chunk by chunk (a compressed strip, tile or plane is the least that can be read); pictures (PNG,
    JPEG) are decoded whole. Errors as in `read`, but pixels are not searched for NaN.
    """
    return LazyImage(source, dims=dims)


def read(source: Source | str | Path, *, dims: int = 2) -> Image:
    """The whole image, colour as 3 channels (transparency is dropped).

    Raises FileNotFoundError; ValueError where the file is unreadable or truncated, holds several
    pages and none was chosen, has axes that make no image of `dims` dimensions, or NaN pixels.
    """
    with open_lazily(source, dims=dims) as image:
        pixels = image[...]
        _refuse_not_finite(pixels, image.source)
        return Image(image.name, pixels, image.pixel_size_um)


def read_labels(source: Source | str | Path, *, dims: int = 2) -> NDArray[np.int32]:
    """Labels (*S): 0 background, negative where the pixel is to be ignored.

    Floating-point files are taken where every value is a whole number. Raises ValueError for colour,
    fractions, numbers beyond int32, and as `read`.
    """
    with LazyImage(source, dims=dims, indices=True) as image:
        where = describe(image.source)
        if image.shape[0] != 1:
            raise ContractileError(
                f"labels must have one channel, got {image.shape[0]} (a colour picture?)",
                "save the object numbers as a 16-bit grey TIFF or PNG",
                where=where,
            )
        values = image[0]
        _refuse_not_finite(values, image.source)
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        share = float(np.mean(values != np.rint(values)))
        raise ContractileError(
            f"labels must be whole numbers, {share:.1%} of the pixels are fractions", "save integers", where=where
        )
    if values.size and (values.max() > INTEGRAL_UP_TO or values.min() < -INTEGRAL_UP_TO):
        extreme = max(abs(int(values.max())), abs(int(values.min())))
        raise ContractileError(f"labels must fit into 32 bits, got {extreme}", "renumber the objects", where=where)
    return values.astype(np.int32)


def read_probabilities(source: Source | str | Path, *, dims: int = 2) -> NDArray[np.float32]:
    """Probabilities (K, *S) in [0, 1], as `write_probabilities` wrote them; 8- and 16-bit maps are
    divided by 255 and 65535. Raises ValueError for values outside [0, 1], and as `read`."""
    image = read(source, dims=dims)
    where = describe(_as_source(source))
    values = image.pixels
    if values.dtype in (np.uint8, np.uint16):
        return (values / np.float32(np.iinfo(values.dtype).max)).astype(np.float32)
    tolerance = 1e-4
    if values.dtype.kind != "f" or values.min() < -tolerance or values.max() > 1 + tolerance:
        raise ContractileError(
            (
                f"probabilities must be floats in [0, 1] or unsigned 8- or 16-bit maps, got {values.dtype} "
                f"from {values.min()} to {values.max()}"
            ),
            "save them after softmax or sigmoid",
            where=where,
        )
    inside: NDArray[np.float32] = np.clip(values, 0, 1).astype(np.float32)
    return inside


def describe(source: Source) -> str:
    """The source for a message: its path, and its page where it has one."""
    return f"{source.path}" if source.page is None else f"{source.path} (page {source.page})"


def _as_source(source: Source | str | Path) -> Source:
    if isinstance(source, Source):
        return source
    path = Path(source).expanduser()
    return Source(stem(path), path)


def _choose(rasters: list[Raster], source: Source, dims: int) -> tuple[Raster, Layout, int]:
    """The raster, its layout, and the page within it, that a source means."""
    layouts = [arrange(one.axes, one.lengths, dims=dims, file=str(source.path)) for one in rasters]
    total = sum(layout.pages for layout in layouts)
    if source.page is None and total > 1:
        raise ContractileError(
            f"holds {total} pages, but one image was asked for", "list them with find()", where=source.path
        )
    page = source.page or 0
    for raster, layout in zip(rasters, layouts, strict=True):
        if page < layout.pages:
            return raster, layout, page
        page -= layout.pages
    raise ContractileError(f"page must be below {total}, got {source.page}", "list them with find()", where=source.path)


def _plain_dtype(dtype: np.dtype[Any], path: Path) -> np.dtype[Any]:
    """The machine's own byte order; yes/no pixels count as 0 and 1."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "uif":
        raise ContractileError(f"pixels must be integers or floats, got {dtype}", "convert them first", where=path)
    return np.dtype(dtype).newbyteorder("=")


def _pixel_size(raster: Raster, dims: int) -> tuple[float, ...] | None:
    sizes = tuple(raster.scale.get(axis) for axis in "ZYX"[-dims:])
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def _refuse_not_finite(pixels: NDArray[Any], source: Source) -> None:
    if pixels.dtype.kind != "f":
        return
    bad = int(pixels.size - np.isfinite(pixels).sum())
    if bad:
        raise ContractileError(
            f"{bad} of {pixels.size} pixels are NaN or infinite",
            "replace them (by 0 or the median of their neighbours) and save again",
            where=describe(source),
        )


def _as_slices(key: Key | tuple[Key, ...], shape: tuple[int, ...]) -> tuple[list[slice], tuple[int | slice, ...]]:
    """An index -> a slice for every axis, and what then removes the axes indexed by a number."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    keys += [slice(None)] * (len(shape) - len(keys))
    if len(keys) != len(shape):
        raise IndexError(f"an image of shape {shape} takes at most {len(shape)} indices, got {len(keys)}")
    slices: list[slice] = []
    taken: list[int | slice] = []
    for one, length in zip(keys, shape, strict=True):
        if isinstance(one, slice):
            if one.step is not None and one.step < 1:
                raise IndexError(f"an image on disk is read in steps of at least 1, got {one.step}")
            slices.append(one)
            taken.append(slice(None))
            continue
        place = range(length)[one]  # type: ignore[index]
        slices.append(slice(place, place + 1))
        taken.append(0)
    return slices, tuple(taken)
