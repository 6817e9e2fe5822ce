"""OIB and OIF of Olympus: planes by their names, settings, and what is wrong with damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers_files import as_tiff, compound, olympus_files, pixels, write_oib, write_oif

from contractile.errors import ContractileError
from contractile.images import find, limited, open_image, read

VALUES = pixels(2, 3, 2, 40, 50)  # T, Z, C, Y, X
WRITERS = {".oib": write_oib, ".oif": write_oif}


@pytest.fixture(params=WRITERS)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = tmp_path / f"a{request.param}"
    WRITERS[request.param](path, VALUES, "TZC")
    return path


def test_pages_are_planes_of_all_times(stack: Path) -> None:
    found = find(stack)
    assert found[0].stack is not None
    assert (found[0].stack.axes, found[0].stack.lengths, found[0].stack.interval_s) == ("TZ", (2, 3), 2.0)
    assert found[0].stack.spacing_um == 0.5
    for number, source in enumerate(found):
        np.testing.assert_array_equal(read(source).pixels, VALUES[number // 3, number % 3])


def test_volumes_with_sizes_and_channels(stack: Path) -> None:
    with open_image(find(stack, dims=3)[1], dims=3) as image:
        assert image.dtype == np.uint16
        assert image.pixel_size_um == pytest.approx((0.5, 0.3, 0.2))
        assert [one.name for one in image.channels] == ["dye 0", "dye 1"]
        assert image.unit == (1, 40, 50)
        np.testing.assert_array_equal(image[1, 1:3, 2:5, ::2], VALUES[1, 1:3, 1, 2:5, ::2])
        np.testing.assert_array_equal(image.pixels, VALUES[1].swapaxes(0, 1))


def test_a_folder_lists_the_file_and_not_its_planes(stack: Path) -> None:
    assert {source.path for source in find(stack.parent)} == {stack}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(("letters", "count"), [("L", 4), ("C", 4), ("C", 1)])
def test_wavelengths_are_channels(tmp_path: Path, suffix: str, letters: str, count: int) -> None:
    values = pixels(count, 40, 50, dtype="u1")
    WRITERS[suffix](tmp_path / f"a{suffix}", values, letters)
    np.testing.assert_array_equal(read(tmp_path / f"a{suffix}").pixels, values)


def test_settings_in_utf8(tmp_path: Path) -> None:
    write_oif(tmp_path / "a.oif", VALUES, "TZC", wide=False)
    assert read(find(tmp_path / "a.oif")[0]).pixel_size_um == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize("suffix", WRITERS)
def test_planes_that_were_never_taken(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, VALUES, "TZC", skip=[3])
    with pytest.raises(ContractileError, match=r"1 of its 12 planes are missing .*; copy .*--allow-missing"):
        find(path)
    with limited(missing=True):
        image = read(find(path)[1])
    np.testing.assert_array_equal(image.pixels, [VALUES[0, 1, 0], 0 * VALUES[0, 1, 1]])
    assert "1 of its 12 planes are missing (an acquisition that was stopped?); 0 is read in their place" in caplog.text


def test_an_oif_without_its_folder(tmp_path: Path) -> None:
    write_oif(tmp_path / "a.oif", VALUES, "TZC")
    (tmp_path / "a.oif.files").rename(tmp_path / "other")
    with pytest.raises(
        ContractileError, match=r"they belong into the folder a\.oif\.files beside it; copy that folder"
    ):
        find(tmp_path / "a.oif")


def test_planes_that_differ(tmp_path: Path) -> None:
    write_oif(tmp_path / "a.oif", VALUES, "TZC")
    folder = tmp_path / "a.oif.files"
    (folder / "s_C002Z001T001.tif").write_bytes(as_tiff(pixels(3, 4)))
    with pytest.raises(ContractileError, match=r"a plane of shape \(3, 4\) and uint16 among others of \(40, 50\)"):
        read(find(tmp_path / "a.oif")[0])
    (folder / "s_C001Z001T001.tif").write_bytes(as_tiff(pixels(40, 50, 3, dtype="u1")))
    with pytest.raises(ContractileError, match=r"a plane of shape \(40, 50, 3\), which is not grey"):
        find(tmp_path / "a.oif")


@pytest.mark.parametrize(
    ("names", "what"),
    [(["thumbnail.bmp"], "no plane in it"), (["s_C001C002.tif"], "say nothing"), (["s_C000.tif"], "say nothing")],
)
def test_names_that_say_nothing(tmp_path: Path, names: list[str], what: str) -> None:
    text, _ = olympus_files(VALUES, "TZC")
    (tmp_path / "a.oif").write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    (tmp_path / "a.oif.files").mkdir()
    for name in names:
        (tmp_path / "a.oif.files" / name).write_bytes(as_tiff(pixels(4, 5)))
    with pytest.raises(ContractileError, match=what):
        find(tmp_path / "a.oif")


def test_another_compound_document(tmp_path: Path) -> None:
    (tmp_path / "a.oib").write_bytes(compound({"WordDocument": b"Hello" * 1000}, {}))
    with pytest.raises(ContractileError, match=r"is a compound document, but no OIB .*; export the image as OME-TIFF"):
        find(tmp_path / "a.oib")
    info = b"[OibSaveInfo]\r\nMainFileName=Stream00009\r\n"
    (tmp_path / "a.oib").write_bytes(compound({"OibInfo.txt": info}, {}))
    with pytest.raises(ContractileError, match="its settings are not in it"):
        find(tmp_path / "a.oib")
    (tmp_path / "a.oib").write_bytes(compound({"OibInfo.txt": b"nothing"}, {}))
    with pytest.raises(ContractileError, match="its settings are none"):
        find(tmp_path / "a.oib")


def read_all(path: Path) -> None:
    for source in find(path):
        read(source)


def test_documents_that_are_cut_off(tmp_path: Path) -> None:
    write_oib(tmp_path / "a.oib", VALUES, "TZC")
    data = (tmp_path / "a.oib").read_bytes()
    for length in [9, 100, 513, *range(1000, len(data) - 512, 4999)]:
        (tmp_path / "a.oib").write_bytes(data[:length])
        with pytest.raises(ContractileError, match=r"a\.oib: unreadable or truncated \(.*\); copy the file again"):
            read_all(tmp_path / "a.oib")


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (30, 7, "no compound document"),
        (44, 2**31, "a table that is larger than the file"),
        (44, 110, "its table is cut off"),
        (48, 0xFFFFFFFE, "a compound document without entries"),
        (48, 2**30, "a chain of sectors that leads nowhere"),
        (76, 2**30, "the file ends too early"),
    ],
)
def test_documents_that_lie(tmp_path: Path, place: int, value: int, what: str) -> None:
    write_oib(tmp_path / "a.oib", np.tile(VALUES, (1, 1, 1, 2, 2)), "TZC")
    data = bytearray((tmp_path / "a.oib").read_bytes())
    data[place : place + 4] = value.to_bytes(4, "little")
    (tmp_path / "a.oib").write_bytes(data)
    with pytest.raises(ContractileError, match=what):
        find(tmp_path / "a.oib")


def test_chains_without_end_and_entries_that_are_not_there(tmp_path: Path) -> None:
    content = compound({"OibInfo.txt": b"[OibSaveInfo]\r\n" + b";" * 9000}, {})
    table = content.rindex((1).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    (tmp_path / "a.oib").write_bytes(content[:table] + bytes(4) + content[table + 4 :])  # the first follows itself
    with pytest.raises(ContractileError, match="a chain of sectors that leads nowhere"):
        find(tmp_path / "a.oib")
    name = content.index("OibInfo.txt".encode("utf-16-le"))
    damaged = content[: name + 72] + (99).to_bytes(4, "little") + content[name + 76 :]
    (tmp_path / "a.oib").write_bytes(damaged)
    with pytest.raises(ContractileError, match="an entry that is not there"):
        find(tmp_path / "a.oib")
    damaged = content[: name + 120] + (2**31).to_bytes(8, "little") + content[name + 128 :]
    (tmp_path / "a.oib").write_bytes(damaged)
    with pytest.raises(ContractileError, match="the file ends within one of its parts"):
        find(tmp_path / "a.oib")


@pytest.mark.parametrize("suffix", WRITERS)
def test_other_content_under_the_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for content in (b"Hello, this is text.", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"a" * 900, bytes(range(1, 99))):
        path.write_bytes(content)
        with pytest.raises(ContractileError, match=rf"a\{suffix}: (is text|unreadable or truncated|its planes)"):
            find(path)


def test_another_reader_sees_the_same(stack: Path) -> None:
    oiffile: Any = pytest.importorskip("oiffile")
    with oiffile.OifFile(stack) as file:
        assert file.axes == "TZCYX"
        other = np.stack([file.asarray(name) for name in sorted(file.glob("*.tif")) if "-R" not in name])  # C, Z, T
    other = other.reshape(2, 3, 2, 40, 50).transpose(2, 1, 0, 3, 4)
    np.testing.assert_array_equal(other, VALUES)
