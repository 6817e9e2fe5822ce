"""Labels, probabilities and pictures -> files.

No file is left half-written: each is written under a temporary name beside its target and then renamed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import ArrayLike, NDArray

from contractile.errors import ContractileError, NotWritable, NotWritten, WrongType
from contractile.grid import Region
from contractile.images.image import Shape, Size
from contractile.images.raster import one_clear_line

Kind = Literal["labels", "probabilities"]
IMAGEJ_TYPES = ("uint8", "uint16", "float32")
IMAGEJ_BYTES = 2**31  # an ImageJ TIFF cannot be a BigTIFF
SOFTWARE = "contractile"  # the mark by which files of this package are known from others
_TEXT = b"tEXtSoftware\0" + SOFTWARE.encode()
PNG_MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))  # a chunk of text
PNG_HEAD = 33  # bytes of a PNG in front of its second chunk


def write_labels(path: str | Path, labels: NDArray[Any], *, pixel_size_um: Size = None) -> None:
    """Write integer labels (*S), or pages of them (P, *S), as a compressed TIFF.

    Its type is the smallest unsigned one that holds them, or int32 where some are negative. Raises WrongType,
    ContractileError, NotWritten, NotWritable.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib":
        raise WrongType(f"labels must be integers, got {labels.dtype}", "decode probabilities first")
    axes = _label_axes(labels.shape)
    _write_tiff(Path(path), labels.astype(_smallest(labels), copy=False), axes, pixel_size_um)


def write_probabilities(
    path: str | Path, probabilities: NDArray[Any], *, dims: int = 2, pixel_size_um: Size = None
) -> None:
    """Write probabilities (K, *S), or pages of them (P, K, *S), as a float32 TIFF; `dims` axes are space.

    Raises ContractileError, NotWritten, NotWritable.
    """
    values = np.asarray(probabilities, dtype=np.float32)
    _write_tiff(Path(path), values, _probability_axes(values.shape, dims), pixel_size_um)


class TiffSink:
    """A TIFF of labels (*S) or (P, *S), or of probabilities (K, *S) or (P, K, *S), written region by region.

    `sink[region] = values` in any order; what is not written stays 0. `close` writes the file. So does the end of a
    `with` block, unless an exception ends it. All values are in memory until then.
    Raises ContractileError at once for a shape that such a file cannot have.
    """

    def __init__(
        self, path: str | Path, shape: Shape, *, kind: Kind = "labels", dims: int = 2, pixel_size_um: Size = None
    ) -> None:
        _label_axes(shape) if kind == "labels" else _probability_axes(shape, dims)
        self.shape = shape
        self._values: NDArray[Any] = np.zeros(shape, np.int32 if kind == "labels" else np.float32)
        write = write_labels if kind == "labels" else partial(write_probabilities, dims=dims)
        self._write = partial(write, path, self._values, pixel_size_um=pixel_size_um)

    def __setitem__(self, region: Region, values: ArrayLike) -> None:
        self._values[region] = values

    def finished(self, block: object) -> None:
        """Mark a block as done. This sink keeps no record: the file does not exist before all of it is done."""

    def close(self) -> None:
        """Write the file. Raises what `write_labels` and `write_probabilities` raise."""
        self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


def write_image(path: str | Path, pixels: NDArray[Any], *, pixel_size_um: Size = None) -> None:
    """Write pixels (C, *S) as a compressed TIFF of the same type (8- or 16-bit integers, float32 ...).

    `read` gives them back. Raises ContractileError, NotWritten, NotWritable.
    """
    pixels = np.asarray(pixels)
    axes = _axes(pixels.shape, "CYX" if pixels.ndim < 4 else "CZYX", 3, "pixels must be (C, Y, X) or (C, Z, Y, X)")
    if len(pixels) == 1:
        pixels, axes = pixels[0], axes[1:]
    _write_tiff(Path(path), pixels, axes, pixel_size_um)


def write_picture(path: str | Path, rgb: NDArray[np.uint8]) -> None:
    """Write a colour picture (Y, X, 3) uint8, or a grey one (Y, X), as PNG.

    Raises ContractileError, NotWritten, NotWritable.
    """
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or (rgb.ndim == 3 and rgb.shape[-1] != 3):
        raise ContractileError(f"rgb must be (Y, X, 3) or (Y, X) uint8, got {rgb.dtype} {rgb.shape}", "convert it")
    data = imagecodecs.png_encode(np.ascontiguousarray(rgb))
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data[:PNG_HEAD] + PNG_MARK + data[PNG_HEAD:])


def is_ours(path: str | Path) -> bool:
    """Whether this package wrote the file, a TIFF or PNG. Any other file may have been made by hand."""
    try:
        with one_clear_line(Path(path)):
            with Path(path).open("rb") as file:
                head = file.read(PNG_HEAD + len(PNG_MARK))
            if head.startswith(b"\x89PNG"):
                return head.endswith(PNG_MARK)
            with tifffile.TiffFile(path) as tiff:
                return bool(tiff.pages.first.software == SOFTWARE)
    except ContractileError:
        return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` at the end, removed on error.

    Makes the folder. An OSError becomes NotWritten, or NotWritable where permission was refused.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        kind = NotWritable if isinstance(error, PermissionError) else NotWritten
        raise kind(problem, "choose a folder you may write to, on a disk with free space", where=path) from error
    finally:
        if temporary.is_file():
            temporary.unlink()


def _label_axes(shape: Shape) -> str:
    return _axes(shape, "TZYX", 2, "labels must be (Y, X), (Z, Y, X) or pages of them")


def _probability_axes(shape: Shape, dims: int) -> str:
    rule = f"probabilities must be (K, *S) or (P, K, *S) with dims={dims} axes of space"
    return _axes(shape, "TC" + "ZYX"[-dims:], dims + 1, rule)


def _axes(shape: Shape, letters: str, at_least: int, rule: str) -> str:
    """The last of `letters`, one per axis of `shape`. Raises ContractileError for fewer than `at_least` or too many."""
    if not at_least <= len(shape) <= len(letters):
        raise ContractileError(f"{rule}, got shape {shape}", "drop or add axes")
    return letters[-len(shape) :]


def _smallest(labels: NDArray[Any]) -> type[np.unsignedinteger[Any]] | type[np.signedinteger[Any]]:
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < -(2**31) or high >= 2**32 or (low < 0 and high >= 2**31):
        raise ContractileError(f"labels must fit into 32 bits, got {low} to {high}", "renumber the objects")
    if low < 0:
        return np.int32
    return np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.uint32


def _write_tiff(path: Path, array: NDArray[Any], axes: str, pixel_size_um: Size) -> None:
    """Write an ImageJ TIFF where ImageJ knows the type and the order of axes, else an OME-TIFF.

    Both keep the pixel size, but drop axes of length 1. With such an axis the form is tifffile's own, which keeps it.
    """
    sizes = (None, None, None, *(pixel_size_um or (None, None)))[-3:]
    z, y, x = sizes
    known = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", sizes, strict=True) if size}
    form: dict[str, Any] = {"ome": True, "metadata": {"axes": axes, **known}}
    if str(array.dtype) in IMAGEJ_TYPES and "CZ" not in axes and array.nbytes < IMAGEJ_BYTES:
        unit = {"unit": "um", **({"spacing": z} if z else {})} if x else {}
        form = {"imagej": True, "metadata": {"axes": axes, **unit}}
    if 1 in (*array.shape[:-2], array.shape[-1]):
        form = {"metadata": {"axes": axes}}
    if x and y:
        form |= {"resolution": (1 / x, 1 / y)}
        if "imagej" not in form:
            form |= {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, array, photometric="minisblack", compression="zlib", software=SOFTWARE, **form)
