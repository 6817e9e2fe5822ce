"""HDF5 as ilastik and others write it -> one raster. The library `h5py` (BSD) reads it; it is the extra `hdf5`.

A region reads the chunks that it touches. Datasets whose numbers lie in other files are refused: a file of a stranger
could name any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.images.extras import load_extra
from contractile.images.hdf5_datasets import check_dataset
from contractile.images.hdf5_heaps import check_heaps
from contractile.images.ims import is_ims, open_ims
from contractile.images.known import Wanted
from contractile.images.raster import Damaged, Raster, one_clear_line
from contractile.images.scale import in_micrometres
from contractile.images.zarr_metadata import letters_of

IMAGES = ("exported_data", "volume/data", "data", "raw", "image", "images", "volumes/raw")  # the first that is there
LABELS = ("exported_data", "volume/labels", "labels", "label", "masks", "mask", "segmentation", "volumes/labels")
OF_LABELS = ("label", "mask", "segmentation", "annotation")  # words in the names of datasets that are no images
MOST = 10**5  # objects in a file
SHOWN = 5  # names in a message


def holds_image_and_labels(path: Path) -> bool:
    """Whether a file holds an image and labels, in datasets of their own; true where it cannot be opened.

    Whoever opens it then says what is wrong with it.
    """
    with suppress(ContractileError), ExitStack() as files:
        library = load_extra("h5py", "hdf5", path)
        with one_clear_line(path):
            file = _open(library, path, files)
            if is_ims(file):
                return False
            names = list(_datasets(library, file))
            return _choose(names, labels=False) != _choose(names, labels=True)
    return True


def open_hdf5(path: Path, wanted: Wanted) -> list[Raster]:
    """The image in a file, or with `labels` the labels in it; of Imaris as `open_ims`.

    Raises ContractileError where several datasets may be meant, for numbers in other files, for damaged files, and
    where `h5py` is missing.
    """
    library = load_extra("h5py", "hdf5", path)
    with one_clear_line(path):
        file = _open(library, path, wanted.files)
        if is_ims(file):
            return open_ims(file, path)
        found = _datasets(library, file)
        name, *others = _choose(list(found), labels=wanted.labels)
        if not name:
            raise Damaged("no array of numbers with two axes or more in it")
        if others:
            shown = ", ".join([name, *others][:SHOWN])
            problem = f"holds {1 + len(others)} arrays, of which any may be meant: {shown}"
            raise ContractileError(problem, f"save one of them alone, under the name {IMAGES[2]!r}", where=path)
        dataset = found[name]
        check_dataset(dataset, path)
        letters = _letters(dataset)
        scale = _scale(dataset)
    axes = letters or "Q" * dataset.ndim
    return [Raster.of(axes, dataset, scale=scale, guessed=letters is None)]


def _open(library: Any, path: Path, files: ExitStack) -> Any:
    check_heaps(path)
    return files.enter_context(library.File(path, "r", locking="best-effort"))


def _datasets(library: Any, file: Any) -> dict[str, Any]:
    """The arrays of numbers by their names. Links to other files are not followed."""
    found: dict[str, Any] = {}
    seen = 0

    def visit(name: str, node: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > MOST:
            raise Damaged(f"more than {MOST} objects in it")
        if isinstance(node, library.Dataset) and node.ndim > 1 and node.dtype.kind in "uifb":
            found[name] = node

    file.visititems(visit)
    return found


def _choose(names: Sequence[str], *, labels: bool) -> list[str]:
    """The dataset that is meant; several where any of them may be, and an empty name where there is none."""
    for one in LABELS if labels else IMAGES:
        if one in names:
            return [one]
    named = [name for name in names if any(word in name.lower() for word in OF_LABELS)]
    others = [name for name in names if name not in named]
    return (named or others if labels else others or named) or [""]


def _letters(dataset: Any) -> str | None:
    """The letters of the axes: by the axistags of vigra (ilastik), by labels of dimensions, or where all are space."""
    tags = dataset.attrs.get("axistags")
    if isinstance(tags, bytes):
        tags = tags.decode("utf-8", "replace")
    if isinstance(tags, str):
        axes = json.loads(tags)
        axes = axes.get("axes") if isinstance(axes, dict) else None
        if not isinstance(axes, list) or not all(isinstance(axis, dict) for axis in axes):
            raise Damaged("its axistags are none")
        names = [str(axis.get("key")) for axis in axes]
    else:
        names = [dimension.label for dimension in dataset.dims]
    if len(names) == dataset.ndim and all(names):
        return letters_of(names)
    sizes = dataset.attrs.get("element_size_um")  # one for each axis of space
    return "ZYX"[-dataset.ndim :] if getattr(sizes, "shape", None) == (dataset.ndim,) and dataset.ndim < 4 else None


def _scale(dataset: Any) -> dict[str, float]:
    """From the attribute element_size_um, which has a number for each axis of space: (Z,) Y, X."""
    found = dataset.attrs.get("element_size_um")
    sizes = [in_micrometres(one, "um") for one in found] if getattr(found, "ndim", 0) == 1 else []
    return {axis: size for axis, size in zip("XYZ", sizes[::-1], strict=False) if size is not None}
