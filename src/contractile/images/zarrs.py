"""Zarr and OME-Zarr -> rasters."""

from __future__ import annotations

from pathlib import Path

import zarr

from contractile.errors import ContractileError
from contractile.images.axes import guess_axes
from contractile.images.raster import Raster, one_clear_line
from contractile.images.scale import ome_zarr_scale


def is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


def open_zarr(path: Path, dims: int) -> list[Raster]:
    """The full resolution of an OME-Zarr image, version 0.4 (Zarr 2) or 0.5 (Zarr 3), or a Zarr array without names."""
    with one_clear_line(path):
        node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        axes = guess_axes(node.shape, dims=dims, file=str(path))
        return [Raster(axes, node.shape, node.dtype, lambda: node)]
    ome = node.attrs.get("ome", dict(node.attrs))
    if not isinstance(ome, dict) or not ome.get("multiscales"):
        inside = ", ".join(sorted(node.keys())[:3]) or "nothing"
        problem = f"holds no OME-Zarr image but {inside}"
        raise ContractileError(problem, "give the folder of one image in it", where=path)
    multiscale = ome["multiscales"][0]
    with one_clear_line(path):
        array = node[multiscale["datasets"][0]["path"]]
        names = multiscale.get("axes") or list("tczyx"[-array.ndim :])
        axes = "".join((axis if isinstance(axis, str) else axis["name"])[0].upper() for axis in names)
    if len(axes) != array.ndim:
        problem = f"its metadata must name {array.ndim} axes, one per axis of the array, got {axes}"
        raise ContractileError(problem, "correct the metadata or export the image again", where=path)
    with one_clear_line(path):
        scale = ome_zarr_scale(multiscale, axes)
    return [Raster(axes, array.shape, array.dtype, lambda: array, 0, scale)]
