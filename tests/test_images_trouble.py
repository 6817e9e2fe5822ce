"""Finding images, and one clear line where a place or a file is not what was asked for."""

from __future__ import annotations

import logging
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError, OutOfMemory
from contractile.images import Source, find, read, read_labels, read_probabilities


def numbered(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# finding --------------------------------------------------------------------------------------


def test_find_in_natural_order_and_by_glob(tmp_path: Path) -> None:
    for name in ("t10.tif", "t2.tif", "t1.ome.tif"):
        tifffile.imwrite(tmp_path / name, numbered(4, 4))
    (tmp_path / ".hidden.tif").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert [one.name for one in find(tmp_path)] == ["t1", "t2", "t10"]
    assert [one.name for one in find(str(tmp_path / "t1*"))] == ["t1", "t10"]
    assert find([tmp_path / "t10.tif", tmp_path / "t2.tif"])[0] == Source("t10", tmp_path / "t10.tif")


def test_find_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent: nothing there; check the spelling"):
        find(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"\*\.tif: no file matches; check the pattern"):
        find(tmp_path / "*.tif")
    with pytest.raises(FileNotFoundError, match=r"a\.tif: no such file; check the spelling"):
        read(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="the folder is empty; give the folder"):
        find(tmp_path)
    with pytest.raises(ValueError, match="where must name at least one"):
        find([])
    (tmp_path / "01_GT" / "SEG").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"only folders \(SEG\); give one of those"):
        find(tmp_path / "01_GT")
    with pytest.raises(ValueError, match=r"is a folder, not an image; use find\(\)"):
        read(tmp_path)


def test_a_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ContractileError, match=r"cannot be read \(.*Permission denied\); check the disk") as caught:
        find(tmp_path)
    assert caught.value.where == str(tmp_path)


def test_formats_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "a.vsi").write_text("")
    for where in (tmp_path, tmp_path / "a.vsi", tmp_path / "a.*"):
        with pytest.raises(
            ContractileError, match=r"\.vsi is a microscope maker's format; export it as OME-TIFF"
        ) as caught:
            find(where)
        assert caught.value.where == str(where)
    (tmp_path / "a").write_text("")
    with pytest.raises(ValueError, match=r"unknown format \(no suffix\); the formats read are \.tif"):
        read(tmp_path / "a")


# what is wrong with a file --------------------------------------------------------------------


@pytest.mark.parametrize("form", [{}, {"metadata": None}, {"imagej": True}, {"compression": "zlib"}])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.01, 0.3, 0.8, 0.9])
def test_truncated_tiff_is_one_line(tmp_path: Path, form: dict[str, Any], kept: float, caplog: Any) -> None:
    path = tmp_path / "a.tif"
    rough = np.random.default_rng(0).integers(0, 255, (5, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, rough, photometric="minisblack", **form)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    line = r"a\.tif: (unreadable or truncated|is cut off) \(.+\); copy [^\n]*$"
    with caplog.at_level(logging.DEBUG), pytest.raises(ContractileError, match=line) as caught:
        _ = [read(page) for page in find(path)]
    assert caught.value.where == str(path)
    assert caught.value.cure.startswith("copy the file again or re-export it")
    assert not caplog.records
    logging.getLogger("tifffile").warning("heard again")
    assert caplog.messages == ["heard again"]


def test_a_file_that_memory_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*_: Any, **__: Any) -> None:
        raise MemoryError

    tifffile.imwrite(tmp_path / "a.tif", numbered(4, 5))
    monkeypatch.setattr(tifffile, "TiffFile", allocate)
    with pytest.raises(OutOfMemory, match=r"a\.tif: memory ran out while it was read; close other programs"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "npy"])
def test_truncated_picture(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    np.save(path, pixels) if suffix == "npy" else Pillow.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: (unreadable or truncated|is cut off: 51% of its pixels)"):
        read(path)


def test_zarr_with_a_broken_chunk(tmp_path: Path) -> None:
    zarr.save_array(str(tmp_path / "a.zarr"), numbered(64, 64))
    (tmp_path / "a.zarr" / "c" / "0" / "0").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"a\.zarr: unreadable or truncated"):
        read(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr" / "c")
    (tmp_path / "a.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.zarr: unreadable or truncated"):
        find(tmp_path / "a.zarr")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    pixels = numbered(6, 5, dtype="float32")
    pixels[2, 3] = pixels[0, 0] = bad
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    for reader in (read, read_labels):
        with pytest.raises(ValueError, match=r"a\.tif: 2 of 30 pixels are NaN or infinite; replace them"):
            reader(tmp_path / "a.tif")


def test_zarr_whose_axes_do_not_fit(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=numbered(4, 5))
    group.attrs["ome"] = {"multiscales": [{"axes": [{"name": "x"}], "datasets": [{"path": "0"}]}]}
    with pytest.raises(ValueError, match=r"a\.zarr: its metadata must name 2 axes,.* got x; correct"):
        read(tmp_path / "a.zarr")


def test_pixels_that_are_complex(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), complex))
    with pytest.raises(ValueError, match="must be integers or floats, got complex128; convert"):
        read(tmp_path / "a.npy")


def test_a_page_has_to_be_chosen(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(5, 6, 7))
    with pytest.raises(ValueError, match=r"holds 5 pages, but one image was asked for; list them with find\(\)"):
        read(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="page must be below 5, got 5"):
        read(Source("a", tmp_path / "a.tif", 5))


# labels and probabilities ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_labels_of_any_type(tmp_path: Path, dtype: str) -> None:
    labels = numbered(4, 5) % 3
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(dtype))
    result = read_labels(tmp_path / "a.tif")
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, labels)


def test_negative_labels_survive(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-1, 0], [1, 2]], np.int16))
    assert read_labels(tmp_path / "a.tif").tolist() == [[-1, 0], [1, 2]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (numbered(8, 8, 3, dtype="uint8"), r"got 3 \(a colour picture\?\); where .*--fix DIR` gives it a num"),
        (
            np.full((2, 2), 0.5, np.float32),
            r"labels must be whole numbers, 100\.0% of the pixels are fractions; save integers; `contractile check ",
        ),
        (
            np.full((2, 2), 2**31, np.uint32),
            "labels must fit into 32 bits, got 2147483648; renumber the objects; `contractile check .*` does",
        ),
    ],
)
def test_labels_that_are_none(tmp_path: Path, labels: NDArray[Any], message: str) -> None:
    photometric = "rgb" if labels.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric=photometric)
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / "a.tif")


def test_probabilities_of_others(tmp_path: Path) -> None:
    for dtype, high in (("uint8", 255), ("uint16", 65535), ("float32", 1), ("float64", 1)):
        tifffile.imwrite(tmp_path / "a.tif", np.array([[0, high]], dtype))
        result = read_probabilities(tmp_path / "a.tif")
        assert (result.dtype, result.tolist()) == (np.float32, [[[0.0, 1.0]]])
    for wrong in (np.array([[0.0, 7.0]]), np.array([[0, 1]], np.int32)):
        np.save(tmp_path / "a.npy", wrong)
        with pytest.raises(ValueError, match=r"probabilities must be floats in \[0, 1\].*apply softmax or sigmoid"):
            read_probabilities(tmp_path / "a.npy")


def test_tiff_with_an_unknown_version(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II" + struct.pack("<HI", 99, 8))
    with pytest.raises(ValueError, match=r"a\.tif: is no TIFF: it begins with b'IIc.*export the image again as TIFF"):
        find(tmp_path / "a.tif")
