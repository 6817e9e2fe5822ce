"""Zarr and OME-Zarr: what the axes are, what is missing, which image is meant, and what is not opened at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import read, read_labels, zarr_chunks
from contractile.images.raster import Raster
from contractile.images.zarr_chunks import find_gaps
from contractile.images.zarr_metadata import label_groups, letters_of
from contractile.images.zarrs import open_zarr


def numbered(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """An array in which every element tells its own place; none is 0."""
    return (np.arange(np.prod(shape)).reshape(shape) + 1).astype(dtype)


def ome(names: str, **more: Any) -> dict[str, Any]:
    """The metadata of an image with these axes and one resolution for each of `paths`."""
    kinds = {"t": "time", "c": "channel"}
    units = {"t": "millisecond", "z": "nanometer", "y": "micrometer", "x": "micrometer"}
    axes = [
        {"name": name, "type": kinds.get(name, "space")} | ({"unit": units[name]} if name in units else {})
        for name in names
    ]
    return {"axes": axes, "datasets": [{"path": path} for path in more.pop("paths", ("0",))], **more}


def write_ome(path: Path, pixels: NDArray[Any], names: str, *, zarr_format: int = 3, **more: Any) -> zarr.Group:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    chunks = more.pop("chunks", pixels.shape)
    group.create_array("0", data=pixels, chunks=chunks)
    multiscales = {"multiscales": [ome(names, **more)]}
    group.attrs.update(multiscales if zarr_format == 2 else {"ome": {"version": "0.5", **multiscales}})
    return group


def only(path: Path) -> Raster:
    [raster] = open_zarr(path, 2)
    return raster


# axes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "types", "letters"),
    [
        (["t", "c", "z", "y", "x"], ["time", "channel", "space", "space", "space"], "TCZYX"),
        (["Channel", "Row", "Column"], [], "CYX"),
        (["time", "y", "x"], [], "TYX"),
        (["y", "x", "rgb"], [], "YXS"),
        (["position", "y", "x"], [], "QYX"),
        ([None, "y", "x"], [], "QYX"),
        (["a", "b"], ["space", "space"], "YX"),
        (["hyb", "u", "v", "w"], ["channel", "space", "space", "space"], "CZYX"),
        (["lambda", "y", "x"], ["channel", "space", "space"], "CYX"),
        (["dim_0", "dim_1"], [], None),
        ([None, None], [], None),
        (["y", "y"], [], None),
    ],
)
def test_letters_of_named_axes(names: list[Any], types: list[str], letters: str | None) -> None:
    assert letters_of(names, types) == letters


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_names_of_a_bare_array(tmp_path: Path, zarr_format: int) -> None:
    pixels, names = numbered(6, 5, 4), ("y", "x", "channel")
    given = {"dimension_names": names} if zarr_format == 3 else {}
    array = zarr.create_array(tmp_path / "a.zarr", data=pixels, zarr_format=zarr_format, **given)
    if zarr_format == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    raster = only(tmp_path / "a.zarr")
    assert (raster.axes, raster.guessed, raster.notes) == ("YXC", False, ())
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").pixels, np.moveaxis(pixels, -1, 0))


def test_names_that_say_nothing_leave_the_axes_to_a_guess(tmp_path: Path) -> None:
    for name, names in (("a", None), ("b", ("dim_0", "dim_1", "dim_2")), ("c", (None, "u", "v"))):
        zarr.create_array(tmp_path / f"{name}.zarr", data=numbered(7, 6, 5), dimension_names=names)
        assert (only(tmp_path / f"{name}.zarr").axes, only(tmp_path / f"{name}.zarr").guessed) == ("QQQ", True)


def test_one_array_in_a_group(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("y", data=np.arange(6.0))
    group.create_array("image", data=numbered(6, 5)).attrs["_ARRAY_DIMENSIONS"] = ["y", "x"]
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").pixels, numbered(6, 5)[None])
    group.create_array("other", data=numbered(6, 5))
    with pytest.raises(ContractileError, match="holds no OME-Zarr image but y, image, other; give the folder of one"):
        read(tmp_path / "a.zarr")


def test_old_ome_zarr_without_axes(tmp_path: Path) -> None:
    group = write_ome(tmp_path / "a.zarr", numbered(1, 2, 1, 6, 5), "tczyx", zarr_format=2)
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}]}]
    assert only(tmp_path / "a.zarr").axes == "TCZYX"
    group.attrs["multiscales"] = [{"axes": ["t", "c", "z", "y", "x"], "datasets": [{"path": "0"}]}]
    assert only(tmp_path / "a.zarr").axes == "TCZYX"


# scale ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_scale_and_interval(tmp_path: Path, zarr_format: int) -> None:
    group = write_ome(tmp_path / "a.zarr", numbered(2, 3, 6, 5), "tzyx", zarr_format=zarr_format)
    attributes = group.attrs.asdict()
    multiscale = attributes.get("ome", attributes)["multiscales"][0]
    multiscale["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [500, 400, 0.25, 0.5]}]
    multiscale["coordinateTransformations"] = [{"type": "scale", "scale": [4, 1, 2, 1]}]
    group.attrs.update(attributes)
    raster = only(tmp_path / "a.zarr")
    assert raster.scale == pytest.approx({"Z": 0.4, "Y": 0.5, "X": 0.5})
    assert raster.interval_s == pytest.approx(2.0)


def test_scale_without_units_is_unknown(tmp_path: Path) -> None:
    group = write_ome(tmp_path / "a.zarr", numbered(2, 6, 5), "tyx")
    multiscale = {"axes": [{"name": name} for name in "tyx"], "datasets": [{"path": "0"}]}
    multiscale["coordinateTransformations"] = [{"type": "scale", "scale": [3, 2, 2]}]
    group.attrs["ome"] = {"multiscales": [multiscale]}
    assert (only(tmp_path / "a.zarr").scale, only(tmp_path / "a.zarr").interval_s) == ({}, None)


# which image ----------------------------------------------------------------------------------


def test_the_layout_of_bioformats2raw(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    group.create_group("OME")
    for series in ("0", "1", "10"):
        write_ome(tmp_path / "a.zarr" / series, numbered(6, 5) + int(series), "yx", zarr_format=2)
    raster = only(tmp_path / "a.zarr")
    np.testing.assert_array_equal(raster.load()[...], numbered(6, 5))
    assert raster.notes == ("holds 3 images, of which 0 is read; give a.zarr/1 for the next",)
    shutil.rmtree(tmp_path / "a.zarr" / "1")
    shutil.rmtree(tmp_path / "a.zarr" / "10")
    assert only(tmp_path / "a.zarr").notes == ()


def test_plates_and_wells(tmp_path: Path) -> None:
    plate = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": [{"path": "B/2"}, {"path": "B/3"}]}
    well = plate.create_group("B/2")
    well.attrs["well"] = {"images": [{"path": "7"}]}
    write_ome(tmp_path / "p.zarr" / "B" / "2" / "7", numbered(6, 5), "yx", zarr_format=2)
    with pytest.raises(ContractileError, match=r"is a plate of 2 wells, not an image; .* such as p\.zarr/B/2/0"):
        read(tmp_path / "p.zarr")
    np.testing.assert_array_equal(read(tmp_path / "p.zarr" / "B" / "2").pixels, numbered(6, 5)[None])


def test_labels_inside_an_image(tmp_path: Path) -> None:
    path = tmp_path / "fov.zarr"
    write_ome(path, numbered(6, 5), "yx", zarr_format=2)
    assert label_groups(path) == []
    for name, value in (("nuclei", 2), ("cells", 1)):
        write_ome(path / "labels" / name, np.full((6, 5), value, np.uint8), "yx", zarr_format=2)
    zarr.open_group(path / "labels", mode="a", zarr_format=2).attrs["labels"] = ["nuclei", "cells"]
    assert label_groups(path) == [path / "labels" / "cells", path / "labels" / "nuclei"]
    assert label_groups(tmp_path) == label_groups(tmp_path / "absent") == []
    assert read_labels(path / "labels" / "nuclei").tolist() == [[2] * 5] * 6
    np.testing.assert_array_equal(read(path).pixels, numbered(6, 5)[None])
    with pytest.raises(
        ContractileError, match="holds 2 label images, cells, nuclei; give one of them, such as labels/cells"
    ):
        read_labels(path / "labels")
    shutil.rmtree(path / "labels" / "nuclei")
    assert read_labels(path / "labels").tolist() == [[1] * 5] * 6


def test_metadata_that_lead_elsewhere(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "secret.zarr", data=numbered(6, 5))
    for place in (
        "../secret.zarr",
        str(tmp_path / "secret.zarr"),
        "C:/secret.zarr",
        "C:secret.zarr",
        r"..\secret.zarr",
    ):
        write_ome(tmp_path / "a.zarr", numbered(6, 5), "yx", paths=(place,))
        with pytest.raises(
            ContractileError, match=r"unreadable or truncated \(its metadata name an array outside of it"
        ):
            read(tmp_path / "a.zarr")


# missing chunks -------------------------------------------------------------------------------


def fading(*shape: int) -> NDArray[Any]:
    """Pixels that are 0 on the faces of all chunks of 4 x 4."""
    pixels = numbered(*shape)
    for axis in (-1, -2):
        pixels.swapaxes(axis, -1)[..., np.isin(np.arange(shape[axis]) % 4, (0, 3))] = 0
    return pixels


def chunks_of(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file() and one.name.split(".")[-1].isdecimal())


def lose(path: Path, share: float) -> int:
    """Delete this share of the chunks of an array; the number of those that are lost."""
    files = chunks_of(path)
    lost = files[: round(share * len(files))]
    for file in lost:
        file.unlink()
    zarr_chunks._find_gaps.cache_clear()
    return len(lost)


@pytest.mark.parametrize("share", [0.25, 0.5, 1])
@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_chunks_are_told(tmp_path: Path, zarr_format: int, separator: str, share: float) -> None:
    path = tmp_path / "a.zarr"
    keys = {"name": "v2" if zarr_format == 2 else "default", "separator": separator}
    zarr.create_array(path, data=fading(16, 12), chunks=(4, 4), zarr_format=zarr_format, chunk_key_encoding=keys)
    assert only(path).notes == ()
    assert lose(path, share) == 12 * share
    [note] = only(path).notes
    assert note == (
        f"{12 * share:.0f} of its 12 chunks are missing ({share:.0%} of it) and read as 0; "
        "copy the folder again if a.zarr should not be empty there"
    )
    assert open_zarr(path, 2, labels=True)[0].notes == ()


def test_missing_shards_count_as_chunks(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=fading(16, 12), chunks=(2, 2), shards=(4, 4))
    assert find_gaps(tmp_path / "a.zarr") is None
    lose(tmp_path / "a.zarr", 0.25)
    gaps = find_gaps(tmp_path / "a.zarr")
    assert gaps is not None
    assert (gaps.missing, gaps.total, gaps.proof) == (3, 12, "")


def test_other_files_and_chunks_outside_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=numbered(8, 8), chunks=(4, 4))
    (path / "c" / "0" / "0").unlink()
    (path / "c" / "9").mkdir()
    for name in ("c/9/9", "c/0/.nfs1", "1", "c/0/0.partial", ".DS_Store"):
        (path / name).write_bytes(b"")
    gaps = find_gaps(path)
    assert gaps is not None
    assert (gaps.missing, gaps.total) == (1, 4)


@pytest.mark.parametrize(
    ("fill", "dtype", "zarr_format", "reason"),
    [
        (None, "uint8", 2, r"nothing says what belongs there \(fill_value is null\)"),
        (np.nan, "float32", 3, "nan stands in their place"),
        (np.inf, "float64", 2, "inf stands in their place"),
    ],
)
def test_missing_chunks_without_a_meaning(
    tmp_path: Path, fill: float | None, dtype: str, zarr_format: int, reason: str
) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=(8, 8), chunks=(4, 4), dtype=dtype, fill_value=fill, zarr_format=zarr_format)
    array[:] = numbered(8, 8, dtype=dtype)
    assert read(path).shape == (1, 8, 8)
    lose(path, 0.5)
    with pytest.raises(
        ContractileError, match=rf"2 of its 4 chunks are missing \(50% of it\); {reason}; where they are meant"
    ):
        read(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_lower_resolution_tells_what_a_missing_chunk_held(tmp_path: Path, zarr_format: int) -> None:
    pixels = numbered(64, 64)
    pixels[:, 32:] = 0  # chunks of zeros are not stored
    path = tmp_path / "a.zarr"
    group = write_ome(path, pixels, "yx", zarr_format=zarr_format, paths=("0", "1"), chunks=(16, 16))
    group.create_array("1", data=pixels[::2, ::2], chunks=(16, 16))
    assert only(path).notes == ()
    lose(path / "0", 0.5)
    with pytest.raises(ContractileError) as caught:
        read(path)
    assert caught.value.problem == (
        "12 of its 16 chunks are missing (75% of it); a lower resolution has pixels where 4 of them were"
    )
    shutil.rmtree(path / "1")  # without it the chunks beside them tell
    zarr_chunks._find_gaps.cache_clear()
    with pytest.raises(ContractileError, match=r"12 of its 16 chunks .*; the chunks beside them do not fade"):
        only(path)


def test_chunks_that_are_empty_files(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=numbered(8, 8), chunks=(4, 4))
    chunks_of(tmp_path / "a.zarr")[1].write_bytes(b"")
    with pytest.raises(ContractileError, match=r"a\.zarr: unreadable or truncated"):
        read(tmp_path / "a.zarr")


def test_an_array_declared_far_larger_than_its_chunks(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(10**9, 64, 64), chunks=(1, 64, 64), dtype="uint8")
    with pytest.raises(ContractileError, match="is stored in 1000000000 chunks; at most 4194304 are read"):
        find_gaps(tmp_path / "a.zarr")


# what is not opened ---------------------------------------------------------------------------


class Marker:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["filters", "compressor", "group"])
def test_codecs_that_run_code(tmp_path: Path, where: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.zarr"
    folder = path / "0" if where == "group" else path
    folder.mkdir(parents=True)
    evil = {"id": "pickle", "protocol": 4}
    metadata = {"zarr_format": 2, "shape": [8, 8], "chunks": [8, 8], "dtype": "|u1", "fill_value": 0, "order": "C"}
    metadata |= (
        {"compressor": evil, "filters": None} if where == "compressor" else {"compressor": None, "filters": [evil]}
    )
    (folder / ".zarray").write_text(json.dumps(metadata))
    (folder / "0.0").write_bytes(pickle.dumps(Marker(mark)))
    if where == "group":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": [ome("yx")]}))
    with pytest.raises(ContractileError, match="is stored with the codec 'pickle', which does not only store numbers"):
        read(path)
    assert not mark.exists()


def test_codecs_of_zarr_3_are_looked_at_inside_shards(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=numbered(8, 8), chunks=(4, 4), shards=(8, 8))
    file = tmp_path / "a.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["codecs"][0]["configuration"]["codecs"].append({"name": "numcodecs.pickle"})
    file.write_text(json.dumps(metadata))
    with pytest.raises(ContractileError, match="is stored with the codec 'pickle'"):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    ("dtype", "name"), [("|O", "object"), ("<c8", "complex64"), ("<M8[s]", r"datetime64\[s\]"), ("<U3", "str96")]
)
def test_values_that_are_no_numbers(tmp_path: Path, dtype: str, name: str) -> None:
    metadata = {"zarr_format": 2, "shape": [8, 8], "chunks": [8, 8], "dtype": dtype, "compressor": None}
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zarray").write_text(
        json.dumps(metadata | {"fill_value": 0, "order": "C", "filters": None})
    )
    with pytest.raises(ContractileError, match=f"holds values of type '{name}', not integers or floats; give an array"):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["[" * 50000, "{", '{"zarr_format": 3}', "[]"])
def test_metadata_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text(text)
    with pytest.raises(ContractileError, match=r"a\.zarr.*: "):
        read(tmp_path / "a.zarr")
