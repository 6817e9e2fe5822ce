"""Images of every kind that is read: predicted block by block, they give the labels of the same pixels in memory."""

import numpy as np
import pytest
import tifffile
import zarr
from conftest import entries
from numcodecs import Blosc, GZip, Zstd
from test_prediction_kept import Bright
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from contractile import grid
from contractile.decode import reach
from contractile.grid import widened, within
from contractile.images import bands, read_labels, reading, tiff, zarr_store
from contractile.model import ModelCard
from contractile.prediction import blocks, inputs, predict_files, unfinished
from contractile.prediction.blocks import segment
from contractile.prediction.field import Field
from contractile.unet import UNetConfig

SIDES = {2: (32, 32), 3: (8, 32, 32)}
SHAPES = {2: (100, 110), 3: (16, 48, 60)}
MARGIN = 4
TILE = (16, 16)


class Smoothed(Field):
    """Inside of an object is what is brighter than `threshold` in the mean over a few pixels and all channels."""

    def __init__(self, image, threshold):
        self.image, self.threshold = image, threshold
        self.shape = (2, *image.shape[1:])

    def compute(self, region):
        around = widened(region, MARGIN, self.shape[1:])
        values = self.image[(slice(None), *around)].astype(np.float64).mean(axis=0)
        for axis in range(values.ndim):  # each pixel with its neighbours, as far as the image has them
            ahead, behind = (np.roll(values, step, axis) for step in (1, -1))
            ends = [slice(None)] * values.ndim
            for place, other in ((0, ahead), (-1, behind)):
                ends[axis] = place
                other[tuple(ends)] = values[tuple(ends)]
            values = (values + ahead + behind) / 3
        inside = (values > self.threshold).astype(np.float32)[within(region, around)]
        return np.stack([1 - inside, inside])


class Model(Bright):
    """A model that reads what it is asked for, and its margin."""

    def __init__(self, channels, dims, threshold):
        super().__init__(threshold)
        self.channels, self.dims = channels, dims

    @property
    def card(self):
        return ModelCard(network=UNetConfig(dims=self.dims, channels=self.channels), task="objects")

    def probabilities(self, image, *, tta, progress, curve=None):
        return Smoothed(image, self.threshold)


def pixels_of(channels, dims, dtype="uint8"):
    """Pixels (C, *S) with objects across blocks; those of two bytes have both of them."""
    rng, shape = np.random.default_rng(0), SHAPES[dims]
    values = rng.integers(0, 200, [-(-side // 9) for side in shape])
    for axis, side in enumerate(shape):
        values = np.repeat(values, 9, axis).take(range(side), axis)
    values = np.stack([values + rng.integers(0, 40, shape) for _ in range(channels)])
    return (values if dtype == "uint8" else values * 260.0).astype(dtype)


class Watch:
    """What is read of the file: pixels along each axis of space in one request, and pieces decoded for one request."""

    def __init__(self, monkeypatch):
        self.sides, self.pieces, self.decoded = [], [], 0
        read, watch, unpack = reading._Stored.__getitem__, tiff.watch_decoders, zarr_store.unpack

        def get(stored, region):
            self.decoded = 0
            found = read(stored, region)
            self.sides.append(found.shape[1:])
            self.pieces.append(self.decoded)
            return found

        def count(decode, *args, **more):
            self.decoded += 1
            return decode(*args, **more)

        def watch_tiff(series):
            watch(series)
            for page in {id(page.keyframe): page.keyframe for page in series.pages}.values():
                page.decode = lambda *args, real=page.decode, **more: count(real, *args, **more)

        monkeypatch.setattr(reading._Stored, "__getitem__", get)
        monkeypatch.setattr(tiff, "watch_decoders", watch_tiff)
        monkeypatch.setattr(zarr_store, "unpack", lambda *args: count(unpack, *args))


@pytest.fixture
def watch(monkeypatch):
    """Small blocks, and nothing larger than 1000 bytes in memory."""
    for dims, side in SIDES.items():
        monkeypatch.setitem(grid.BLOCK, dims, side)
    for room in (blocks, inputs, unfinished):
        monkeypatch.setattr(room, "IN_MEMORY", 1000)
    monkeypatch.setattr(bands, "LINES", 16)
    return Watch(monkeypatch)


def predict_one(path, model, axes):
    out = (path[0] if isinstance(path, list) else path).parent / "out"
    (written,) = predict_files(model, path, out=out, axes=axes)
    assert entries(out) == [*written.files]
    return written.files[0]


known = {}  # labels by the pixels


def labels_of(pixels, model):
    """The labels of pixels (C, *S) that are in memory as a whole."""
    key = (pixels.dtype.str, pixels.tobytes())
    if key not in known:
        known[key] = np.asarray(segment(Smoothed(pixels, model.threshold), model.card))
    return known[key]


def check(path, watch, pixels, *, axes=None, most, total=None):
    """Predict a file that holds these pixels (C, *S), and the same pixels as an array.

    At most `most` pieces of the file are decoded for one request, and `total` for all.
    """
    threshold = {2: 110, 3: 190}[pixels.ndim - 1] * (1 if pixels.dtype == np.uint8 else 260)
    model = Model(len(pixels), pixels.ndim - 1, threshold)
    file = predict_one(path, model, axes)
    largest = [side + 2 * (MARGIN + reach(model.card.decoding)) for side in SIDES[model.dims]]
    assert all(side <= limit for sides in watch.sides for side, limit in zip(sides, largest, strict=True))
    assert max(watch.pieces) == most
    assert total is None or sum(watch.pieces) == total
    found = read_labels(file, dims=model.dims)
    np.testing.assert_array_equal(found, labels_of(pixels, model))
    assert found.max() > 2


TILED = {
    "none": {},
    "zlib": {"compression": "zlib"},
    "zlib with differences": {"compression": "zlib", "predictor": True},
    "zstd": {"compression": "zstd"},
    "lzw": {"compression": "lzw"},
    "lzma": {"compression": "lzma"},
    "packbits": {"compression": "packbits"},
    "png": {"compression": "png"},
    "jpeg 2000": {"compression": "jpeg2000"},
    "jpeg xl": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "lerc": {"compression": "lerc"},
    "jpeg without loss": {"compression": "jpeg", "compressionargs": {"lossless": True}},
    "jpeg xr": {"compression": "jpegxr"},
    "large": {"compression": "zlib", "bigtiff": True},
    "big endian": {"compression": "zlib", "byteorder": ">"},
}


FLOATS = ("none", "zlib", "zlib with differences", "lerc", "big endian")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("none", "uint8"), *((name, "uint16") for name in TILED), *((name, "float32") for name in FLOATS)],
)
def test_tiled_tiff(tmp_path, watch, name, dtype):
    pixels = pixels_of(1, 2, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], tile=TILE, **TILED[name])
    check(tmp_path / "a.tif", watch, pixels, most=16)


def test_tiled_tiff_as_jpeg(tmp_path, watch):
    tifffile.imwrite(tmp_path / "a.tif", pixels_of(1, 2)[0], tile=TILE, compression="jpeg")
    check(tmp_path / "a.tif", watch, tifffile.imread(tmp_path / "a.tif")[None], most=16)


STRIPS = {
    "zlib": {"compression": "zlib"},
    "lzw": {"compression": "lzw"},
    "big endian": {"compression": "zstd", "byteorder": ">", "bigtiff": True},
}


@pytest.mark.parametrize("name", STRIPS)
@pytest.mark.parametrize(("rows", "most", "dtype"), [(5, 8, "uint16"), (5, 8, "float32"), (100, 1, "uint8")])
def test_compressed_strips_are_decoded_once(tmp_path, watch, name, dtype, rows, most):
    pixels = pixels_of(1, 2, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], rowsperstrip=rows, **STRIPS[name])
    check(tmp_path / "a.tif", watch, pixels, most=most, total=100 // rows)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"imagej": True}], ids=str)
def test_plain_tiff_is_mapped(tmp_path, watch, options, dtype):
    pixels = pixels_of(1, 2, dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], **options)
    check(tmp_path / "a.tif", watch, pixels, most=0)


@pytest.mark.parametrize("form", ["sub", "ome", "pages"])
def test_the_full_resolution_of_a_pyramid(tmp_path, watch, form):
    pixels = pixels_of(1, 2, "uint16")
    options = {"tile": TILE, "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=form == "ome", bigtiff=True) as writer:
        lower = {} if form == "pages" else {"subifds": 2}
        writer.write(pixels[0], **options, **lower, metadata={"axes": "YX"} if form == "ome" else None)
        for step in (2, 4):
            writer.write(pixels[0, ::step, ::step], **options, subfiletype=1, metadata=None)
    check(tmp_path / "a.tif", watch, pixels, most=16)


CHANNELS = {
    "contiguous": ("YXC", {"planarconfig": "contig", "tile": TILE, "compression": "zlib"}, None, 16),
    "separate": ("CYX", {"planarconfig": "separate", "tile": TILE, "compression": "zlib"}, None, 48),
    "strips": ("YXC", {"planarconfig": "contig", "rowsperstrip": 5, "compression": "zlib"}, None, 8),
    "separate strips": ("CYX", {"planarconfig": "separate", "rowsperstrip": 5, "compression": "zlib"}, None, 24),
    "mapped": ("YXC", {"planarconfig": "contig"}, None, 0),
    "separate, mapped": ("CYX", {"planarconfig": "separate"}, None, 0),
    "pages": ("CYX", {"ome": True, "tile": TILE, "compression": "zlib", "metadata": {"axes": "CYX"}}, None, 48),
    "imagej": ("CYX", {"imagej": True, "metadata": {"axes": "CYX"}}, None, 0),
    "unnamed": ("CYX", {"tile": TILE, "compression": "zlib", "metadata": None}, "CYX", 48),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_tiff_of_three_channels(tmp_path, watch, name):
    order, options, axes, most = CHANNELS[name]
    pixels = pixels_of(3, 2, "uint16")
    stored = np.moveaxis(pixels, 0, -1) if order == "YXC" else pixels
    photometric = "rgb" if "planarconfig" in options else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(stored), photometric=photometric, **options)
    check(tmp_path / "a.tif", watch, pixels, axes=axes, most=most)


@pytest.mark.parametrize("compression", ["webp", "jpeg", "lzw"])
def test_colour_tiff(tmp_path, watch, compression):
    colours = np.ascontiguousarray(np.moveaxis(pixels_of(3, 2), 0, -1))
    tifffile.imwrite(tmp_path / "a.tif", colours, tile=TILE, compression=compression, photometric="rgb")
    check(tmp_path / "a.tif", watch, np.moveaxis(tifffile.imread(tmp_path / "a.tif"), -1, 0), most=16)


VOLUMES = {
    "tiled": (1, "ZYX", {"tile": TILE, "compression": "zlib"}, 108),
    "deep tiles": (1, "ZYX", {"tile": (16, *TILE), "compression": "zlib"}, 9),
    "strips": (1, "ZYX", {"rowsperstrip": 5, "compression": "zlib"}, 96),
    "mapped": (1, "ZYX", {}, 0),
    "big endian": (1, "ZYX", {"byteorder": ">"}, 0),
    "channels": (2, "ZCYX", {"tile": TILE, "compression": "zlib"}, 216),
    "channels first": (2, "CZYX", {"tile": TILE, "compression": "zlib"}, 216),
    "imagej": (2, "ZCYX", {"imagej": True}, 0),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_tiff_volumes(tmp_path, watch, name):
    channels, axes, options, most = VOLUMES[name]
    pixels = pixels_of(channels, 3, "uint16")
    stored = pixels[0] if channels == 1 else np.moveaxis(pixels, 0, axes.index("C"))
    options = {"photometric": "minisblack", "metadata": {"axes": axes}, **options}
    ome = "imagej" not in options and name != "deep tiles"
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(stored), ome=ome, **options)
    check(tmp_path / "a.tif", watch, pixels, most=most)


def test_channels_that_are_files(tmp_path, watch):
    pixels = pixels_of(3, 2, "uint16")
    for number, channel in enumerate(pixels):
        tifffile.imwrite(tmp_path / f"a_{number:04d}.tif", channel, tile=TILE, compression="zlib")
    check([tmp_path / f"a_{number:04d}.tif" for number in range(3)], watch, pixels, most=16)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("channels", "dims", "dtype"), [(1, 2, "uint8"), (3, 2, ">u2"), (1, 3, "float32"), (2, 3, "uint8")]
)
def test_npy_is_mapped(tmp_path, watch, order, channels, dims, dtype):
    pixels = pixels_of(channels, dims, dtype)
    stored = pixels[0] if channels == 1 else pixels
    np.save(tmp_path / "a.npy", np.asarray(stored, order=order))
    axes = "ZYX"[-dims:] if channels == 1 else "C" + "ZYX"[-dims:]
    check(tmp_path / "a.npy", watch, pixels.astype(pixels.dtype.newbyteorder("=")), axes=axes, most=0)


OLD = {"blosc": Blosc("lz4"), "zstd": Zstd(), "gzip": GZip(), "none": None}
NEW = {"blosc": BloscCodec(), "zstd": ZstdCodec(), "gzip": GzipCodec(), "none": None}


def write_ome_zarr(path, pixels, version, **options):
    """Pixels (C, *S) as OME-Zarr; without an axis for one channel."""
    axes = "czyx"[-pixels.ndim + 1 :] if len(pixels) == 1 else "c" + "zyx"[-pixels.ndim + 1 :]
    values = pixels[0] if len(pixels) == 1 else pixels
    more = {} if version == "0.5" else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    chunks = (1,) * (values.ndim - 2) + TILE
    group.create_array("0", shape=values.shape, dtype=values.dtype, chunks=chunks, **options, **more)[...] = values
    types = [{"name": one, "type": "channel" if one == "c" else "space"} for one in axes]
    scale = [{"type": "scale", "scale": [1.0] * values.ndim}]
    image = {"axes": types, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]


@pytest.mark.parametrize(("codec", "dtype"), [*zip(OLD, ("uint8", ">u2", "float32", "uint8"), strict=True)])
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.5 in shards"])
def test_ome_zarr(tmp_path, watch, version, codec, dtype):
    pixels = pixels_of(1, 2, dtype)
    shards = {"shards": (64, 64)} if version.endswith("shards") else {}
    compressors = (OLD if version == "0.4" else NEW)[codec]
    write_ome_zarr(tmp_path / "a.zarr", pixels, version[:3], compressors=compressors, **shards)
    most = 0 if codec == "none" else 16
    check(tmp_path / "a.zarr", watch, pixels.astype(pixels.dtype.newbyteorder("=")), most=most)


@pytest.mark.parametrize(("channels", "dims", "most"), [(3, 2, 48), (1, 3, 108), (2, 3, 216)])
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.5 in shards"])
def test_ome_zarr_of_channels_and_volumes(tmp_path, watch, version, channels, dims, most):
    pixels = pixels_of(channels, dims, "uint16")
    shards = {"shards": (1,) * (channels > 1) + ((8, 64, 64)[-dims:])} if version.endswith("shards") else {}
    write_ome_zarr(tmp_path / "a.zarr", pixels, version[:3], **shards)
    check(tmp_path / "a.zarr", watch, pixels, most=most)
