"""What may be given as an image: anything that holds real numbers along axes, exactly as it is, or one clear line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, WrongType
from contractile.grid import as_slices
from contractile.images.arrays import as_array

REAL = "biuf"  # kinds of dtype


def is_dask(image: object) -> bool:
    """Whether an image is a Dask array."""
    return type(image).__module__.split(".")[0] == "dask" and hasattr(image, "dask")


def refuse_dask(image: object) -> None:
    """Raise WrongType for a Dask array, of which nothing is computed before somebody asks for it."""
    if is_dask(image):
        problem = "image must be an array in memory, or one that reads its regions from disk, got a Dask array"
        raise WrongType(problem, "give image.compute()")


def as_image(image: Any, channels: int, dims: int) -> Any:
    """An image (C, *S) or, of one channel, (*S) -> (C, *S), not copied where that is possible.

    Arrays on disk, and whatever else is read where it is sliced, stay what they are. Lists, PyTorch tensors and masked
    arrays become arrays. Raises WrongType for what holds no real numbers, ContractileError for a shape that does not
    fit, for masked pixels, and for pixels of an array that are not finite.
    """
    found = as_array(image)
    if np.dtype(found.dtype).kind not in REAL:
        cure = "give np.abs(image), or one part" if np.dtype(found.dtype).kind == "c" else "convert with image.astype"
        raise WrongType(f"image must hold real numbers, got values of type {found.dtype}", cure)
    shape = tuple(found.shape)
    if 0 in shape:
        raise ContractileError(f"image must have pixels, got shape {shape}", "check how it was cut or read")
    if len(shape) == dims and channels == 1:
        shape = (1, *shape)
        found = found[None] if isinstance(found, np.ndarray) or is_dask(found) else OneChannel(found)
    if len(shape) != dims + 1 or shape[0] != channels:
        raise _misfit(shape, channels, dims)
    if isinstance(found, np.ndarray):
        found = found.astype(np.uint8) if found.dtype.kind == "b" else found
        check_finite(found)
    return found


class OneChannel:
    """Values (1, *S) of a source (*S), which is read where it is sliced."""

    def __init__(self, source: Any) -> None:
        self.shape, self.dtype, self.ndim = (1, *source.shape), np.dtype(source.dtype), len(source.shape) + 1
        self._source = source

    def __getitem__(self, key: Any) -> NDArray[Any]:
        slices, taken = as_slices(key, self.shape)
        found: NDArray[Any] = np.asarray(self._source[slices[1:]])[None][slices[0]]
        return found[taken]


def as_probabilities(maps: Any, classes: int, dims: int) -> NDArray[Any]:
    """Probabilities (K, *S) of a model with these classes. Raises WrongType or ContractileError for anything else."""
    cure = "give what the method probabilities returns"
    found = np.asarray(as_array(maps, "probabilities", cure))
    if found.dtype.kind != "f":
        raise WrongType(f"probabilities must be floats, got values of type {found.dtype}", cure)
    if found.ndim != dims + 1 or len(found) != classes or 0 in found.shape:
        space = ", ".join(("Z", "Y", "X")[-dims:])
        rule = f"probabilities must have shape ({classes}, {space}) for this model"
        raise ContractileError(f"{rule}, got {found.shape}", cure)
    return found


def _misfit(shape: tuple[int, ...], channels: int, dims: int) -> ContractileError:
    space = ", ".join(("Z", "Y", "X")[-dims:])
    cure = f"put channels first, and give the {channels} channel(s) that it was trained on"
    if len(shape) == dims + 1 and shape[-1] == channels:
        cure = "move the channels to the front: np.moveaxis(image, -1, 0)"
    return ContractileError(f"image must have shape ({channels}, {space}) for this model, got {shape}", cure)


def check_finite(pixels: NDArray[Any], *, whole: bool = True) -> None:
    """Raise ContractileError for pixels (C, *S) of an image, the `whole` or a part, that are NaN or infinite."""
    if pixels.dtype.kind != "f":
        return
    bad = ~np.isfinite(pixels)
    if bad.any():
        first = tuple(int(at) for at in np.unravel_index(int(bad.argmax()), bad.shape))
        place = f", the first at {first}" if whole else " in a part of the image"
        problem = f"pixels must be finite numbers, got {np.count_nonzero(bad)} NaN or infinite{place}"
        raise ContractileError(problem, "replace them, e.g. with np.nan_to_num(image)")
