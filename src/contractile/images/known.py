"""Every format that is read or written: one record each, in one tuple.

To add one, write a file that opens it, and a record here. The suffixes that folders are searched for, the first bytes
that a file is known by, the messages about formats and the table in docs/formats.md all come from this tuple.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contractile.images.raster import Raster


@dataclass(frozen=True)
class Wanted:
    """How a file is opened: it may be used until `files` ends. With `labels` it holds numbers of objects or classes."""

    files: ExitStack
    dims: int = 2
    labels: bool = False


Opener = Callable[[Path, Wanted], "list[Raster]"]


@dataclass(frozen=True)
class Later:
    """The function `name` of a file of this room, imported when it is first called: some load slow libraries."""

    module: str
    name: str

    def find(self) -> Opener:
        found: Opener = getattr(importlib.import_module(f"contractile.images.{self.module}"), self.name)
        return found

    def __call__(self, path: Path, wanted: Wanted) -> list[Raster]:
        return self.find()(path, wanted)


@dataclass(frozen=True)
class FileFormat:
    """What is known of a format. It is one of images, of labels, or of models, which `contractile.export` knows.

    `suffixes` are those of its files, in lower case. `magic` is a pattern of their first bytes, `own_magic` one that
    counts only for files with such a suffix. `opens` gives the images in a file; where it is None, they are `opened_as`
    another format (a slide as a TIFF), or the file holds shapes (`shape_files`) or a model. `extra` is the extra that
    has to be installed. `by` says how pixels are read. A `picture` is one image whose axes are known. `keeps` and
    `loses` are words for the table.
    """

    name: str
    suffixes: tuple[str, ...]
    by: str
    keeps: str
    loses: str = ""
    opens: Later | None = None
    opened_as: str | None = None
    magic: bytes | None = None
    own_magic: bytes | None = None
    extra: str | None = None
    writes: bool = False
    picture: bool = False


REGIONS, PLANES, WHOLE, LABELS = "region by region", "plane by plane", "whole", "as labels"
NOT_READ, MODELS = "-", "by `contractile import`"
ALL = "axes, pixel size, z spacing, frame interval, names and colours of channels"
ZARR = "OME-Zarr"
_tiff, _picture = Later("tiff", "open_as_tiff"), Later("pictures", "open_as_picture")
_zarr, _npy = Later("zarrs", "open_as_zarr"), Later("npy", "open_as_npy")

FORMATS: tuple[FileFormat, ...] = (
    FileFormat(
        "TIFF",
        (".tif", ".tiff"),
        REGIONS,
        "axes as far as it names them, pixel size in centimetres, all series, pyramid",
        "thumbnails; resolution per inch or of a printer",
        opens=_tiff,
        magic=rb"II[*+]\0(?!.{4}CR\x02)|MM\0[*+]",  # CR: Canon's raw files
        writes=True,
    ),
    FileFormat(
        "OME-TIFF",
        (".ome.tif", ".ome.tiff"),
        REGIONS,
        f"{ALL}, pyramid, sets of files",
        opened_as="TIFF",
        writes=True,
    ),
    FileFormat(
        "ImageJ TIFF",
        (".tif",),
        REGIONS,
        "axes, pixel size, z spacing, frame interval, lookup tables",
        "ROIs",
        opened_as="TIFF",
        writes=True,
    ),
    FileFormat(
        "whole slides (Aperio; others where tifffile knows them, not tested)",
        (".svs", ".ndpi", ".scn", ".bif", ".qptiff"),
        REGIONS,
        "the first image with its pyramid, pixel size (of Aperio, or per centimetre)",
        "label, overview, thumbnail",
        opened_as="TIFF",
    ),
    FileFormat(
        "LSM", (".lsm",), REGIONS, "axes, pixel size, z spacing, frame interval", "thumbnails", opened_as="TIFF"
    ),
    FileFormat(
        "PNG",
        (".png",),
        WHOLE,
        "values as they are shown; of labels the numbers of a palette",
        "transparency",
        opens=_picture,
        magic=rb"\x89PNG\r\n\x1a\n",
        writes=True,
        picture=True,
    ),
    FileFormat(
        "JPEG",
        (".jpg", ".jpeg"),
        WHOLE,
        "values, turned as EXIF says",
        "what its compression changed",
        opens=_picture,
        magic=rb"\xff\xd8\xff",
        picture=True,
    ),
    FileFormat(
        "BMP",
        (".bmp",),
        WHOLE,
        "values",
        opens=_picture,
        magic=rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        picture=True,
    ),
    FileFormat(
        "GIF",
        (".gif",),
        WHOLE,
        "values",
        "animations are refused",
        opens=_picture,
        magic=rb"GIF8[79]a",
        picture=True,
    ),
    FileFormat(
        "WebP",
        (".webp",),
        WHOLE,
        "values",
        "what its compression changed; animations are refused",
        opens=_picture,
        magic=rb"RIFF.{4}WEBP",
        picture=True,
    ),
    FileFormat("npy", (".npy",), REGIONS, "the array", "it names no axes", opens=_npy, magic=rb"\x93NUMPY"),
    FileFormat(
        ZARR,
        (".zarr",),
        REGIONS,
        f"{ALL}, pyramid, labels within (versions 0.4 and 0.5)",
        "further images of a collection",
        opens=_zarr,
        writes=True,
    ),
    FileFormat("Zarr 2 and 3", (".zarr",), REGIONS, "names of axes (xarray's, Zarr 3's)", "pixel size", opened_as=ZARR),
    FileFormat(
        "CZI",
        (".czi",),
        "tile by tile",
        f"{ALL}, scenes, mosaics, pyramid",
        "places of tiles, attachments (overview, label), masks; sets of several files are refused",
        opens=Later("czi", "open_czi"),
        magic=rb"ZISRAWFILE",
    ),
    FileFormat(
        "LIF",
        (".lif",),
        REGIONS,
        f"{ALL}, all images, tiles of a mosaic as images",
        "places of tiles; FLIM",
        opens=Later("lif", "open_lif"),
        magic=rb"\x70\0\0\0.{4}\x2a",
    ),
    FileFormat(
        "ND2",
        (".nd2",),
        REGIONS,
        f"{ALL}, positions as images",
        "places of positions, events, ROIs",
        opens=Later("nd2", "open_nd2"),
        magic=rb"\xda\xce\xbe\x0a",
        own_magic=rb"\0\0\0\x0cjP  ",
        extra="nd2",
    ),
    FileFormat(
        "OIB and OIF",
        (".oib", ".oif"),
        PLANES,
        "axes, pixel size, z spacing, frame interval, names of channels",
        "reference images, lookup tables, ROIs",
        opens=Later("oif", "open_oif"),
        magic=rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        own_magic=rb"\xff\xfe\[\0|\xef\xbb\xbf\[|\[",
    ),
    FileFormat(
        "HDF5",
        (".h5", ".hdf5"),
        REGIONS,
        "axes (ilastik's axistags), element_size_um; one image, or the image and the labels",
        "further datasets",
        opens=Later("hdf5", "open_hdf5"),
        magic=rb"\x89HDF\r\n\x1a\n",
        extra="hdf5",
    ),
    FileFormat(
        "Imaris",
        (".ims",),
        REGIONS,
        f"{ALL}, pyramid",
        "surfaces, spots and tracks",
        opened_as="HDF5",
        extra="hdf5",
    ),
    FileFormat(
        "GeoJSON",
        (".geojson",),
        LABELS,
        "outlines, names, numbers of objects (as names), classes, planes; pages without a named axis are `t`",
        "lines and points; measurements are written, but not read",
        writes=True,
    ),
    FileFormat(
        "COCO",
        (".json",),
        LABELS,
        "masks and polygons, numbers of objects, classes, names of images",
        "boxes; `iscrowd` is taken for an object; a volume is written as an image for each plane, so that it cannot be "
        "read back with `--dims 3`",
        writes=True,
    ),
    FileFormat(
        "ImageJ ROI",
        (".roi", ".zip"),
        LABELS,
        "outlines, names, numbers of objects (as names), groups 1 to 255 as classes, planes and pages",
        "lines and points, names of classes, measurements, images without objects; coordinates above 32,767 are "
        "refused",
        extra="rois",
        writes=True,
    ),
    FileFormat(
        "LabelMe", (".json",), LABELS, "polygons, rectangles, circles, masks, classes, groups", "lines and points"
    ),
    FileFormat("Cellpose", ("_seg.npy",), LABELS, "masks", "flows and all else; nothing in the file is run"),
    FileFormat(
        "result of the Cell Tracking Challenge",
        ("mask000.tif",),
        LABELS,
        "masks, numbered by tracks; `res_track.txt`",
        writes=True,
    ),
    FileFormat(
        "ONNX",
        (".onnx",),
        NOT_READ,
        "the networks of a model; in the metadata names of classes, sizes, halo, pixel size and the card",
        "resampling, the curve of grey values of each image, the way to objects",
        extra="export",
        writes=True,
    ),
    FileFormat(
        "BioImage.IO package",
        (".zip",),
        NOT_READ,
        "as ONNX; also as TorchScript, with a page, test images, authors and licence",
        "as ONNX",
        extra="export",
        writes=True,
    ),
    FileFormat(
        "weights of Pytorch-UNet",
        (".pth",),
        MODELS,
        "weights with up-convolutions, values of classes",
        "the bilinear form is refused",
    ),
)
BY_NAME = {one.name: one for one in FORMATS}
SUFFIXES: dict[str, str] = {}  # of a file -> the format that opens it
for _one in FORMATS:
    if _one.opens or _one.opened_as:
        SUFFIXES |= {suffix: _one.opened_as or _one.name for suffix in _one.suffixes if suffix.count(".") == 1}
HEADINGS = ("format", "files", "read", "written", "extra", "kept", "left out")


def table_rows() -> list[tuple[str, ...]]:
    """A row of the table of formats for each record, as HEADINGS name its columns."""
    return [
        (
            one.name,
            " ".join(f"`{suffix}`" for suffix in one.suffixes),
            one.by,
            "yes" if one.writes else "-",
            f"`[{one.extra}]`" if one.extra else "-",
            one.keeps or "-",
            one.loses or "-",
        )
        for one in FORMATS
    ]
