"""HDF5 of ilastik and others, and Imaris: which dataset, which axes, regions, levels, and what is refused."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers_files import pixels, write_h5, write_ims

from contractile.dataset import pair_up
from contractile.errors import ContractileError
from contractile.images import find, hdf5, open_image, read, read_labels, read_probabilities

h5py: Any = pytest.importorskip("h5py")
VALUES = pixels(2, 3, 12, 10, 2)  # T, Z, Y, X, C
LABELS = (pixels(12, 10) % 5).astype(np.uint8)


def test_pages_are_planes_of_all_times(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", {"exported_data": VALUES}, "tzyxc", element_size_um=[1.0, 0.3, 0.2])
    found = find(tmp_path)
    assert found[0].stack is not None
    assert (found[0].stack.axes, found[0].stack.lengths, found[0].stack.spacing_um) == ("TZ", (2, 3), 1.0)
    for number, source in enumerate(found):
        image = read(source)
        np.testing.assert_array_equal(image.pixels, np.moveaxis(VALUES[number // 3, number % 3], -1, 0))
        assert image.pixel_size_um == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 2, 4, 4, 1), "compression": "gzip"}])
def test_volumes_by_region(tmp_path: Path, options: dict[str, Any]) -> None:
    write_h5(tmp_path / "a.h5", {"volume/data": VALUES}, "tzyxc", element_size_um=[1.0, 0.3, 0.2], **options)
    with open_image(find(tmp_path / "a.h5", dims=3)[1], dims=3) as image:
        assert image.dtype == np.uint16
        assert image.pixel_size_um == pytest.approx((1.0, 0.3, 0.2))
        assert image.unit == ((2, 4, 4) if options else (1, 1, 1))
        np.testing.assert_array_equal(image[1, 1:3, 2:5, ::2], VALUES[1, 1:3, 2:5, ::2, 1])
        np.testing.assert_array_equal(image.pixels, np.moveaxis(VALUES[1], -1, 0))


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f4", "f8", "?"])
def test_types(tmp_path: Path, dtype: str) -> None:
    values = (pixels(12, 10) % 2).astype(dtype)
    write_h5(tmp_path / "a.hdf5", {"data": values})
    image = read(tmp_path / "a.hdf5")
    assert image.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(image.pixels[0], values)


def test_probabilities_and_labels_of_ilastik(tmp_path: Path) -> None:
    maps = np.stack([pixels(12, 10) / 251, 1 - pixels(12, 10) / 251], -1).astype(np.float32)
    write_h5(tmp_path / "a_Probabilities.h5", {"exported_data": maps}, "yxc")
    write_h5(tmp_path / "a_Segmentation.h5", {"exported_data": LABELS[..., None]}, "yxc")
    np.testing.assert_array_equal(read_probabilities(tmp_path / "a_Probabilities.h5"), np.moveaxis(maps, -1, 0))
    np.testing.assert_array_equal(read_labels(tmp_path / "a_Segmentation.h5"), LABELS)


def test_names_of_dimensions(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", {"data": pixels(12, 3, 10)})
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        for dimension, name in zip(file["data"].dims, "ycx", strict=True):
            dimension.label = name
    np.testing.assert_array_equal(read(tmp_path / "a.h5").pixels, pixels(12, 3, 10).swapaxes(0, 1))


def test_axes_without_names_are_guessed_and_given(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", {"data": pixels(4, 12, 10)})
    assert read(tmp_path / "a.h5").shape == (4, 12, 10)
    assert len(find(tmp_path / "a.h5", axes="TYX")) == 4


@pytest.mark.parametrize(
    "names", [("raw", "label"), ("volume/data", "volume/labels"), ("em", "em_mask"), ("x/y", "gt/Labels")]
)
def test_an_image_and_its_labels_in_one_file(tmp_path: Path, names: tuple[str, str]) -> None:
    image = pixels(12, 10, dtype="u1")
    write_h5(tmp_path / "a.h5", {names[0]: image, names[1]: LABELS, "history": np.zeros(3)})
    np.testing.assert_array_equal(read(tmp_path / "a.h5").pixels[0], image)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.h5"), LABELS)


def test_a_file_that_holds_both_is_images_and_labels(tmp_path: Path) -> None:
    for name in ("a.h5", "b.hdf5"):
        write_h5(tmp_path / name, {"raw": pixels(12, 10, dtype="u1"), "label": LABELS})
    one = tmp_path / "a.h5"
    for place, count in (((one, one), 1), ((one,), 1), ((tmp_path, tmp_path), 2), ((f"{tmp_path}/*",) * 2, 2)):
        pairs = pair_up(*place)
        assert len(pairs) == count
        assert read(pairs[0].image).pixels.shape == (1, 12, 10)
        np.testing.assert_array_equal(read_labels(pairs[0].labels), LABELS)
    write_h5(one, {"data": LABELS})
    with pytest.raises(ContractileError, match=r"images and labels are the same files: a\.h5; give the labels names"):
        pair_up(one, one)
    one.write_bytes(one.read_bytes()[:100])
    with pytest.raises(ContractileError, match=r"a\.h5: .*(truncated|damaged|cannot be read)"):
        pair_up(one, one)


# what is refused ------------------------------------------------------------------------------


def test_several_arrays(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", {"one": LABELS, "other/two": LABELS})
    what = r"a\.h5: holds 2 arrays, of which any may be meant: one, other/two; save one of them alone, under the name"
    with pytest.raises(ContractileError, match=what):
        find(tmp_path / "a.h5")


def test_nothing_that_is_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_h5(tmp_path / "a.h5", {"line": np.zeros(5), "text": np.array([[b"a", b"b"]])})
    with pytest.raises(ContractileError, match="no array of numbers with two axes or more in it"):
        find(tmp_path / "a.h5")
    monkeypatch.setattr(hdf5, "MOST", 1)
    with pytest.raises(ContractileError, match="more than 1 objects in it"):
        find(tmp_path / "a.h5")


def test_numbers_in_other_files(tmp_path: Path) -> None:
    np.save(tmp_path / "secret", LABELS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (12, 10), "u1", external=str(tmp_path / "secret.npy"))
    write_h5(tmp_path / "b.h5", {"data": LABELS})
    with h5py.File(tmp_path / "c.h5", "w") as file:
        layout = h5py.VirtualLayout((12, 10), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "data", shape=(12, 10))
        file.create_virtual_dataset("data", layout)
    for name in "ac":
        with pytest.raises(
            ContractileError, match=rf"{name}\.h5: its dataset /data takes its numbers from other files"
        ):
            find(tmp_path / f"{name}.h5")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "data")
    with pytest.raises(ContractileError, match="no array of numbers"):
        find(tmp_path / "d.h5")
    write_ims(tmp_path / "e.ims", pixels(1, 1, 4, 12, 10))
    with h5py.File(tmp_path / "e.ims", "r+") as file:
        write_h5(tmp_path / "b.h5", {"data": pixels(8, 16, 16)})
        del file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"]
        file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "data")
    with pytest.raises(ContractileError, match="takes its numbers from other files, which are not opened; copy"):
        find(tmp_path / "e.ims")


def test_huge_chunks_and_unknown_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (2**15, 2**15), "u1", chunks=(2**15, 2**15))
        file.create_dataset("many", (2**15, 2**15), "u1", chunks=(4, 4))
    with pytest.raises(ContractileError, match="a chunk has 32768 x 32768 pixels; at most"):
        find(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["data"]
    with pytest.raises(ContractileError, match="is stored in 67108864 chunks; at most"):
        find(tmp_path / "a.h5")
    write_h5(tmp_path / "b.h5", {"data": LABELS}, compression="gzip")
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda code: code != 1)
    with pytest.raises(ContractileError, match=r"compressed by a filter that h5py lacks \(number 1\); save it again"):
        find(tmp_path / "b.h5")


def test_axistags_that_are_none(tmp_path: Path) -> None:
    for tags in ("{", "[]", '{"axes": 3}', '{"axes": [3]}', b"\xff"):
        write_h5(tmp_path / "a.h5", {"data": LABELS})
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file["data"].attrs["axistags"] = tags
        with pytest.raises(ContractileError, match=r"a\.h5: unreadable or truncated"):
            find(tmp_path / "a.h5")


def test_heaps_of_texts_in_which_the_library_would_stay(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", {"data": LABELS}, "yx")
    data = (tmp_path / "a.h5").read_bytes()
    heap = data.index(b"GCOL")
    (length,) = struct.unpack_from("<Q", data, heap + 8)
    for place, value, what in (
        (heap + 8, 2**40, "the file ends within a heap of texts"),
        (heap + 24, length, "a heap of texts whose pieces do not fit"),
        (heap + 24, 2**64 - 20, "a heap of texts whose pieces do not fit"),
    ):
        (tmp_path / "a.h5").write_bytes(data[:place] + struct.pack("<Q", value) + data[place + 8 :])
        with pytest.raises(ContractileError, match=what):
            find(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes(data[: heap + 16] + struct.pack("<HHIQ", 0, 0, 0, 0) + data[heap + 32 :])
    with pytest.raises(ContractileError, match="a heap of texts whose pieces do not fit"):
        find(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes(data[:512] + b"GCOL\x01")
    with pytest.raises(ContractileError, match="the file ends within a heap of texts"):
        find(tmp_path / "a.h5")


def test_files_that_are_cut_off_and_other_content(tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", {"data": VALUES}, "tzyxc")
    data = (tmp_path / "a.h5").read_bytes()
    contents = [data[:length] for length in (9, 100, 600, 2000, len(data) - 100)]
    for content in (*contents, b"Hello, this is text.", bytes(range(1, 99)), b"\x89HDF\r\n\x1a\n" + b"a" * 900):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(ContractileError, match=r"a\.h5: (is text|unreadable or truncated)"):
            read(find(tmp_path / "a.h5")[0])


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".ims"])
def test_without_the_library_its_line_is_named(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_h5(tmp_path / f"a{suffix}", {"data": LABELS})
    monkeypatch.setitem(sys.modules, "h5py", None)
    what = rf"\{suffix} is read by the extra hdf5, which is not installed; pip install 'contractile\[hdf5\]'"
    with pytest.raises(ContractileError, match=what):
        find(tmp_path)


# Imaris ---------------------------------------------------------------------------------------

FULL, HALF = pixels(3, 2, 5, 12, 10), pixels(3, 2, 5, 6, 5) + np.uint16(1000)


def test_imaris(tmp_path: Path) -> None:
    write_ims(tmp_path / "a.ims", FULL, HALF)
    found = find(tmp_path, dims=3)
    assert found[0].stack is not None
    assert (found[0].stack.axes, found[0].stack.interval_s) == ("T", 4.0)
    for source, values in zip(found, FULL, strict=True):
        np.testing.assert_array_equal(read(source, dims=3).pixels, values)
    with open_image(found[1], dims=3) as image:
        assert image.pixel_size_um == pytest.approx((1.0, 0.3, 0.2))
        assert [(one.name, one.colour) for one in image.channels] == [("dye 0", "00FF00"), ("dye 1", "FFFF00")]
        assert image.unit == (5, 8, 8)
        np.testing.assert_array_equal(image[1, 1:3, 2:5, ::2], FULL[1, 1, 1:3, 2:5, ::2])
        assert [level.shape for level in image.levels] == [(2, 5, 12, 10), (2, 5, 6, 5)]
        np.testing.assert_array_equal(image.levels[1].pixels, HALF[1])


def test_imaris_with_parts_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.ims"
    write_ims(path, FULL)
    with h5py.File(path, "r+") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"]
    with pytest.raises(ContractileError, match="its resolution 0 lacks channel 1 at time 1; copy the file again"):
        find(path)
    for name, values, what in (
        ("Data", pixels(4, 4), "a volume of shape"),
        ("Data", pixels(4, 4, 4), "different sizes"),
    ):
        write_ims(path, FULL)
        with h5py.File(path, "r+") as file:
            group = file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"]
            del group[name]
            group[name] = values
        with pytest.raises(ContractileError, match=what):
            find(path)
    write_ims(path, FULL)
    with h5py.File(path, "r+") as file:
        del file["DataSet/ResolutionLevel 0"]
        file.create_group("DataSet/ResolutionLevel 0")
    with pytest.raises(ContractileError, match="no TimePoint in it"):
        find(path)


def test_imaris_without_facts(tmp_path: Path) -> None:
    write_ims(tmp_path / "a.ims", FULL)
    with h5py.File(tmp_path / "a.ims", "r+") as file:
        for name in list(file["DataSetInfo"]):
            del file["DataSetInfo"][name]
    image = read(find(tmp_path / "a.ims", dims=3)[0], dims=3)
    assert image.pixel_size_um is None
    np.testing.assert_array_equal(image.pixels, FULL[0])
