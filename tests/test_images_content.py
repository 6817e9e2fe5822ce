"""The content of a file decides what it is, and names what it is where nobody here reads it."""

from __future__ import annotations

import gzip
import logging
import struct
import zipfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError
from contractile.images import find, read, read_labels

GREY: NDArray[np.uint8] = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
FLAT = np.full((16, 16), 77, np.uint8)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """The warnings, as lines."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def as_tiff(path: Path, **form: Any) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), GREY, **form)
    path.with_suffix(".tif").rename(path)


# read in spite of the name --------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".bmp", ".TIFF", ".npy"])
def test_png_by_another_name(tmp_path: Path, suffix: str, said: Any) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(imagecodecs.png_encode(GREY))
    np.testing.assert_array_equal(read(path).pixels[0], GREY)
    assert said() == [f"a{suffix}: named {suffix}, but the content is PNG; it is read as PNG"]


@pytest.mark.parametrize("form", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"bigtiff": True, "byteorder": ">"}])
@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".npy"])
def test_tiff_by_another_name(tmp_path: Path, suffix: str, form: dict[str, Any]) -> None:
    as_tiff(tmp_path / f"a{suffix}", **form)
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}").pixels[0], GREY)


def test_a_stack_by_the_name_of_a_picture_has_pages(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY] * 20))
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    assert len(find(tmp_path)) == 20


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_jpeg_by_another_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(imagecodecs.jpeg8_encode(FLAT))
    np.testing.assert_allclose(read(path).pixels[0], FLAT, atol=1)


def test_gif_and_webp(tmp_path: Path, said: Any) -> None:
    for name, form in (("a.gif", {}), ("b.webp", {"lossless": True})):
        Pillow.fromarray(GREY).save(tmp_path / name, **form)
    for source in find(tmp_path):
        np.testing.assert_array_equal(read(source).pixels[0], GREY)
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    assert read(tmp_path / "a.png").shape == (3, 12, 16)
    assert said() == ["a.png: named .png, but the content is GIF; it is read as GIF"]


def test_npy_and_bmp_by_another_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    (tmp_path / "a.npy").rename(tmp_path / "a.tif")
    Pillow.fromarray(GREY).save(tmp_path / "b.bmp")
    (tmp_path / "b.bmp").rename(tmp_path / "b.png")
    for name in ("a.tif", "b.png"):
        np.testing.assert_array_equal(read(tmp_path / name).pixels[0], GREY)


def test_a_suffix_that_nobody_knows_is_no_obstacle(tmp_path: Path, said: Any) -> None:
    for name in ("a.lsm", "b.dat", "c"):
        as_tiff(tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name).pixels[0], GREY)
    assert not said()


def test_names_are_said_once_for_all_files_alike(tmp_path: Path, said: Any) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(imagecodecs.png_encode(GREY))
    for source in find(tmp_path):
        read(source)
    assert said() == ["a.jpg and 2 more: named .jpg, but the content is PNG; it is read as PNG"]


# named, with a cure ---------------------------------------------------------------------------

BOX = struct.pack(">I", 24)
OTHERS = [
    (b"RIFF\x10\0\0\0AVI LIST", "an AVI film", "export its frames"),
    (BOX + b"ftypheic" + bytes(20), "a HEIC or AVIF picture", "convert it to PNG"),
    (BOX + b"ftypisom" + bytes(20), "a film", "export its frames"),
    (b"II*\0\x10\0\0\0CR\2\0" + bytes(20), "a camera's raw file", "16-bit TIFF"),
    (BOX + b"ftypcrx " + bytes(20), "a camera's raw file", "16-bit TIFF"),
    (b"FUJIFILMCCD-RAW 0201", "a camera's raw file", "16-bit TIFF"),
    (b"IIRO\x08\0\0\0" + bytes(20), "a camera's raw file", "16-bit TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", "convert it to PNG"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file", "as TIFF or OME-Zarr"),
    (bytes(128) + b"DICM", "a DICOM file", "as TIFF or OME-Zarr"),
    (bytes(344) + b"n+1\0", "a NIfTI file", "as TIFF or OME-Zarr"),
    (gzip.compress(b"image"), "a gzip archive", "unpack it"),
    (b"\x1f\x8b damaged" + bytes(600), "a gzip archive", "unpack it"),
    (gzip.compress(bytes(344) + b"n+1\0" + bytes(9000)), "a gzip archive of a NIfTI file", "as TIFF or OME-Zarr"),
    (gzip.compress(bytes(128) + b"DICM"), "a gzip archive of a DICOM file", "as TIFF or OME-Zarr"),
    (b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7z archive", "unpack it"),
    (b"%PDF-1.7\n", "a PDF document", "export the image itself"),
    (b"Iout\0\xe3\7\0", "an ROI of ImageJ", "give the image; this is a label"),
    (b"\x80\x04\x95 ", "a pickle of Python", "as TIFF or .npy"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS", "git lfs pull"),
    (b"/annex/objects/SHA256E-s12--0.tif\n", "a pointer of git-annex", "git annex get"),
    (b"<!DOCTYPE html>\n<html>Sign in</html>", "a web page, not an image", "download the file again"),
    (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "an answer of a web server", "download"),
    (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "an SVG drawing", "convert it to PNG"),
    (b"\0\5\x16\7" + bytes(20), "a side file of macOS", r"lacks the \._ in front"),
    (
        b"x,y,area\n12,13,400.5\n",
        r"text, not an image \(it begins with 'x,y,area 12,13,400.5'",
        "give the image itself",
    ),
    (
        "Fläche in µm²;".encode() * 60,
        r"text, not an image \(it begins with 'Fläche in µm²;Fläche in",
        "give the image itself",
    ),
    (bytes(4096), r"nothing but zeros \(a copy that broke off\?\)", "copy the file again"),
    (b"", r"unreadable or truncated \(an empty file, 0 bytes\)", "copy the file again"),
]


@pytest.mark.parametrize(("content", "what", "cure"), OTHERS, ids=[what[:16] for _, what, _ in OTHERS])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_what_nobody_here_reads_is_named(tmp_path: Path, content: bytes, what: str, cure: str, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    for use in (find, read, read_labels):
        with pytest.raises(ContractileError, match=rf"a\{suffix}: (is )?{what}.*; .*{cure}"):
            use(tmp_path / f"a{suffix}")


CAMERAS = "is a raw format of cameras; develop it, with the same settings for all, to 16-bit TIFF"
MAKERS = r"is a microscope maker's format; export it as OME-TIFF \(Fiji: Bio-Formats Exporter\)"


@pytest.mark.parametrize(
    ("suffix", "what"),
    [
        *((suffix, CAMERAS) for suffix in (".nef", ".ARW", ".dng", ".cr2", ".pef", ".CR3")),
        *((suffix, MAKERS) for suffix in (".vsi", ".VSI")),
    ],
)
def test_files_whose_pixels_lie_elsewhere_are_not_read_as_their_small_pictures(
    tmp_path: Path, suffix: str, what: str
) -> None:
    as_tiff(tmp_path / f"a{suffix}")
    what = rf"(?i:\{suffix}) {what}"
    with pytest.raises(ContractileError, match=rf"a\{suffix}: {what}"):
        read(tmp_path / f"a{suffix}")
    with pytest.raises(ContractileError, match=rf"no image in it, only 1 file\(s\): {what}"):
        find(tmp_path)


@pytest.mark.parametrize("suffix", [".raw", ".bin", ".DAT"])
def test_pixels_without_a_header(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(bytes(range(1, 255)) * 5)
    what = rf"(?i:\{suffix}) does not say what size and type its pixels have; import it in Fiji \(File > Import > Raw\)"
    with pytest.raises(ContractileError, match=what):
        read(tmp_path / f"a{suffix}")
    as_tiff(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"b{suffix}").pixels[0], GREY)


@pytest.mark.parametrize(
    ("inside", "what", "cure"),
    [
        ("arr_0.npy", r"an \.npz archive of arrays", r"save each array in it as \.npy or TIFF"),
        ("0001-0002.roi", "a zip of ImageJ's ROIs", "give the image; these are labels"),
        (".zgroup", "a packed Zarr", "unpack it into a folder"),
        ("a.zarr/zarr.json", "a packed Zarr", "unpack it into a folder"),
        ("images/a.tif", "a zip archive", "unpack it"),
    ],
)
def test_archives(tmp_path: Path, inside: str, what: str, cure: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(inside, b"content")
    with pytest.raises(ContractileError, match=rf"a\.npz: is {what}; {cure}"):
        find(tmp_path / "a.npz")
    with pytest.raises(ContractileError, match=rf"no image in it, only 1 file\(s\): is {what}; {cure}"):
        find(tmp_path)


def test_a_folder_of_packed_nifti(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(344) + b"n+1\0"))
    what = r"only 1 file\(s\): is a gzip archive of a NIfTI file; save the image in it as TIFF or OME-Zarr$"
    with pytest.raises(ContractileError, match=what):
        find(tmp_path)


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "annex" / "b.tif")
    with pytest.raises(
        FileNotFoundError, match=r"a\.tif: is a link to .*b\.tif, which is not there; copy the file itself"
    ):
        find(tmp_path)


def test_a_name_that_no_disk_takes(tmp_path: Path) -> None:
    for use in (find, read):
        with pytest.raises(ContractileError, match=r"a\.tif: (nothing there|cannot be read \(.*too long)"):
            use(tmp_path / f"{'a' * 300}.tif")
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    with pytest.raises(FileNotFoundError, match=r"a\.tif/b\.tif: no such file; check the spelling"):
        read(tmp_path / "a.tif" / "b.tif")


# what lies beside images ----------------------------------------------------------------------


def test_files_of_cellpose_are_skipped_and_never_opened(tmp_path: Path, said: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    for name in ("a_seg.npy", "b_seg.npy"):
        np.save(tmp_path / name, {"masks": GREY}, allow_pickle=True)  # type: ignore[arg-type]
    np.save(tmp_path / "flows.npy", np.array([GREY, None], dtype=object), allow_pickle=True)
    for where in (tmp_path, tmp_path / "*.*", sorted(tmp_path.iterdir())):
        assert [one.name for one in find(where)] == ["a"]
    assert said() == [
        "a_seg.npy and 1 more: skipped: Cellpose's own file (a pickle), not an image",
        "flows.npy: skipped: a pickle of Python objects, not an image",
    ]
    with pytest.raises(
        ContractileError, match=r"a_seg\.npy: is Cellpose's own file \(a pickle\), not an image; it is not"
    ):
        find(tmp_path / "a_seg.npy")
    with pytest.raises(
        ContractileError, match=r"flows\.npy: is a pickle of Python objects, not an image; it is not opened"
    ):
        read(tmp_path / "flows.npy")


def test_an_array_that_is_called_like_a_file_of_cellpose_is_an_image(tmp_path: Path) -> None:
    np.save(tmp_path / "a_seg.npy", GREY)
    np.testing.assert_array_equal(read_labels(find(tmp_path)[0]), GREY)


def test_litter_of_operating_systems_is_skipped(tmp_path: Path, said: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    for name in ("._a.tif", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert [one.name for one in find(tmp_path)] == ["a"]
    assert [one.name for one in find([one for one in tmp_path.iterdir() if "hidden" not in one.name])] == ["a"]
    assert not said()


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    as_tiff(tmp_path / "a.TIF")
    (tmp_path / "b.PNG").write_bytes(imagecodecs.png_encode(GREY))
    assert [one.name for one in find(tmp_path)] == ["a", "b"]


# grey stored as colour ------------------------------------------------------------------------


def test_labels_in_three_equal_channels_are_one(tmp_path: Path, said: Any) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.stack([GREY] * 3, -1)))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), GREY)
    assert said() == ["a.png: three equal channels are read as one"]
