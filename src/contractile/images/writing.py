"""Labels, probabilities and pictures -> files. Nothing is ever left half-written: each file is
written under a temporary name beside its target and then renamed."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError, NotWritable, NotWritten, WrongType

IMAGEJ_TYPES = ("uint8", "uint16", "float32")
IMAGEJ_BYTES = 2**31  # an ImageJ TIFF cannot be a BigTIFF
SOFTWARE = "contractile"  # the mark that tells our files from those drawn by hand
PNG_HEAD = 33  # bytes of the signature and the first chunk, behind which others may stand


def write_labels(path: str | Path, labels: NDArray[Any], *, pixel_size_um: tuple[float, ...] | None = None) -> None:
    """Integer labels (*S), or pages of them (P, *S), as a compressed TIFF of the smallest unsigned type that holds
    them (int32 where some are negative). Raises WrongType, ContractileError, NotWritten, NotWritable."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "uib":
        raise WrongType(f"labels must be integers, got {labels.dtype}", "decode probabilities first")
    axes = label_axes(labels.shape)
    _write_tiff(Path(path), labels.astype(_smallest(labels), copy=False), axes, pixel_size_um)


def label_axes(shape: tuple[int, ...]) -> str:
    """The axes of labels (*S) or (P, *S) in a file. Raises ContractileError where they cannot be labels."""
    if not 2 <= len(shape) <= 4:
        raise ContractileError(f"labels must be (Y, X), (Z, Y, X) or pages of them, got shape {shape}", "slice it")
    return "TZYX"[-len(shape) :]


def write_probabilities(
    path: str | Path,
    probabilities: NDArray[Any],
    *,
    dims: int = 2,
    pixel_size_um: tuple[float, ...] | None = None,
) -> None:
    """Probabilities (K, *S), or pages of them (P, K, *S), as a float32 TIFF; `dims` axes are space.
    Raises ContractileError, NotWritten, NotWritable."""
    values = np.asarray(probabilities, dtype=np.float32)
    _write_tiff(Path(path), values, probability_axes(values.shape, dims), pixel_size_um)


def probability_axes(shape: tuple[int, ...], dims: int) -> str:
    """The axes of probabilities (K, *S) or (P, K, *S) in a file. Raises ContractileError where they cannot be such."""
    if len(shape) not in (dims + 1, dims + 2):
        raise ContractileError(
            f"probabilities must be (K, *S) or (P, K, *S) with dims={dims} axes of space, got shape {shape}",
            "give dims=2 or dims=3",
        )
    return ("TC" + "ZYX"[-dims:])[-len(shape) :]


def write_image(path: str | Path, pixels: NDArray[Any], *, pixel_size_um: tuple[float, ...] | None = None) -> None:
    """Pixels (C, *S) in their own type (8- or 16-bit integers, float32 ...), as a compressed TIFF that
    `read` gives back. Raises ValueError, OSError."""
    pixels = np.asarray(pixels)
    if pixels.ndim not in (3, 4):
        raise ContractileError(
            f"pixels must be (C, Y, X) or (C, Z, Y, X), got shape {pixels.shape}", "add the channels"
        )
    axes = "C" + "ZYX"[-(pixels.ndim - 1) :]
    if len(pixels) == 1:
        pixels, axes = pixels[0], axes[1:]
    _write_tiff(Path(path), pixels, axes, pixel_size_um)


def write_picture(path: str | Path, rgb: NDArray[np.uint8]) -> None:
    """A colour picture (Y, X, 3) uint8, or a grey one (Y, X), as PNG. Raises ContractileError, NotWritten,
    NotWritable."""
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim not in (2, 3) or (rgb.ndim == 3 and rgb.shape[-1] != 3):
        raise ContractileError(f"rgb must be (Y, X, 3) or (Y, X) uint8, got {rgb.dtype} {rgb.shape}", "convert it")
    data = imagecodecs.png_encode(np.ascontiguousarray(rgb))
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data[:PNG_HEAD] + _png_mark() + data[PNG_HEAD:])


def _png_mark() -> bytes:
    """A chunk of text that names this package as the software that wrote the file."""
    chunk = b"tEXtSoftware\0" + SOFTWARE.encode()
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))


def is_ours(path: str | Path) -> bool:
    """Whether a file is a TIFF or PNG that this package wrote: any other may have been made by hand."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(PNG_HEAD + len(_png_mark()))
        if head.startswith(b"\x89PNG"):
            return head.endswith(_png_mark())
        with tifffile.TiffFile(path) as tiff:
            return bool(tiff.pages.first.software == SOFTWARE)
    except (OSError, tifffile.TiffFileError):
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


def _smallest(labels: NDArray[Any]) -> type[np.unsignedinteger[Any]] | type[np.signedinteger[Any]]:
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < -(2**31) or high >= 2**32 or (low < 0 and high >= 2**31):
        raise ContractileError(f"labels must fit into 32 bits, got {low} to {high}", "renumber the objects")
    if low < 0:
        return np.int32
    return np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.uint32


def _write_tiff(path: Path, array: NDArray[Any], axes: str, pixel_size_um: tuple[float, ...] | None) -> None:
    """As ImageJ TIFF where ImageJ knows the type and the order of axes, else as OME-TIFF; both keep
    the pixel size. Axes of length 1 survive in neither of them, only in tifffile's own form."""
    z, y, x = (None, None, None, *(pixel_size_um or (None, None)))[-3:]
    form: dict[str, Any] = {"ome": True, "metadata": {"axes": axes, **_ome_size(z, y, x)}}
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


def _ome_size(z: float | None, y: float | None, x: float | None) -> dict[str, float]:
    return {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (z, y, x), strict=True) if size}
