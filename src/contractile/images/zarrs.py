"""Zarr and OME-Zarr -> rasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import zarr

from contractile.errors import ContractileError
from contractile.images.channel_names import of_omero
from contractile.images.gate import limits
from contractile.images.known import Wanted
from contractile.images.raster import Damaged, Raster, one_clear_line
from contractile.images.scale import in_micrometres, in_seconds, micrometres
from contractile.images.zarr_chunks import find_gaps
from contractile.images.zarr_metadata import check_numbers, is_zarr, letters_of
from contractile.images.zarr_store import limit_array, open_array, open_node

OLD_AXES = "TCZYX"  # of OME-Zarr before its metadata named them


def image_group(path: Path) -> Path:
    """The folder of the OME-Zarr image that `open_zarr` reads: `path`, or an image in it.

    Raises ContractileError where there is none, and as `open_zarr`.
    """
    problem, cure = "is no OME-Zarr image, which could hold labels", "write beside it, into a folder"
    if not is_zarr(path):
        raise ContractileError(problem, cure, where=path)
    check_numbers(path)
    with one_clear_line(path):
        node = open_node(path)
        if isinstance(node, zarr.Array):
            raise ContractileError(problem, cure, where=path)
        ome = _ome_of(node)
        if _as_list(ome.get("multiscales"), "multiscales"):
            return path
    return image_group(path / _images_inside(path, node, ome)[0])


def open_as_zarr(path: Path, wanted: Wanted) -> list[Raster]:
    """`open_zarr`, for the tuple of formats."""
    return open_zarr(path, wanted.dims, labels=wanted.labels)


def open_zarr(path: Path, dims: int, *, labels: bool = False) -> list[Raster]:
    """The full resolution of an OME-Zarr image, version 0.4 (Zarr 2) or 0.5 (Zarr 3), or another array of a Zarr.

    Of several images the first is taken, and said. Axes are named by OME's metadata, `dimension_names` or xarray's
    `_ARRAY_DIMENSIONS`; otherwise the raster is `guessed`. Missing chunks are told in its notes; with `labels` they are
    background. Raises ContractileError for folders without an image, values that are no numbers, codecs that do more
    than store numbers, arrays beyond the limits of the gate, and missing chunks that held pixels.
    """
    check_numbers(path)
    with one_clear_line(path):
        node = open_node(path)
        if isinstance(node, zarr.Array):
            return [_bare_raster(path, *_whole(path, limit_array(node, path), path, labels=labels))]
        ome = _ome_of(node)
        multiscales = _as_list(ome.get("multiscales"), "multiscales")
    if multiscales:
        raster = _ome_raster(path, multiscales[0], labels=labels or "image-label" in ome)
        return [replace(raster, channels=of_omero(ome.get("omero")))]
    first, *others = _images_inside(path, node, ome)
    rasters = open_zarr(path / first, dims, labels=labels)
    if others:
        note = f"holds {len(others) + 1} images, of which {first} is read; give {path.name}/{others[0]} for the next"
        rasters = [replace(raster, notes=(*raster.notes, note)) for raster in rasters]
    return rasters


def is_made_by(path: Path, software: str) -> bool:
    """Whether the metadata of an OME-Zarr image name this program as what made it. Raises what `open_node` raises."""
    if not is_zarr(path):
        return False
    node = open_node(path)
    images = [] if isinstance(node, zarr.Array) else _as_list(_ome_of(node).get("multiscales"), "multiscales")
    made = images[0].get("metadata") if images else None
    return isinstance(made, dict) and made.get("software") == software


def _ome_of(node: zarr.Group) -> dict[str, Any]:
    """OME's metadata of a group."""
    attributes = dict(node.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def _as_list(found: Any, name: str) -> list[dict[str, Any]]:
    """A list of tables in OME's metadata; empty where there is none. Raises Damaged for anything else."""
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Damaged(f"{name} in its metadata must be a list of names with values, got {found!r:.40}")
    return found


def _images_inside(path: Path, node: zarr.Group, ome: dict[str, Any]) -> list[str]:
    """The folders of the images in a group that is none itself: of bioformats2raw, of a well, or one array.

    Raises ContractileError, with what to give, for a plate, for a folder of labels and where there is no image.
    """
    cure = "give the folder of one image in it"
    with one_clear_line(path):
        keys = sorted((key for key in node if not key.startswith(".")), key=lambda key: (len(key), key))
        images = [str(_inside(one.get("path"))) for one in _members(ome, "well", "images")]
        wells = [str(one.get("path")) for one in _members(ome, "plate", "wells")]
    if wells:
        problem = f"is a plate of {len(wells)} wells, not an image"
        raise ContractileError(problem, f"{cure}, such as {path.name}/{wells[0]}/0", where=path)
    if ("labels" in ome or path.name == "labels") and len(keys) > 1:
        problem = f"holds {len(keys)} label images, {', '.join(keys)}"
        raise ContractileError(problem, f"give one of them, such as {path.name}/{keys[0]}", where=path)
    for key in keys:
        check_numbers(path / key)
    with one_clear_line(path):
        images = images or [key for key in keys if _is_image(node[key])]
        arrays = [key for key in keys if isinstance(node[key], zarr.Array) and node[key].ndim > 1]
    if images or len(arrays) == 1:
        return images or arrays
    problem = f"holds no OME-Zarr image but {', '.join(keys[:3]) or 'nothing'}"
    raise ContractileError(problem, cure, where=path)


def _members(ome: dict[str, Any], kind: str, of: str) -> list[dict[str, Any]]:
    """The images of a well, or the wells of a plate."""
    found = ome.get(kind)
    return _as_list(found.get(of), f"{kind}.{of}") if isinstance(found, dict) else []


def _is_image(node: zarr.Group | zarr.Array) -> bool:
    return isinstance(node, zarr.Group) and bool(_ome_of(node).get("multiscales"))


def _ome_raster(path: Path, multiscale: dict[str, Any], *, labels: bool) -> Raster:
    with one_clear_line(path):
        levels = _as_list(multiscale.get("datasets"), "datasets")
        folders = [path / _inside(level.get("path")) for level in levels]
        if not folders:
            raise Damaged("its metadata name no array")
        axes = [one if isinstance(one, dict) else {"name": one} for one in multiscale.get("axes") or ()]
        array, notes = _whole(path, open_array(folders[0]), *folders, axes=axes, labels=labels)
        if not axes and array.ndim == len(OLD_AXES):
            axes = [{"name": letter} for letter in OLD_AXES]
        names, types, units = ([axis.get(key) for axis in axes] for key in ("name", "type", "unit"))
        letters = letters_of(names, types) if axes else None
        if axes and len(axes) != array.ndim:
            rule = f"its metadata must name {array.ndim} axes, one per axis of the array"
            problem = f"{rule}, got {', '.join(map(str, names))}"
            raise ContractileError(problem, "correct the metadata or export the image again", where=path)
        if letters is None:
            return _bare_raster(folders[0], array, notes)
        found, places = _steps(multiscale, array.ndim)
        steps = list(zip(letters, found, units, strict=True))
        sizes = {letter: in_micrometres(step, unit) for letter, step, unit in steps if letter in "ZYX"}
        times = [in_seconds(step, unit) for letter, step, unit in steps if letter == "T"]
        starts = {letter: micrometres(place, unit) for letter, place, unit in zip(letters, places, units, strict=True)}
    scale = {letter: size for letter, size in sizes.items() if size is not None}
    origin = {letter: place for letter, place in starts.items() if letter in scale and place is not None}
    interval = times[0] if times else None
    return Raster(
        letters,
        array.shape,
        array.dtype,
        lambda: array,
        scale=scale,
        interval_s=interval,
        notes=notes,
        origin=origin,
        lower=partial(_lower, letters, folders[1:]),
    )


def _lower(axes: str, folders: Sequence[Path]) -> list[Raster]:
    """The lower resolutions of an image. Raises what `open_array` raises."""
    arrays = [open_array(folder) for folder in folders]
    return [Raster.of(axes, one) for one in arrays]


def _inside(path: Any) -> PurePosixPath:
    """A path of the metadata. Raises Damaged where it leads out of the folder, or is none."""
    if not isinstance(path, str) or not PurePosixPath(path).parts or "\0" in path:
        raise Damaged(f"its metadata name no array but {path!r:.40}")
    found, on_windows = PurePosixPath(path), PureWindowsPath(path)
    if found.is_absolute() or on_windows.anchor or ".." in on_windows.parts:  # C:/elsewhere, on any system
        raise Damaged(f"its metadata name an array outside of it, {found}")
    return found


def _steps(multiscale: dict[str, Any], count: int) -> tuple[list[float], list[float | None]]:
    """How far apart elements are along each axis, and where the first one is; None where nothing says so.

    The transformations of the full resolution come first, then those of all resolutions.
    """
    scale, places, placed = [1.0] * count, [0.0] * count, False
    first = multiscale["datasets"][0].get("coordinateTransformations") or []
    for step in [*first, *(multiscale.get("coordinateTransformations") or [])]:
        values = step.get(step.get("type")) or ()
        if len(values) != count:
            continue
        if step["type"] == "scale":
            scale = [size * factor for size, factor in zip(scale, values, strict=True)]
            places = [place * factor for place, factor in zip(places, values, strict=True)]
        elif step["type"] == "translation":
            places, placed = [place + more for place, more in zip(places, values, strict=True)], True
    return scale, [*places] if placed else [None] * count


def _bare_raster(folder: Path, array: zarr.Array, notes: tuple[str, ...]) -> Raster:
    """An array without OME's metadata: Zarr 3 and xarray have names for axes."""
    with one_clear_line(folder):
        names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
        letters = letters_of(names) if len(names) == array.ndim else None
    axes = letters or "Q" * array.ndim
    return Raster(axes, array.shape, array.dtype, lambda: array, guessed=letters is None, notes=notes)


def _whole(
    path: Path, array: zarr.Array, folder: Path, *lower: Path, axes: Sequence[dict[str, Any]] = (), labels: bool
) -> tuple[zarr.Array, tuple[str, ...]]:
    """The array in a folder of the image at `path`, and what to say about its missing chunks.

    `lower` are the folders of its lower resolutions. Raises ContractileError where it is certain that missing chunks
    held pixels, unless the gate allows them: then they are 0.
    """
    channels = tuple(place for place, axis in enumerate(axes) if axis.get("type") in ("channel", "time"))
    gaps = find_gaps(folder, lower, channels, labels=labels)
    if gaps is None or (not gaps.proof and (gaps.harmless or labels)):
        return array, ()
    if gaps.proof and not limits().missing:
        cure = (
            "where they are meant to be empty, --allow-missing reads 0 in their place; else copy the whole folder again"
        )
        raise ContractileError(str(gaps), cure, where=path)
    if gaps.proof:
        return open_array(folder, fill=0), (f"{gaps}; 0 is read in their place",)
    return array, (f"{gaps}; copy the folder again if {path.name} should not be empty there",)
