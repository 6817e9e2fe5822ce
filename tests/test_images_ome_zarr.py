"""OME-Zarr that is written: read back by our own reader, by ome-zarr, and checked against the specification."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import entries
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from yaozarrs import validate_zarr_store

from contractile.errors import AlreadyThere, ContractileError, NotWritable, NotWritten, WrongType
from contractile.images import (
    Facts,
    Stack,
    ZarrSink,
    find,
    is_ours,
    open_image,
    place_inside,
    pour,
    read_labels,
    read_probabilities,
    smallest_type,
    zarr_writing,
)
from contractile.images import zarr_describing as describing
from contractile.images import zarr_layout as layout
from contractile.images.pyramid import majority, mean
from contractile.images.zarr_metadata import label_groups
from contractile.storage import claimed, files, sweep

VERSIONS = ["0.4", "0.5"]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, chunks and lowest resolutions of a few pixels."""
    monkeypatch.setattr(layout, "SHARD", {2: (16, 16), 3: (8, 8, 8)})
    monkeypatch.setattr(layout, "CHUNK", {2: (8, 8), 3: (4, 4, 4)})
    monkeypatch.setattr(layout, "SMALL", 8)


def random_labels(shape: tuple[int, ...], largest: int = 9) -> NDArray[np.int32]:
    rng = np.random.default_rng(0)
    return (rng.integers(1, largest + 1, shape) * rng.integers(0, 2, shape)).astype(np.int32)


def write(path: Path, labels: NDArray[Any], axes: str = "YX", facts: Facts | None = None, **more: Any) -> Path:
    with ZarrSink(path, labels.shape, smallest_type(int(labels.max(initial=0))), axes=axes, **more) as sink:
        pour(labels, sink)
        sink.facts = facts or Facts()
    return path


def ome(path: Path) -> dict[str, Any]:
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    found: dict[str, Any] = attributes.get("ome", attributes)
    return found


def resolutions(path: Path) -> list[zarr.Array]:
    return [zarr.open_array(path / one["path"], mode="r") for one in ome(path)["multiscales"][0]["datasets"]]


def make_image(path: Path, shape: tuple[int, ...] = (40, 50), version: str = "0.5") -> Path:
    """An image of others."""
    pixels = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    with ZarrSink(path, pixels.shape, np.float32, axes="CYX", version=version) as sink:
        pour(pixels, sink)
        sink.facts = Facts(pixel_size_um=(0.5, 0.25), origin_um=(10.0, -20.0))
    return path


# what is written comes back ---------------------------------------------------------------------

SHAPES = [
    ("YX", (40, 50), None),
    ("YX", (5, 3), None),
    ("YX", (3, 40, 50), Stack("T", (3,), interval_s=2.0)),
    ("YX", (6, 33, 17), Stack("TZ", (2, 3), spacing_um=2.0)),
    ("YX", (3, 20, 20), Stack("Q", (3,))),
    ("ZYX", (17, 20, 9), None),
    ("ZYX", (2, 9, 20, 9), Stack("T", (2,), interval_s=60.0)),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("axes", "shape", "stack"), SHAPES)
def test_labels_come_back(
    tmp_path: Path, small_blocks: None, axes: str, shape: tuple[int, ...], stack: Stack | None, version: str
) -> None:
    labels, dims = random_labels(shape, 300), len(axes)
    size, origin = (2.0, 0.5, 0.25)[-dims:], (3.0, -4.0, 5.5)[-dims:]
    path = write(tmp_path / "a.zarr", labels, axes, Facts(size, origin, count=300), stack=stack, version=version)
    sources = find(path, dims=dims)
    np.testing.assert_array_equal([read_labels(one, dims=dims) for one in sources], labels.reshape(-1, *shape[-dims:]))
    with open_image(sources[0], dims=dims) as image:
        assert (image.pixel_size_um, image.origin_um, image.dtype) == (size, origin, np.uint16)
    assert sources[0].stack == stack
    assert validate_zarr_store(str(path)) is not None
    assert ome(path)["multiscales"][0].get("version", ome(path).get("version")) == version
    assert zarr.open_array(path / "0").metadata.zarr_format == (2 if version == "0.4" else 3)
    assert [one.name for one in entries(tmp_path)] == ["a.zarr"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["CYX", "CZYX"])
def test_probabilities_come_back(tmp_path: Path, small_blocks: None, axes: str, version: str) -> None:
    dims = len(axes) - 1
    maps = np.random.default_rng(0).random((2, 3, *(9, 20, 21)[-dims:]), dtype=np.float32)
    stack = Stack("T", (2,), interval_s=2.0)
    with ZarrSink(tmp_path / "p.zarr", maps.shape, np.float32, axes=axes, stack=stack, version=version) as sink:
        pour(maps, sink)
        sink.facts = Facts(channels=["background", "core", "rim"])
    sources = find(tmp_path / "p.zarr", dims=dims)
    np.testing.assert_array_equal([read_probabilities(one, dims=dims) for one in sources], maps)
    assert [one["label"] for one in ome(tmp_path / "p.zarr")["omero"]["channels"]] == ["background", "core", "rim"]
    assert "image-label" not in ome(tmp_path / "p.zarr")
    assert validate_zarr_store(str(tmp_path / "p.zarr")) is not None
    below = resolutions(tmp_path / "p.zarr")[1]
    np.testing.assert_allclose(below[0, 0, ..., 0, 0], maps[0, 0, ..., :2, :2].mean(), rtol=0.6)


@pytest.mark.parametrize("version", VERSIONS)
def test_ome_zarr_opens_it(tmp_path: Path, small_blocks: None, version: str) -> None:
    reader = pytest.importorskip("ome_zarr.reader", reason="ome-zarr is not installed")
    from ome_zarr.io import parse_url

    image = make_image(tmp_path / "image.zarr", version=version)
    labels = random_labels((40, 50))
    write(place_inside(image, "cells"), labels, facts=Facts((0.5, 0.25), count=9))
    nodes = [node for node in reader.Reader(parse_url(str(image)))() if node.data]
    assert [np.asarray(node.data[0]).shape for node in nodes] == [(1, 40, 50), (40, 50)]
    cells = nodes[-1]
    np.testing.assert_array_equal(np.asarray(cells.data[0]), labels)
    assert len(cells.data) == 4
    assert set(cells.metadata["color"]) >= set(range(1, 10))


def test_axes_are_brought_into_the_order_of_ome_zarr(tmp_path: Path) -> None:
    labels = random_labels((6, 7, 8))
    path = write(tmp_path / "a.zarr", labels, stack=Stack("ZT", (2, 3), interval_s=1.5, spacing_um=2.0))
    array = zarr.open_array(path / "0", mode="r")
    np.testing.assert_array_equal(array, labels.reshape(2, 3, 7, 8).swapaxes(0, 1))
    assert array.metadata.dimension_names == ("t", "z", "y", "x")
    assert ome(path)["multiscales"][0]["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space"},
        {"name": "x", "type": "space"},
    ]


@pytest.mark.parametrize(
    ("shape", "chunk", "unit"), [((40, 50), (8, 8), (16, 16)), ((16, 9), (8, 8), (8, 8)), ((3, 99), (3, 8), (3, 16))]
)
def test_shards_hold_blocks_of_what_is_larger_than_one(
    tmp_path: Path, small_blocks: None, shape: tuple[int, ...], chunk: tuple[int, ...], unit: tuple[int, ...]
) -> None:
    sink = ZarrSink(tmp_path / "a.zarr", shape, np.uint8, axes="YX")
    assert sink.unit == unit
    sink.close()
    array = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")
    assert (array.chunks, array.shards) == (chunk, unit if unit != chunk else None)
    assert sum(one.name.isdecimal() for one in (tmp_path / "a.zarr" / "0").rglob("*") if one.is_file()) == 0


def test_units_of_the_usual_blocks(tmp_path: Path) -> None:
    def unit(shape: tuple[int, ...], axes: str, **more: Any) -> tuple[int, ...]:
        sink = ZarrSink(tmp_path / "a.zarr", shape, np.uint8, axes=axes, **more)
        sink.drop()
        return sink.unit

    assert unit((5000, 5000), "YX") == (2048, 2048)
    assert unit((5000, 5000), "YX", version="0.4") == (512, 512)
    assert unit((3, 5000, 5000), "CYX") == (1, 2048, 2048)
    assert unit((9, 3, 5000, 5000), "CYX", stack=Stack("Z", (9,))) == (1, 1, 2048, 2048)
    assert unit((100, 500, 5000), "ZYX") == (64, 256, 256)
    assert unit((100, 500, 5000), "TYX") == (64, 256, 256)  # a volume of frames
    assert unit((100, 500, 5000), "YX", stack=Stack("T", (100,))) == (1, 500, 2048)
    assert not entries(tmp_path)


# lower resolutions ------------------------------------------------------------------------------


def test_lower_resolutions_of_labels_hold_their_numbers_alone(tmp_path: Path, small_blocks: None) -> None:
    labels = random_labels((40, 51), 200)
    path = write(tmp_path / "a.zarr", labels, facts=Facts((0.5, 0.25), (10.0, 20.0)))
    found = resolutions(path)
    assert [one.shape for one in found] == [(40, 51), (20, 26), (10, 13), (5, 7)]
    for one, below in pairwise(found):
        np.testing.assert_array_equal(below, majority(np.asarray(one), (2, 2)))
        assert below.dtype == np.uint8
        assert set(np.unique(below)) <= set(np.unique(labels))
    steps = [one["coordinateTransformations"] for one in ome(path)["multiscales"][0]["datasets"]]
    assert [(one["scale"], other["translation"]) for one, other in steps] == [
        ([0.5, 0.25], [10.0, 20.0]),
        ([1.0, 0.5], [10.25, 20.125]),
        ([2.0, 1.0], [10.75, 20.375]),
        ([4.0, 2.0], [11.75, 20.875]),
    ]


def test_depth_is_halved_where_it_is_not_coarser(tmp_path: Path, small_blocks: None) -> None:
    def shapes(size: tuple[float, ...] | None) -> list[tuple[int, ...]]:
        path = write(tmp_path / "a.zarr", random_labels((12, 32, 32)), "ZYX", Facts(size))
        return [one.shape for one in resolutions(path)]

    assert shapes((2.0, 0.5, 0.5)) == [(12, 32, 32), (12, 16, 16), (12, 8, 8)]
    assert shapes((1.0, 0.5, 0.5)) == [(12, 32, 32), (12, 16, 16), (6, 8, 8)]
    assert shapes(None) == [(12, 32, 32), (6, 16, 16), (3, 8, 8)]
    planes = write(tmp_path / "b.zarr", random_labels((12, 32, 32)), stack=Stack("Z", (12,)))
    assert [one.shape for one in resolutions(planes)] == [(12, 32, 32), (12, 16, 16), (12, 8, 8)]


@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)), seed=st.integers(0, 99))
def test_majority_of_every_eight(shape: tuple[int, ...], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint16)
    found = majority(labels, (2, 2, 1))
    assert found.shape == (-(-shape[0] // 2), -(-shape[1] // 2), shape[2])
    for z, y, x in np.ndindex(*found.shape):
        part = labels[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, x]
        counts = {number: int((part == number).sum()) for number in part.flat}
        assert counts[found[z, y, x]] == max(counts.values())
        if found[z, y, x] == 0:  # an object that is as frequent would have won
            assert all(count < counts[0] for number, count in counts.items() if number)


def test_majority_and_mean() -> None:
    labels = np.array([[0, 0, 5, 7], [5, 5, 7, 0], [1, 2, 3, 3]], np.uint8)
    assert majority(labels, (2, 2)).tolist() == [[5, 7], [1, 3]]
    assert mean(labels, (2, 2)).tolist() == [[2, 5], [2, 3]]
    assert mean(labels.astype(np.float32), (1, 2)).tolist() == [[0, 6], [5, 3.5], [1.5, 3]]
    assert mean(np.full((2, 2), 65535, np.uint16), (2, 2)).tolist() == [[65535]]


def test_the_place_of_an_image_of_others(tmp_path: Path) -> None:
    """The transformations of a resolution come first, then those of all."""
    group = zarr.open_group(make_image(tmp_path / "a.zarr"), mode="r+")
    table = dict(group.attrs)["ome"]
    multiscale = table["multiscales"][0]

    def read() -> tuple[Any, Any]:
        group.attrs["ome"] = table
        with open_image(tmp_path / "a.zarr") as image:
            return image.pixel_size_um, image.origin_um

    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    scale["scale"], translation["translation"] = [1, 0.5, 0.25], [0, 10, -20]
    multiscale["coordinateTransformations"] = [
        {"type": "scale", "scale": [1, 2, 4]},
        {"type": "translation", "translation": [0, 1, 1.5]},
        {"type": "translation", "path": "elsewhere"},
    ]
    assert read() == ((1.0, 1.0), (21.0, -78.5))
    multiscale["axes"][1]["unit"] = multiscale["axes"][2]["unit"] = "nanometer"
    assert read() == (pytest.approx((1e-3, 1e-3)), pytest.approx((21e-3, -78.5e-3)))
    del multiscale["coordinateTransformations"]
    multiscale["datasets"][0]["coordinateTransformations"] = [scale]
    assert read() == (pytest.approx((5e-4, 2.5e-4)), None)
    translation["translation"] = ["far", 1, 1]
    multiscale["datasets"][0]["coordinateTransformations"] = [translation]
    with pytest.raises(ContractileError, match=r"a\.zarr: unreadable or truncated"):
        read()


# metadata ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_colours_and_properties_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(describing, "MOST_OBJECTS", 9)
    caplog.set_level(logging.INFO)
    labels = random_labels((20, 20))
    table = {"id": np.arange(1, 10), "area_px": np.arange(9), "mean": [np.nan, *np.arange(8) / 2]}
    write(tmp_path / "a.zarr", labels, facts=Facts(objects=table), version=version)
    found = ome(tmp_path / "a.zarr")["image-label"]
    assert found["properties"][:2] == [
        {"label-value": 1, "area_px": 0},
        {"label-value": 2, "area_px": 1, "mean": 0.0},
    ]
    assert [type(one["label-value"]) for one in found["colors"]] == [int] * 9
    assert len({tuple(one["rgba"]) for one in found["colors"]}) == 7
    assert "source" not in found
    assert not caplog.messages
    write(tmp_path / "b.zarr", labels, facts=Facts(count=10), version=version)
    assert "colors" not in ome(tmp_path / "b.zarr")["image-label"]
    [message] = caplog.messages
    assert message == "more than 9 objects: viewers would wait for colours and properties, so none are written"
    twice = {"id": [1, 1], "area_px": [3, 4]}
    write(tmp_path / "c.zarr", labels, facts=Facts(objects=twice), version=version)
    assert set(ome(tmp_path / "c.zarr")["image-label"]) <= {"version"}
    for name in "abc":
        assert validate_zarr_store(str(tmp_path / f"{name}.zarr")) is not None


def test_sizes_that_differ_are_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stack, labels = Stack("T", (2,)), random_labels((2, 8, 8))
    write(tmp_path / "a.zarr", labels, facts=Facts([(0.5, 0.5), (0.25, 0.5)]), stack=stack)
    write(tmp_path / "b.zarr", labels, facts=Facts([(0.5, 0.5), (0.5, 0.5)], interval_s=3.0), stack=stack)
    [message] = caplog.messages
    assert message.endswith(
        "a.zarr: pages have pixels of different sizes, and an OME-Zarr holds one size: none is written"
    )
    scales = [ome(tmp_path / name)["multiscales"][0]["datasets"][0] for name in ("a.zarr", "b.zarr")]
    assert [one["coordinateTransformations"][0]["scale"] for one in scales] == [[1, 1, 1], [3, 0.5, 0.5]]


def test_which_zarrs_this_package_wrote(tmp_path: Path) -> None:
    for version in VERSIONS:
        write(tmp_path / f"{version}.zarr", random_labels((8, 8)), version=version)
    zarr.create_array(tmp_path / "bare.zarr", data=random_labels((8, 8)))
    zarr.create_group(tmp_path / "group.zarr", attributes={"ome": {"multiscales": [{"metadata": "contractile"}]}})
    (tmp_path / "damaged.zarr").mkdir()
    (tmp_path / "damaged.zarr" / "zarr.json").write_text("{")
    (tmp_path / "folder").mkdir()
    assert sorted(one.name for one in tmp_path.iterdir() if is_ours(one)) == ["0.4.zarr", "0.5.zarr"]


# inside of an image -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_inside_of_an_image(tmp_path: Path, version: str) -> None:
    image = make_image(tmp_path / "image.zarr", version=version)
    labels = random_labels((40, 50))
    path = place_inside(image, "cells")
    assert path == image / "labels" / "cells"
    for name in ("cells", "nuclei", "cells"):
        path = place_inside(image, name)
        with claimed([path], by="predict", inputs=[image], folders=[path], within=[image]) as claim, claim.together():
            write(path, labels, facts=Facts((0.5, 0.25)))
    assert [one.name for one in label_groups(image)] == ["cells", "nuclei"]
    assert ome(image / "labels")["labels"] == ["cells", "nuclei"]
    assert ome(image / "labels" / "cells")["image-label"]["source"] == {"image": "../../"}
    np.testing.assert_array_equal(read_labels(image / "labels" / "cells"), labels)
    assert validate_zarr_store(str(image)) is not None
    tree = zarr.open_group(image, mode="r")  # warnings are errors: nothing that is no Zarr lies in its groups
    assert sorted(tree.keys()) == ["0", "labels"] if "labels" in tree else False
    assert sorted(tree["labels"].keys()) == ["cells", "nuclei"]
    assert {one.name for one in (image / "labels").iterdir() if one.name.startswith(".")} <= {".zgroup", ".zattrs"}


def test_other_entries_of_the_list_stay(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image.zarr")
    group = zarr.create_group(image / "labels", attributes={"more": 1, "ome": {"version": "0.5", "labels": ["theirs"]}})
    zarr.create_array(image / "labels" / "theirs", data=random_labels((40, 50)))
    write(place_inside(image, "cells"), random_labels((40, 50)))
    attributes = dict(zarr.open_group(group.store_path, mode="r").attrs)
    assert attributes == {"more": 1, "ome": {"version": "0.5", "labels": ["theirs", "cells"]}}
    theirs = image / "labels" / "theirs"
    with (
        pytest.raises(AlreadyThere, match=rf"must not replace files that this command did not write.*got {theirs};"),
        claimed([theirs], by="predict", folders=[theirs]),
    ):
        pass


def test_an_image_in_the_layout_of_bioformats2raw(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    make_image(tmp_path / "a.zarr" / "0")
    assert group.store_path is not None
    assert place_inside(tmp_path / "a.zarr", "cells") == tmp_path / "a.zarr" / "0" / "labels" / "cells"


def test_places_that_take_no_labels(tmp_path: Path) -> None:
    image = make_image(tmp_path / "image.zarr")
    zarr.create_array(tmp_path / "bare.zarr", data=random_labels((8, 8)))
    for place in (tmp_path, tmp_path / "bare.zarr"):
        with pytest.raises(ContractileError, match="is no OME-Zarr image, which could hold labels; write beside it"):
            place_inside(place, "cells")
    for name in ("", "a/b", "C:a", ".hidden", ".."):
        with pytest.raises(
            ContractileError, match=r"name must be that of a folder, without /, .*got '.*'; use letters"
        ):
            place_inside(image, name)
    with pytest.raises(ContractileError, match=r"labels inside of an OME-Zarr 0\.5 must have its version, got 0\.4;"):
        ZarrSink(image / "labels" / "cells", (8, 8), np.uint8, axes="YX", version="0.4")
    (image / "labels").mkdir()
    for damaged in ("[1]", "{", '{"attributes": {"ome": {"labels": 3}}}'):
        (image / "labels" / "zarr.json").write_text(damaged)
        with pytest.raises(
            ContractileError, match=r"the list of labels in its metadata cannot be read .*; correct it, or"
        ):
            write(image / "labels" / "cells", random_labels((8, 8)))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_copy_of_all_metadata_is_told(tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture) -> None:
    image = make_image(tmp_path / "image.zarr", version=version)
    file = image / (".zmetadata" if version == "0.4" else "zarr.json")
    table = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(table | {"consolidated_metadata": {"metadata": {}}}))
    write(place_inside(image, "cells"), random_labels((8, 8)))
    [message] = caplog.messages
    assert message.endswith("without labels/cells; zarr.consolidate_metadata renews it")


# regions ----------------------------------------------------------------------------------------


def test_regions_in_any_order_from_threads(tmp_path: Path, small_blocks: None) -> None:
    labels, stack = random_labels((2, 3, 40, 50)[1:]), Stack("T", (3,))
    sink = ZarrSink(tmp_path / "a.zarr", labels.shape, np.uint8, axes="YX", stack=stack)
    regions = [
        (page, slice(y, y + 16), slice(x, x + 16)) for page in range(3) for y in (32, 0, 16) for x in (48, 0, 16, 32)
    ]
    threads = [
        threading.Thread(
            target=lambda part: [sink.__setitem__(one, labels[one]) for one in part], args=(regions[n::4],)
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.finished(0)
    assert not (tmp_path / "a.zarr").exists()
    sink.close()
    np.testing.assert_array_equal([read_labels(one) for one in find(tmp_path / "a.zarr")], labels)


def test_scalars_and_pages_at_once(tmp_path: Path) -> None:
    with ZarrSink(tmp_path / "a.zarr", (3, 4, 5), np.uint8, axes="YX", stack=Stack("T", (3,))) as sink:
        sink[1:] = np.arange(40).reshape(2, 4, 5)
        sink[0] = 7
    found = np.asarray(zarr.open_array(tmp_path / "a.zarr" / "0", mode="r"))
    assert (found[0] == 7).all()
    assert found[1:].ravel().tolist() == list(range(40))


WORKER = """
import pickle, sys
import numpy as np
target, region, value = pickle.load(sys.stdin.buffer)
target[region] = value
"""


def test_other_processes_write_regions(tmp_path: Path, small_blocks: None) -> None:
    sink = ZarrSink(tmp_path / "a.zarr", (32, 32), np.uint8, axes="YX")
    work = [((slice(y, y + 16), slice(x, x + 16)), 1 + y // 16 * 2 + x // 16) for y in (0, 16) for x in (0, 16)]
    for region, value in work[:2]:
        given = pickle.dumps((sink.target, region, value))
        subprocess.run([sys.executable, "-c", WORKER], input=given, check=True)
    for region, value in work[2:]:
        sink[region] = value
    sink.close()
    assert read_labels(tmp_path / "a.zarr")[::16, ::16].tolist() == [[1, 2], [3, 4]]


def test_regions_and_values_that_are_refused(tmp_path: Path, small_blocks: None) -> None:
    sink = ZarrSink(tmp_path / "a.zarr", (40, 40), np.uint8, axes="YX")
    for region, got in [
        ((slice(8, 16), slice(0, 16)), "8:16, 0:16"),
        ((slice(0, 16), slice(0, 20)), "0:16, 0:20"),
        ((slice(0, 32, 2), slice(0, 16)), "0:32, 0:16"),
    ]:
        with pytest.raises(
            ContractileError, match=rf"begin and end at multiples of \(16, 16\), or at the end of .*got {got}; write"
        ):
            sink[region] = 1
    with pytest.raises(ContractileError, match=r"values must fit into uint8, got 0 to 256; give the type, or"):
        sink[:, :] = np.array([[0], [256]]).repeat(20, axis=0)
    with pytest.raises(WrongType, match=r"values must be integers for an array of uint8, got float64; round them"):
        sink[:] = 0.5
    sink.drop()
    for largest in (-1, 2**32):
        with pytest.raises(ContractileError, match=rf"labels must fit into 32 bits, got {largest}; renumber"):
            smallest_type(largest)
    assert [smallest_type(n) for n in (0, 255, 256, 65535, 65536)] == ["u1", "u1", "u2", "u2", "u4"]


def test_shapes_that_are_refused(tmp_path: Path) -> None:
    def sink(shape: tuple[int, ...], axes: str, **more: Any) -> None:
        ZarrSink(tmp_path / "a.zarr", shape, np.uint8, axes=axes, **more)

    with pytest.raises(
        ContractileError, match=r"shape must be that of axes YX, which end .*got \(4, 5, 6\); name each"
    ):
        sink((4, 5, 6), "YX")
    with pytest.raises(ContractileError, match=r"shape must be that of 3 pages of axes YX, .*got \(4, 5, 6\)"):
        sink((4, 5, 6), "YX", stack=Stack("T", (3,)))
    with pytest.raises(ContractileError, match=r"which end with Y and X, got \(4, 5\)"):
        sink((4, 5), "XY")
    for axes, stack in (("CZYX", Stack("TQ", (1, 2))), ("ZYX", Stack("Z", (2,))), ("YX", Stack("QP", (1, 2)))):
        shape = (2, 3, 4, 5, 6)[: 1 + len(axes)]
        with pytest.raises(ContractileError, match=rf"at most 5 axes, each once, .*got {stack.axes}{axes}; write TIFF"):
            sink(shape, axes, stack=stack)
    with pytest.raises(ContractileError, match=r"version must be one of 0\.4, 0\.5, got '0\.6'; choose one of them"):
        sink((4, 5), "YX", version="0.6")
    with pytest.raises(ContractileError, match=r"channels must have one name for each of 2 channels, got 1; name all"):
        write_channels(tmp_path / "a.zarr")
    with pytest.raises(ContractileError, match=r"OME-Zarr 0\.5 has no place for this image .*; write TIFF"):
        describing.attributes({"multiscales": [{"axes": [], "datasets": []}]}, "0.5")
    assert not entries(tmp_path)


def write_channels(path: Path) -> None:
    with ZarrSink(path, (2, 4, 5), np.float32, axes="CYX") as sink:
        sink.facts = Facts(channels=["one"])


# files that are there, and what goes wrong ------------------------------------------------------


def predict(path: Path, value: int = 1, **more: Any) -> None:
    with claimed([path], by="predict", folders=[path], **more) as claim, claim.together():
        write(path, np.full((20, 20), value))


def test_results_that_exist(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    predict(path)
    predict(path, 2)
    zarr.open_array(path / "0", mode="r+")[:3] = 9
    with pytest.raises(AlreadyThere, match=rf"or that have changed since, got {path}; .* with --overwrite"):
        predict(path, 3)
    assert read_labels(path)[2:4, 0].tolist() == [9, 2]
    predict(path, 3, overwrite=True)
    assert (read_labels(path) == 3).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_an_error_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with ZarrSink(tmp_path / "new" / "a.zarr", (20, 20), np.uint8, axes="YX") as sink:
            sink[:] = 1
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not entries(tmp_path / "new")


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from contractile.images import ZarrSink, place_inside
from contractile.images import zarr_writing
image, when = Path(sys.argv[1]), sys.argv[2]
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
sink = ZarrSink(place_inside(image, "cells"), (40, 50), np.uint8, axes="YX")
sink[:] = 1
if when == "written":
    kill()
setattr(zarr_writing, when, kill)
sink.close()
"""


@pytest.mark.parametrize("when", ["written", "attributes", "register"])
def test_a_kill_leaves_nothing_that_is_read(tmp_path: Path, when: str) -> None:
    image = make_image(tmp_path / "image.zarr")
    done = subprocess.run([sys.executable, "-c", KILLED, str(image), when], check=False)
    assert done.returncode == -signal.SIGKILL
    there = [one.name for one in (image / "labels").iterdir() if not one.name.startswith(".")]
    assert there == (["cells"] if when == "register" else [])
    assert [one.name for one in label_groups(image)] == there
    files._swept.clear()
    sweep(image / "labels")
    assert [one.name for one in entries(image / "labels")] == there
    write(place_inside(image, "cells"), random_labels((40, 50)))
    assert ome(image / "labels")["labels"] == ["cells"]
    assert validate_zarr_store(str(image)) is not None


def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "a.zarr"
    write(path, np.ones((20, 20), np.uint8))
    noise = np.random.default_rng(0).integers(0, 2**31, (1024, 1024))
    with pytest.raises(NotWritten, match=rf"{path}: cannot be written \(No space left on device\); choose a folder"):
        write(path, noise)
    assert (read_labels(path) == 1).all()
    files._swept.clear()
    sweep(small_disk)  # a chunk may have been on its way for longer than one waits for it
    assert [one.name for one in entries(small_disk)] == ["a.zarr"]


def test_a_container_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image(tmp_path / "image.zarr")
    path = place_inside(image, "cells")
    real = os.mkdir

    def refuse(place: Any, *more: Any, **named: Any) -> None:
        if image in Path(place).parents:
            raise PermissionError(13, "Permission denied")
        real(place, *more, **named)

    monkeypatch.setattr(os, "mkdir", refuse)
    with (
        pytest.raises(NotWritable, match=r"labels: cannot be written \(Permission denied\); choose a folder you may"),
        claimed([path], by="predict", folders=[path], inputs=[image], within=[image]),
    ):
        pass
    with pytest.raises(NotWritable, match=r"cells: cannot be written \(Permission denied\)"):
        ZarrSink(path, (20, 20), np.uint8, axes="YX")
    assert [one.name for one in entries(image)] == ["0", "zarr.json"]


class Squares:
    """Labels of any size that are made where they are sliced."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.int32)

    def __getitem__(self, region: tuple[slice, slice]) -> NDArray[np.int32]:
        y, x = (np.arange(part.start, part.stop, dtype=np.int32) // 50 % 2 for part in region)
        return 3 * y[:, None] + x


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_after_an_error_no_more_blocks_are_read(tmp_path: Path) -> None:
    class Broken(Squares):
        read = 0

        def __getitem__(self, region: tuple[slice, slice]) -> NDArray[np.int32]:
            self.read += 1
            raise OSError("the disk is gone")

    broken = Broken((2048, 16 * 2048))
    with pytest.raises(OSError, match="gone"), ZarrSink(tmp_path / "a.zarr", broken.shape, "u1", axes="YX") as sink:
        pour(broken, sink)
    assert broken.read < 16
    assert not (tmp_path / "a.zarr").exists()


def test_a_large_image_needs_a_few_blocks_of_memory(tmp_path: Path, traced: None) -> None:
    write_some = Squares((4096, 4096))
    with ZarrSink(tmp_path / "a.zarr", write_some.shape, np.uint8, axes="YX") as sink:
        pour(write_some, sink)
    _, most = tracemalloc.get_traced_memory()
    assert most < zarr_writing.THREADS * 2 * 2048 * 2048 * 4  # two blocks of int32 for each thread
    assert [one.shape for one in resolutions(tmp_path / "a.zarr")] == [(4096 >> n,) * 2 for n in range(5)]
