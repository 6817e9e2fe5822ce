"""A source -> its pixels, labels or probabilities, in the canonical order of axes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, WrongType, shown
from contractile.grid import Pixels, Region, as_slices
from contractile.images.axes import Layout, arrange
from contractile.images.channel_names import channels_of
from contractile.images.channels import COLOURS, Channels, grey_of
from contractile.images.image import Image, Size
from contractile.images.naming import Guess, check_axes
from contractile.images.notes import say
from contractile.images.opened import take
from contractile.images.planes import FIX, name_planes, refuse_channels
from contractile.images.raster import Raster, chunks_of, one_clear_line
from contractile.images.shape_files import Canvas, draw_labels, open_shapes, shape_kind
from contractile.images.sources import Drawn, Source, stem

LARGEST = 2**31 - 1  # labels are int32
MOST_PLANES = 256  # of classes in one file
ROUNDING = 1e-4  # by which probabilities may miss [0, 1]


class _Stored:
    """The pixels (C, *S) of one image on disk. Slicing reads them."""

    def __init__(self, raster: Raster, layout: Layout, page: int, path: Path) -> None:
        self._layout, self._page, self._path, self._load = layout, page, path, raster.load
        with one_clear_line(path):
            self._fresh = self._load()
            chunks = chunks_of(self._fresh)
        self.unit = tuple(min(chunks[axis], layout.lengths[axis]) for axis in layout.space_axes)
        self.dtype = _plain_dtype(raster.dtype, path)
        channels, *space = layout.shape
        self.shape = (channels - raster.alpha if channels > raster.alpha else channels, *space)

    def __getitem__(self, region: Region) -> NDArray[Any]:
        parts, taken = as_slices(region, self.shape)
        index = self._layout.index(self._page, parts[0], tuple(parts[1:]))
        with one_clear_line(self._path):
            # a file is mapped anew for each region: what was read of a mapping counts as used memory while it lasts
            fresh, self._fresh = self._fresh, None  # in this order: other threads read, too
            stored = self._load() if fresh is None else fresh
            part = stored[index].transpose(self._layout.order())
            block = np.array(part, self.dtype, order="C", copy=True if isinstance(part, np.memmap) else None)
        if self._layout.channel_axis is None:
            block = block[None][parts[0]]  # (*S) -> (C, *S)
        return block[taken]


def open_image(source: Source | str | Path, *, dims: int = 2, axes: str | None = None) -> Image:
    """The image of a source, with its pixels left on disk: for images larger than memory. Use it in a `with` statement.

    Uncompressed TIFF and .npy are mapped into memory. Compressed TIFF and OME-Zarr are read chunk by chunk: a strip,
    a tile or a plane. Pictures (PNG, JPEG) are decoded whole. Where channels are files of their own, each is read so,
    but one that is stored as a colour picture is read whole. Raises what `read` raises, but does not look for NaN.
    """
    source = _as_source(source, axes)
    if source.drawn is not None:
        raise ContractileError("holds shapes, not pixels", "give it as labels", where=source.path)
    return _join_channels(source, dims) if source.parts else _open(source, dims)


def _open(source: Source, dims: int, *, indices: bool = False) -> Image:
    axes = source.axes or (source.guess.axes if source.guess else None)  # the pages are counted by these
    opened = take(source.path, dims=dims, indices=indices, axes=axes)
    with ExitStack() as failure:
        failure.callback(opened.close)
        raster, layout, page = _choose(opened.rasters, source, dims)
        guess = Guess(raster.lengths, raster.axes)
        for remark in (*raster.notes, *([str(guess)] if raster.guessed and guess.is_open else [])):
            say(remark, [source.path])
        pixels = _Stored(raster, layout, page, source.path)
        failure.pop_all()
    is_last = source.page is None or (raster is opened.rasters[-1] and page == layout.pages - 1)
    after = ExitStack()
    after.callback(opened.close if is_last else opened.keep)
    size, origin = (_along_space(known, dims) for known in (raster.scale, raster.origin))
    return Image(
        source.name,
        pixels,
        size,
        origin_um=origin,
        file=after,
        channels=channels_of(raster, layout, pixels.shape[0]),
        lower=partial(_lower, raster, layout, page, source.path),
    )


def _lower(raster: Raster, layout: Layout, page: int, path: Path) -> list[_Stored]:
    """The lower resolutions of an image, as far as they have its channels and pages. What cannot be read is said."""
    try:
        with one_clear_line(path):
            found = [replace(one, axes=raster.axes, alpha=raster.alpha) for one in raster.lower()]
        like = [one for one in found if _is_lower(one, layout)]
        dims = len(layout.space_axes)
        return [_Stored(one, arrange(one.axes, one.lengths, dims=dims, file=str(path)), page, path) for one in like]
    except ContractileError as error:
        say(f"its lower resolutions are not used: {error.problem}", [path])
        return []


def _is_lower(raster: Raster, full: Layout) -> bool:
    """Whether a raster is as long as the full resolution but along the axes of space, where it is shorter."""
    if len(raster.lengths) != len(full.lengths):
        return False
    pairs = list(zip(raster.lengths, full.lengths, strict=True))
    same = all(few == n for axis, (few, n) in enumerate(pairs) if axis not in full.space_axes)
    return same and 0 not in raster.lengths and all(few <= n for few, n in pairs) and raster.lengths != full.lengths


def read(
    source: Source | str | Path,
    *,
    dims: int = 2,
    axes: str | None = None,
) -> Image:
    """The whole image, in memory. Colour becomes 3 channels; transparency is dropped.

    Raises NotFound, and ContractileError where the file is unreadable or truncated, holds several pages and none was
    chosen, has axes that make no image of `dims` dimensions, does not fit into memory, or holds pixels that are NaN or
    infinite.
    """
    source = _as_source(source, axes)
    with open_image(source, dims=dims) as image:
        pixels = image.pixels
    refuse_not_finite(pixels, source)
    return Image(image.name, pixels, image.pixel_size_um, origin_um=image.origin_um, channels=image.channels)


def _join_channels(source: Source, dims: int) -> Image:
    """The image whose channels are those of its parts, in order."""
    with ExitStack() as opened:
        images = [opened.enter_context(_open(part, dims)) for part in _parts(source)]
        _check_sizes(source, [image.shape[1:] for image in images])
        parts = [_grey_if_coloured(image) for image in images]
        whole = all(part is image for part, image in zip(parts, images, strict=True))
        lower = partial(_join_levels, images) if whole else None
        return Image(source.name, Channels(parts), images[0].pixel_size_um, file=opened.pop_all(), lower=lower)


def _join_levels(images: Sequence[Image]) -> list[Channels]:
    """The lower resolutions that all parts have in the same sizes."""
    levels = zip(*(image.levels[1:] for image in images), strict=False)
    return [Channels(parts) for parts in levels if len({part.shape[1:] for part in parts}) == 1]


def _grey_if_coloured(image: Image) -> Pixels:
    """The channels of an image; one if it is a grey picture that is stored as colour."""
    if image.shape[0] not in COLOURS:
        return image
    pixels = image.pixels
    grey = grey_of(pixels)
    return pixels if grey is None else grey


def _parts(source: Source) -> list[Source]:
    """The parts as sources, with the page and the axes of all."""
    return [replace(source, name=part.stem, path=part, parts=()) for part in source.parts]


def _check_sizes(source: Source, sizes: Sequence[tuple[int, ...]]) -> None:
    for part, size in zip(source.parts, sizes, strict=True):
        if size != sizes[0]:
            found = f"{size} beside {sizes[0]} ({source.parts[0].name})"
            problem = f"the files of one image must have the same size, got {found}"
            raise ContractileError(problem, "crop them, or move the odd one away", where=part)


def read_labels(source: Source | str | Path, *, dims: int = 2, axes: str | None = None) -> NDArray[np.int32]:
    """Labels (*S): 0 is background, negative values are pixels to ignore.

    A file of floats is read where every value is a whole number. Where each part of a source is a mask, part number n
    is object n. Shapes are drawn, by the rules in `drawings`. Raises ContractileError for colour, fractions and numbers
    beyond int32, for shapes of which none lies in the image, and what `read` raises.
    """
    source = _as_source(source, axes)
    if source.parts:
        return _number_objects(source, dims)
    if source.drawn is not None:
        return draw_labels(source.path, source.drawn.entry, source.drawn.numbering, _canvas(source.drawn.on, dims))
    where = describe(source)
    with _open(source, dims, indices=True) as image:
        stored = image.pixels
    pixels = stored if len(stored) == 1 else grey_of(stored)
    if pixels is None:
        raise refuse_channels(stored, where, source.guess.other if source.guess else None)
    if len(pixels) < len(stored):
        say("three equal channels are read as one", [source.path])
    values: NDArray[Any] = pixels[0]
    refuse_not_finite(values, source)
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        share = float(np.mean(values != np.rint(values)))
        problem = f"labels must be whole numbers, {share:.1%} of the pixels are fractions"
        raise ContractileError(problem, f"save integers; {FIX} makes them of most such files", where=where)
    if values.size and (values.max() > LARGEST or values.min() < -LARGEST):
        extreme = max(abs(int(values.max())), abs(int(values.min())))
        problem = f"labels must fit into 32 bits, got {extreme}"
        raise ContractileError(problem, f"renumber the objects; {FIX} does so", where=where)
    return values.astype(np.int32)


def _canvas(on: Source | None, dims: int) -> Canvas | None:
    """What shapes lie in; None where that is not known."""
    if on is None:
        return None
    if on.drawn is not None:  # shapes on other shapes: their file may say how large the image is
        size = open_shapes(on.path)[on.drawn.entry].size if shape_kind(on.path) != "Cellpose" else None
        return None if size is None else Canvas(size)
    with open_image(on, dims=dims) as image:
        shape = image.shape[1:]
    axes, counts = ("", ()) if on.stack is None else (on.stack.axes, on.stack.lengths)
    place = np.unravel_index(on.page or 0, counts) if counts else ()
    places = tuple((axis, int(at)) for axis, at in zip(axes, place, strict=False) if axis in "TZ")
    lengths = {axis: length for axis, length in zip(axes, counts, strict=False) if axis in "TZ"}
    lengths |= {"": math.prod(counts)} if counts else {}
    return Canvas(shape, on.page, places, counted=bool(axes) and not places, lengths=tuple(lengths.items()))


def _number_objects(source: Source, dims: int) -> NDArray[np.int32]:
    """Labels (*S) from a mask of each object, which is where it is brighter than half.

    A pixel that several masks show belongs to the first of them.
    """
    masks = [read(part, dims=dims).pixels.max(axis=0) for part in _parts(source)]
    _check_sizes(source, [mask.shape for mask in masks])
    labels = np.zeros(masks[0].shape, np.int32)
    for number, mask in enumerate(masks, start=1):
        labels[(labels == 0) & (mask > mask.max(initial=0) / 2)] = number
    return labels


def name_pages(pages: Sequence[Source], *, dims: int = 2) -> str:
    """What the pages of one file look like where they are planes of one label image (`name_planes`); else empty."""
    if 1 < len(pages) <= MOST_PLANES:
        with suppress(ContractileError):  # of a page that cannot be read
            return name_planes(read(page, dims=dims).pixels[0] for page in pages)
    return ""


def read_probabilities(source: Source | str | Path, *, dims: int = 2, axes: str | None = None) -> NDArray[np.float32]:
    """Probabilities (K, *S) in [0, 1], as `write_probabilities` wrote them.

    8- and 16-bit maps are divided by 255 and 65535. Raises ContractileError for values outside [0, 1], and what `read`
    raises.
    """
    source = _as_source(source, axes)
    return as_probabilities(read(source, dims=dims).pixels, describe(source))


def as_probabilities(values: NDArray[Any], where: str) -> NDArray[np.float32]:
    """Floats, or 8- and 16-bit maps, in which 255 and 65535 stand for 1 -> float32 in [0, 1], of the same shape.

    Raises ContractileError, which names `where`, for other types and for values outside [0, 1].
    """
    if values.dtype in (np.uint8, np.uint16):
        return (values / np.float32(np.iinfo(values.dtype).max)).astype(np.float32)
    if values.dtype.kind != "f" or not (values.min(initial=0) >= -ROUNDING and values.max(initial=0) <= 1 + ROUNDING):
        rule = "probabilities must be floats in [0, 1] or unsigned 8- or 16-bit maps"
        problem = f"{rule}, got {values.dtype} from {values.min(initial=0)} to {values.max(initial=0)}"
        cure = "apply softmax or sigmoid before they are saved, or save labels as integers"
        raise ContractileError(problem, cure, where=where)
    inside: NDArray[np.float32] = np.clip(values, 0, 1).astype(np.float32)
    return inside


def describe(source: Source) -> str:
    """The source in a message: its path, and its page where it has one."""
    return f"{source.path}" if source.page is None else f"{source.path} (page {source.page})"


def _as_source(source: Source | str | Path, axes: str | None) -> Source:
    """A source with the axes that were given for it, if any."""
    if not isinstance(source, Source):
        if not isinstance(source, str | os.PathLike):
            raise WrongType(f"source must be the path of an image file, got {shown(source)}", "give a path")
        path = Path(os.path.expanduser(source))
        source = Source(stem(path), path, drawn=Drawn() if shape_kind(path) else None)
    return source if axes is None else replace(source, axes=check_axes(axes))


def _choose(rasters: list[Raster], source: Source, dims: int) -> tuple[Raster, Layout, int]:
    """The raster of a source, its layout, and the page within it."""
    layouts = [arrange(one.axes, one.lengths, dims=dims, file=str(source.path)) for one in rasters]
    total = sum(layout.pages for layout in layouts)
    if source.page is None and total > 1:
        problem = f"holds {total} pages, but one image was asked for"
        raise ContractileError(problem, "list them with find()", where=source.path)
    page = source.page or 0
    for raster, layout in zip(rasters, layouts, strict=True):
        if page < layout.pages:
            return raster, layout, page
        page -= layout.pages
    raise ContractileError(f"page must be below {total}, got {source.page}", "list them with find()", where=source.path)


def _plain_dtype(dtype: np.dtype[Any], path: Path) -> np.dtype[Any]:
    """The type in the machine's byte order. Booleans become 0 and 1."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "uif":
        raise ContractileError(f"pixels must be integers or floats, got {dtype}", "convert them", where=path)
    return np.dtype(dtype).newbyteorder("=")


def _along_space(known: dict[str, float], dims: int) -> Size:
    """What is known of each axis of space; None where something is missing."""
    axes = "ZYX"[-dims:]
    return tuple(known[axis] for axis in axes) if set(axes) <= known.keys() else None


def refuse_not_finite(pixels: NDArray[Any], source: Source) -> None:
    """Raise ContractileError for pixels that are NaN or infinite."""
    bad = int(pixels.size - np.isfinite(pixels).sum()) if pixels.dtype.kind == "f" else 0
    if bad:
        problem = f"{bad} of {pixels.size} pixels are NaN or infinite"
        cure = "replace them (by 0 or the median of their neighbours) and save again"
        raise ContractileError(problem, cure, where=describe(source))
