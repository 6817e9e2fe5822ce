"""Labels, probabilities and pictures -> files.

No file is left half-written (`storage.replacing`).
"""

from __future__ import annotations

import errno
import math
import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError, NotWritable, NotWritten, WrongType
from contractile.images.image import Shape, Size, Stack
from contractile.images.raster import one_clear_line
from contractile.images.streaming import WHOLE, Deferred, check_fit, is_large, is_sliceable, smallest_type, span
from contractile.images.tiff_forms import SOFTWARE, Part, write_parts
from contractile.storage import FULL, replacing

UNFIT = {errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}  # of names that no folder can have
KnownSize = tuple[float | None, ...] | None  # of a pixel; None along an axis where it is not known
PageSizes = KnownSize | list[Size] | list[KnownSize]  # one for all pages, or one for each
_TEXT = b"tEXtSoftware\0" + SOFTWARE.encode()
PNG_MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))  # a chunk of text
PNG_HEAD = 33  # bytes of a PNG in front of its second chunk


def write_labels(
    path: str | Path,
    labels: Any,
    *,
    pixel_size_um: PageSizes = None,
    stack: Stack | None = None,
    count: int | None = None,
) -> None:
    """Write integer labels (*S), or pages of them (P, *S), as a compressed TIFF.

    `labels` are an array, or anything with `shape`, `dtype` and `labels[region]`: it is read part by part, so that
    labels of any size need little memory. Images of more than 2048 pixels along Y or X are tiled.

    `stack` says what the pages are; the file gets its axes and what it knows of time and depth. Without it one axis
    more than Y and X is Z, and one in front of Z is T. `pixel_size_um` is that of all pages, or a list of P sizes;
    where these differ, or where the pages are several stacks (Q in front of T or Z), the file holds several images.
    A size may be None along an axis. Pages that are planes (Z) may have one along Z, Y and X.

    The type is the smallest unsigned one that holds the labels, or int32 where some are negative. `count` is the
    largest number; where it is not given, all labels are read once more to find it. Raises WrongType,
    ContractileError, NotWritten, NotWritable.
    """
    values = labels if is_sliceable(labels) else np.asarray(labels)
    if values.dtype.kind not in "uib":
        raise WrongType(f"labels must be integers, got {values.dtype}", "decode probabilities first")
    axes, sizes = _label_axes(tuple(values.shape), stack), _page_sizes(pixel_size_um, stack)
    dtype = _smallest(values) if count is None else smallest_type(count)
    _write_tiff(Path(path), _laid_out(values, dtype, stack), axes, sizes, stack)


def write_probabilities(
    path: str | Path,
    probabilities: Any,
    *,
    dims: int = 2,
    pixel_size_um: PageSizes = None,
    stack: Stack | None = None,
) -> None:
    """Write probabilities (K, *S), or pages of them (P, K, *S), as a float32 TIFF; `dims` axes are space.

    They are an array, or anything with `shape`, `dtype` and `probabilities[region]`, as labels in `write_labels`. A
    TIFF holds one class after the other, so that regions of large images are asked for one class at a time.

    `pixel_size_um` and `stack` as in `write_labels`; without `stack` pages are T. The classes are the channels (C) of
    the file. Raises ContractileError, NotWritten, NotWritable.
    """
    dtype = np.dtype(np.float32)
    values = probabilities if is_sliceable(probabilities) else np.asarray(probabilities, dtype=dtype)
    axes, sizes = _probability_axes(tuple(values.shape), dims, stack), _page_sizes(pixel_size_um, stack)
    _write_tiff(Path(path), _laid_out(values, dtype, stack), axes, sizes, stack)


def write_image(path: str | Path, pixels: NDArray[Any], *, pixel_size_um: Size = None) -> None:
    """Write pixels (C, *S) as a compressed TIFF of the same type (8- or 16-bit integers, float32 ...).

    `read` gives them back. Raises ContractileError, NotWritten, NotWritable.
    """
    pixels = np.asarray(pixels)
    axes = _axes(pixels.shape, "CYX" if pixels.ndim < 4 else "CZYX", 3, "pixels must be (C, Y, X) or (C, Z, Y, X)")
    if len(pixels) == 1:
        pixels, axes = pixels[0], axes[1:]
    _write_tiff(Path(path), _laid_out(pixels, pixels.dtype, None), axes, [pixel_size_um], None)


def write_picture(path: str | Path, rgb: NDArray[np.uint8]) -> None:
    """Write a colour picture (Y, X, 3) uint8, or a grey one (Y, X), as PNG.

    Raises ContractileError, NotWritten, NotWritable.
    """
    write_encoded(path, encode_picture(rgb))


def encode_picture(rgb: NDArray[np.uint8]) -> bytes:
    """A colour picture (Y, X, 3) uint8, or a grey one (Y, X), as PNG. Raises ContractileError."""
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or (rgb.ndim == 3 and rgb.shape[-1] != 3):
        raise ContractileError(f"rgb must be (Y, X, 3) or (Y, X) uint8, got {rgb.dtype} {rgb.shape}", "convert it")
    data = imagecodecs.png_encode(np.ascontiguousarray(rgb))
    return bytes(data[:PNG_HEAD]) + PNG_MARK + bytes(data[PNG_HEAD:])


def write_encoded(path: str | Path, png: bytes) -> None:
    """Write what `encode_picture` gave. Raises NotWritten, NotWritable."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(png)


def is_ours(path: str | Path) -> bool:
    """Whether this package wrote the file, a TIFF or PNG, or the OME-Zarr. Any other may have been made by hand."""
    if not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe would never end
        return False
    try:
        with one_clear_line(Path(path)):
            if os.path.isdir(path):
                from contractile.images.zarrs import is_made_by

                return is_made_by(Path(path), SOFTWARE)
            with Path(path).open("rb") as file:
                head = file.read(PNG_HEAD + len(PNG_MARK))
            if head.startswith(b"\x89PNG"):
                return head.endswith(PNG_MARK)
            with tifffile.TiffFile(path) as tiff:
                return bool(tiff.pages.first.software == SOFTWARE)
    except ContractileError:
        return False


def check_folder(folder: str | Path) -> None:
    """Raise NotWritable where `folder`, which need not be there yet, takes no files, NotWritten where the disk is full,
    and ContractileError where the name can be no folder.

    Call it before work whose results would be lost. Permissions do not tell of systems that take no files, so a folder
    is made for a moment, in the nearest folder that is there.
    """
    problem, cure = "no files can be written into this folder", "choose a folder that you may write to"
    try:
        if why := _why_no_folder(Path(folder).absolute()):
            raise ContractileError(f"{problem}: {why}", cure, where=folder)
    except OSError as error:
        if error.errno in FULL:
            cure = "choose a folder on a disk with free space"
            raise NotWritten(f"cannot be written ({error.strerror})", cure, where=folder) from error
        kind, why = ContractileError if error.errno in UNFIT else NotWritable, error.strerror or str(error)
        if isinstance(error, FileNotFoundError):  # what systems of their own, such as /proc, say of any new name
            why = f"{Path(error.filename).parent} takes no new files"
        raise kind(f"{problem}: {why}", cure, where=folder) from error


def check_file(path: str | Path) -> None:
    """Raise ContractileError where this name can be no file. Call it as `check_folder`, whose errors it raises, too."""
    if os.path.isdir(path):
        raise ContractileError("the file cannot be written: it is a folder", "name a file", where=path)
    check_folder(Path(path).parent)


def _why_no_folder(path: Path) -> str:
    """Why a name cannot be that of a folder; empty where it can. Raises OSError where the folder takes no files."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(path)  # raises for a name that no folder can have
    nearest = next(place for place in (path, *path.parents) if os.path.lexists(place))
    here = "it" if nearest == path else f"{nearest}"
    if nearest.is_symlink() and not nearest.exists():
        return f"{here} is a link to {nearest.readlink()}, which is not there"
    if not nearest.is_dir():
        return f"{here} is a file"
    os.rmdir(tempfile.mkdtemp(prefix=".", dir=nearest))
    return ""


def _label_axes(shape: Shape, stack: Stack | None) -> str:
    if stack is not None:
        return _stack_axes(shape, stack, "ZYX"[-(len(shape) - 1) :] if len(shape) in (3, 4) else "")
    return _axes(shape, "TZYX", 2, "labels must be (Y, X), (Z, Y, X) or pages of them")


def _probability_axes(shape: Shape, dims: int, stack: Stack | None) -> str:
    if stack is not None:
        return _stack_axes(shape, stack, "C" + "ZYX"[-dims:])
    rule = f"probabilities must be (K, *S) or (P, K, *S) with dims={dims} axes of space"
    return _axes(shape, "TC" + "ZYX"[-dims:], dims + 1, rule)


def _stack_axes(shape: Shape, stack: Stack, page: str) -> str:
    """The axes of all pages of a stack, `page` those of one. Raises ContractileError where `shape` does not fit."""
    pages = math.prod(stack.lengths)
    if not page or len(shape) != 1 + len(page) or shape[0] != pages:
        wanted = f"({pages}, {', '.join(page) or '*S'})"
        problem = f"with pages {stack.axes} of lengths {stack.lengths} the shape must be {wanted}, got {shape}"
        raise ContractileError(problem, "put all pages along the first axis")
    return stack.axes + page


def _axes(shape: Shape, letters: str, at_least: int, rule: str) -> str:
    """The last of `letters`, one per axis of `shape`. Raises ContractileError for fewer than `at_least` or too many."""
    if not at_least <= len(shape) <= len(letters):
        raise ContractileError(f"{rule}, got shape {shape}", "drop or add axes")
    return letters[-len(shape) :]


def _page_sizes(size: PageSizes, stack: Stack | None) -> Sequence[KnownSize]:
    """One size for all pages, or as many as there are pages."""
    if not isinstance(size, list):
        return [size]
    if stack is None or len(size) != math.prod(stack.lengths):
        pages = math.prod(stack.lengths) if stack else 0
        problem = f"pixel_size_um must be one size, or a list of one for each of {pages} pages, got {len(size)}"
        raise ContractileError(problem, "give the stack and the size of each of its pages")
    return size


def _smallest(labels: Any) -> np.dtype[Any]:
    if is_sliceable(labels):
        low, high = span(labels)
    else:
        low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < -(2**31) or high >= 2**32 or (low < 0 and high >= 2**31):
        raise ContractileError(f"labels must fit into 32 bits, got {low} to {high}", "renumber the objects")
    return np.dtype(np.int32) if low < 0 else smallest_type(high)


def _laid_out(values: Any, dtype: np.dtype[Any], stack: Stack | None) -> NDArray[Any] | Deferred:
    """Values with one axis for each of the stack: those of large images are read when they are written."""
    found = Deferred.of(values, dtype, stack)
    if is_large(found.shape) or (is_sliceable(values) and found.nbytes > WHOLE):
        return found
    whole = np.asarray(values[...]) if is_sliceable(values) else values
    check_fit(whole, dtype)
    return np.asarray(whole.astype(dtype, copy=False).reshape(found.shape))


def _write_tiff(
    path: Path, values: NDArray[Any] | Deferred, axes: str, sizes: Sequence[KnownSize], stack: Stack | None
) -> None:
    with replacing(path) as temporary:
        write_parts(temporary, _parts(values, axes, sizes, stack or Stack("", ())))


def _parts(values: NDArray[Any] | Deferred, axes: str, sizes: Sequence[KnownSize], stack: Stack) -> list[Part]:
    """One image, or several: stacks without a name of their own, as OME-TIFF has them, and pages of different sizes."""
    whole = Part(values, axes, _size_along_zyx(sizes[0], stack), stack.interval_s)
    stacks = axes[0] == "Q" and len(values) > 1 and not set("TZ").isdisjoint(axes)
    if len(set(sizes)) == 1 and not (stacks and replace(whole, values=values[0], axes=axes[1:]).fits_ome):
        return [whole]
    each = len(sizes) // len(values)  # pages along the other axes; 0 for one size
    of_index = [sizes[index * each : (index + 1) * each] or sizes for index in range(len(values))]
    return [part for one, own in zip(values, of_index, strict=True) for part in _parts(one, axes[1:], own, stack)]


def _size_along_zyx(size: KnownSize, stack: Stack) -> tuple[float | None, float | None, float | None]:
    z, y, x = (None, None, None, *(size or (None, None)))[-3:]
    return (stack.spacing_um if z is None and "Z" in stack.axes else z, y, x)
