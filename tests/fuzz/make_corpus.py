"""Writes the corpus: small files of every format that is read, whole and sound. `run.py` damages them.

    python tests/fuzz/make_corpus.py

A folder that is there stays as it is: delete it to make its files anew. Files of further formats, and inputs that once
failed, are simply put beside them.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import torch
import zarr
from PIL import Image as Pillow
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from makers_files import (
    czi_block,
    lif_image,
    write_czi,
    write_h5,
    write_ims,
    write_lif,
    write_nd2,
    write_oib,
    write_oif,
)

from contractile.dataset import Example
from contractile.images.coco import Page, write_coco
from contractile.images.geojson import write_geojson
from contractile.images.rois import write_rois
from contractile.images.shapes import Mask
from contractile.labels import boxes
from contractile.model import Model, ModelCard, save
from contractile.recipe import derive
from contractile.storage import MANIFEST, replacing
from contractile.training import fit
from contractile.training.folder import RECIPE_FILE, STATE_FILE
from contractile.unet import UNet, UNetConfig

CORPUS = Path(__file__).with_name("corpus")
RNG = np.random.default_rng(0)
SMOOTH = (ndimage.gaussian_filter(RNG.random((24, 20)), 2) * 4000).astype(np.uint16)
BYTES = (SMOOTH // 16).astype(np.uint8)
LABELS = ndimage.label(np.median(SMOOTH) < SMOOTH)[0].astype(np.uint8)
COLOUR = np.stack([BYTES, BYTES.T.reshape(24, 20), LABELS * 20], axis=-1)
STACK = np.stack([SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]])


def make_images(folder: Path) -> None:
    tiffs: dict[str, tuple[Any, dict[str, Any]]] = {
        "plain": (SMOOTH, {"metadata": None}),
        "labels": (LABELS, {"compression": "zlib", "predictor": True}),
        "tiled": (SMOOTH, {"tile": (16, 16), "compression": "lzw"}),
        "strips": (BYTES, {"rowsperstrip": 5, "compression": "packbits"}),
        "zstd": (STACK, {"compression": "zstd", "photometric": "minisblack"}),
        "jpeg": (COLOUR, {"compression": "jpeg", "photometric": "rgb"}),
        "float": (SMOOTH.astype(np.float32), {"compression": "lzma"}),
        "bits": (LABELS > 0, {"photometric": "miniswhite"}),
        "imagej": (STACK, {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.5, "unit": "um"}}),
        "big": (BYTES, {"bigtiff": True}),
        "planar": (COLOUR.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    }
    for name, (pixels, options) in tiffs.items():
        big = options.pop("bigtiff", False)
        tifffile.imwrite(folder / f"{name}.tif", pixels, bigtiff=big, **options)
    tifffile.imwrite(
        folder / "ome.ome.tif", STACK[None], ome=True,
        metadata={"axes": "TCYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "TimeIncrement": 5.0},
    )  # fmt: skip
    palette = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 85
    tifffile.imwrite(folder / "palette.tif", LABELS, photometric="palette", colormap=palette)
    pictures = {"grey.png": BYTES, "deep.png": SMOOTH, "colour.png": COLOUR}
    for name, pixels in pictures.items():
        (folder / name).write_bytes(imagecodecs.png_encode(pixels))
    (folder / "grey.jpg").write_bytes(imagecodecs.jpeg8_encode(BYTES))
    (folder / "colour.jpg").write_bytes(imagecodecs.jpeg8_encode(COLOUR))
    (folder / "colour.bmp").write_bytes(imagecodecs.bmp_encode(COLOUR))
    np.save(folder / "stack.npy", STACK)
    np.save(folder / "maps.npy", np.stack([SMOOTH, SMOOTH]).astype(np.float32) / 5000)


def make_zarrs(folder: Path) -> None:
    for version in (2, 3):
        array = zarr.create_array(
            folder / f"v{version}.zarr", shape=SMOOTH.shape, chunks=(12, 10), dtype="u2", zarr_format=version
        )
        array[:] = SMOOTH
    sharded = zarr.create_array(
        folder / "shards.zarr", shape=SMOOTH.shape, chunks=(6, 5), shards=(12, 10), dtype="u2", zarr_format=3
    )
    sharded[:] = SMOOTH
    for version, text in ((2, "0.4"), (3, "0.5")):
        group = zarr.open_group(folder / f"ome{version}.zarr", mode="w", zarr_format=version)
        level = group.create_array("0", shape=STACK.shape, chunks=(1, 24, 20), dtype="u2")
        level[:] = STACK
        axes = [{"name": "c", "type": "channel"}] + [
            {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"
        ]
        scale = [{"type": "scale", "scale": [1.0, 0.2, 0.2]}]
        images = [{"version": text, "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
        group.attrs.update(
            {"multiscales": images} if version == 2 else {"ome": {"version": text, "multiscales": images}}
        )


def make_makers_files(folder: Path) -> None:
    """Files in the formats of makers of microscopes."""
    tzc = np.stack([STACK, STACK[::-1]])[:, :, None]  # (T, Z, C, Y, X)
    write_lif(folder / "stack.lif", lif_image("one", "TZCYX", tzc), lif_image("two", "YXC", COLOUR, tags=(3, 2, 1)))
    places = list(np.ndindex(2, 3))
    for compression in (0, 2, 4, 5, 6):
        blocks = [czi_block(tzc[t, z, 0], T=t, Z=z, C=0) for t, z in places]
        write_czi(folder / f"stack{compression}.czi", blocks, compression=compression)
    tiles = [czi_block(COLOUR, X=x, Y=y, M=n, S=0) for n, (y, x) in enumerate([(0, 0), (0, 15), (20, 0)])]
    write_czi(folder / "mosaic.czi", [*tiles, czi_block(COLOUR[::2, ::2], 2, X=0, Y=0, S=0)])
    for name, compressed in (("plain", False), ("packed", True)):
        write_nd2(folder / f"{name}.nd2", np.moveaxis(tzc, 2, -1), "TZ", compressed=compressed)
    write_oib(folder / "stack.oib", tzc[:, :, 0], "TZ")
    (folder / "oif").mkdir()
    write_oif(folder / "oif" / "stack.oif", tzc[:, :, 0], "TZ")
    write_h5(folder / "stack.h5", {"exported_data": STACK[..., None]}, "zyxc", element_size_um=[1.0, 0.2, 0.2])
    chunked: dict[str, Any] = {"chunks": (2, 8, 8), "compression": "gzip", "shuffle": True}
    write_h5(folder / "chunks.h5", {"raw": STACK, "label": STACK % 5}, **chunked)
    write_ims(folder / "stack.ims", tzc.swapaxes(1, 2), tzc.swapaxes(1, 2)[..., ::2, ::2])


def make_shapes(folder: Path) -> None:
    """Objects as other programs keep them."""
    masks = [
        Mask(LABELS[box] == n, box[0].start, box[1].start, kind=("a", "b")[n % 2], name=str(n))
        for n, box in enumerate(boxes(LABELS), start=1)
        if box[0].stop
    ]
    shapes = [one.outlined() for one in masks]
    write_geojson(folder / "cells.geojson", shapes)
    write_rois(folder / "cells.zip", shapes)
    with zipfile.ZipFile(folder / "cells.zip") as packed:
        (folder / "cell.roi").write_bytes(packed.read(packed.namelist()[0]))
    write_coco(folder / "cells.json", [Page("a.tif", LABELS.shape, masks), Page("b.tif", LABELS.shape, masks[:1])])
    corners = [[float(x), float(y)] for y, x in shapes[0].rings[0]]
    png = io.BytesIO()
    Pillow.fromarray(masks[0].pixels.astype(np.uint8)).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    kinds = [
        {"label": "a", "shape_type": "polygon", "points": corners, "group_id": 1},
        {"label": "b", "shape_type": "circle", "points": corners[:2]},
        {"label": "b", "shape_type": "mask", "points": corners[:2], "mask": mask},
    ]
    size = {"imageHeight": LABELS.shape[0], "imageWidth": LABELS.shape[1]}
    (folder / "labelme.json").write_text(json.dumps({"shapes": kinds, "imagePath": "a.tif", **size}), encoding="utf-8")
    np.save(folder / "cells_seg.npy", {"masks": LABELS.astype(np.uint16), "filename": "a.tif"}, allow_pickle=True)
    (folder / MANIFEST).unlink()


def make_recipes(folder: Path) -> None:
    recipe = derive([Example("a", SMOOTH[None], LABELS.astype(np.int32))], {"steps": 5})
    (folder / "default.toml").write_text(recipe.to_toml(), encoding="utf-8")
    short = 'base = "paper"\nminutes = 5\n[samples]\nbatch = 2\n'
    (folder / "short.toml").write_text(short, encoding="utf-8")


def make_models(folder: Path) -> None:
    torch.manual_seed(0)
    config = UNetConfig(depth=1, width=2, classes=2)
    for task, card in {
        "classes": ModelCard(network=config, class_values=(0, 7)),
        "objects": ModelCard(network=config, task="objects", diameter=9.0, diameters=(6.0, 12.0)),
    }.items():
        save(Model(UNet(config).eval(), card), folder / f"{task}.safetensors")
    (folder / MANIFEST).unlink()


def make_manifests(folder: Path) -> None:
    with replacing(folder / "a.txt") as path:
        path.write_text("a", encoding="utf-8")
    (folder / "a.txt").unlink()


def make_states(folder: Path) -> None:
    """The state and the recipe of a short run with a small network."""
    examples = [
        Example(name, np.kron(SMOOTH, np.ones((4, 4)))[None], np.kron(LABELS, np.ones((4, 4), np.int32)))
        for name in "ab"
    ]
    changes = {
        "steps": 2,
        "validations": 1,
        "network": {"depth": 1, "width": 8},
        "samples": {"batch": 1, "tile": (32, 32), "core": (32, 32)},
    }
    with tempfile.TemporaryDirectory() as place:
        fit(examples[:1], examples[1:], derive(examples, changes), folder=Path(place))
        for name in (STATE_FILE, RECIPE_FILE):
            (folder / "run").mkdir(exist_ok=True)
            shutil.copy(Path(place, name), folder / "run")


MAKERS = {
    "images": (make_images, make_zarrs, make_makers_files),
    "shapes": (make_shapes,),
    "recipes": (make_recipes,),
    "models": (make_models,),
    "states": (make_states,),
    "manifests": (make_manifests,),
}


def main() -> None:
    for name, makers in MAKERS.items():
        folder = CORPUS / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            for make in makers:
                make(folder)


if __name__ == "__main__":
    main()
