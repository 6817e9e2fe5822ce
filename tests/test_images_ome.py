"""OME-TIFF: an image in several files, and metadata that are wrong, old or hostile."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from contractile.errors import ContractileError
from contractile.images import find, read
from contractile.images.formats import open_rasters
from contractile.images.raster import Raster

IDS = [f"urn:uuid:00000000-0000-0000-0000-00000000000{n}" for n in range(4)]
HEAD = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def pixels_xml(names: Sequence[str | None], more: str = "", order: str = "C", first: int = 0) -> str:
    """<Pixels> with one plane in each file, along C, Z or T."""
    sizes = "".join(f'Size{axis}="{len(names) if axis == order else 1}" ' for axis in "CZT")
    planes = ""
    for n, name in enumerate(names):
        attribute = f' FileName="{name}"' if name is not None else ""
        uuid = f"<UUID{attribute}>{IDS[first + n]}</UUID>"
        planes += f'<TiffData First{order}="{n}" IFD="0" PlaneCount="1">{uuid}</TiffData>'
    order_of_axes = "XY" + order + "CZT".replace(order, "")
    return f'<Pixels DimensionOrder="{order_of_axes}" Type="uint16" SizeX="5" SizeY="4" {sizes}{more}>{planes}</Pixels>'


def ome_xml(*pixels: str, own: int | None = 0) -> str:
    uuid = "" if own is None else f' UUID="{IDS[own]}"'
    images = "".join(f'<Image ID="Image:{n}">{one}</Image>' for n, one in enumerate(pixels))
    return f"{HEAD}{uuid}>{images}</OME>"


def write(path: Path, value: int, xml: str, pages: int = 1) -> None:
    plane = np.full((pages, 4, 5) if pages > 1 else (4, 5), value, np.uint16)
    tifffile.imwrite(path, plane, description=xml, metadata=None, compression="zlib", photometric="minisblack")


def write_set(folder: Path, names: Sequence[str], *, written: Sequence[str] | None = None, order: str = "C") -> None:
    """A set of files with values 10, 11 ...; `written` are their names on disk."""
    for n, name in enumerate(written or names):
        write(folder / name, 10 + n, ome_xml(pixels_xml(names, order=order), own=n))


def rasters_of(path: Path) -> list[Raster]:
    with open_rasters(path, dims=2) as rasters:
        return rasters


def values(path: Path) -> list[int]:
    """The one value of each channel."""
    return [int(channel.max()) for channel in read(path).pixels]


# sets -----------------------------------------------------------------------------------------

NAMES = ("s_C0.ome.tif", "s_C1.ome.tif", "s_C2.ome.tif")


def test_a_set_is_one_image_from_whichever_file(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES)
    for name in NAMES:
        assert values(tmp_path / name) == [10, 11, 12]
    [raster] = rasters_of(tmp_path / NAMES[1])
    assert [file.name for file in raster.files] == list(NAMES)
    assert [source.path.name for source in find(tmp_path)] == [NAMES[0]]


def test_a_set_along_time_or_depth(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES, order="T")
    [raster] = rasters_of(tmp_path / NAMES[2])
    assert (raster.axes, raster.lengths) == ("TYX", (3, 4, 5))
    assert [values_of(source) for source in find(tmp_path / NAMES[2])] == [10, 11, 12]


def values_of(source: object) -> int:
    return int(read(source).pixels.max())  # type: ignore[arg-type]


def test_missing_files_are_named(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES)
    (tmp_path / NAMES[0]).unlink()
    line = r"s_C1\.ome\.tif: 1 of the 3 files that hold this image are missing: s_C0\.ome\.tif; put all files"
    with pytest.raises(ContractileError, match=line):
        read(tmp_path / NAMES[1])
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(ContractileError, match=r"2 of the 3 files .* missing: s_C0\.ome\.tif, s_C2\.ome\.tif"):
        find(tmp_path)


def test_a_set_that_was_renamed_is_found_by_its_identifiers(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES, written=("wt_0.tif", "wt_1.tif", "wt_2.tif"))
    for n in range(3):
        assert values(tmp_path / f"wt_{n}.tif") == [10, 11, 12]
    assert len(find(tmp_path)) == 1


def test_a_renamed_file_alone_names_what_is_missing(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES[:2], written=("a.tif", "exp.ome.tif"))
    (tmp_path / "a.tif").unlink()
    with pytest.raises(ContractileError, match=r"exp\.ome\.tif: 1 of the 2 files .* missing: s_C0\.ome\.tif"):
        read(tmp_path / "exp.ome.tif")


def test_a_set_without_compression(tmp_path: Path) -> None:
    for n, name in enumerate(NAMES):
        plane = np.full((4, 5), 10 + n, np.uint16)
        xml = ome_xml(pixels_xml(NAMES), own=n)
        tifffile.imwrite(tmp_path / name, plane, description=xml, metadata=None, photometric="minisblack")
    assert values(tmp_path / NAMES[1]) == [10, 11, 12]


@pytest.mark.parametrize(("kept", "line"), [(300, "unreadable or truncated"), (0, "an empty|unreadable")])
def test_a_file_of_a_set_that_is_broken_is_named(tmp_path: Path, kept: int, line: str) -> None:
    write_set(tmp_path, NAMES)
    broken = tmp_path / NAMES[2]
    broken.write_bytes(b"x" * kept)
    with pytest.raises(ContractileError, match=line) as caught:
        read(tmp_path / NAMES[0])
    assert caught.value.where == str(broken)


def test_a_file_of_a_set_that_is_cut_off_is_named(tmp_path: Path) -> None:
    names = NAMES[:2]
    write_set(tmp_path, names)
    plane = np.arange(20, dtype=np.uint16).reshape(4, 5)
    tifffile.imwrite(tmp_path / names[1], plane, description=ome_xml(pixels_xml(names), own=1), metadata=None)
    data = (tmp_path / names[1]).read_bytes()
    (tmp_path / names[1]).write_bytes(data[:-8])
    with pytest.raises(ContractileError, match=r"s_C1\.ome\.tif: is cut off \(it has \d+ of at least \d+ bytes\)"):
        read(tmp_path / names[0])


def test_files_of_another_set_do_not_count_by_their_names(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES[:2], written=("old_C0.tif", NAMES[1]))
    xml = ome_xml(pixels_xml(NAMES[:2], first=2), own=3)
    write(tmp_path / NAMES[1], 99, xml)  # a second experiment with the same names
    with pytest.raises(ContractileError, match=r"missing: s_C1\.ome\.tif"):
        read(tmp_path / "old_C0.tif")


@pytest.mark.parametrize("own", [None, 0, 3])
@pytest.mark.parametrize("said", ["old.ome.tif", "C:\\data\\new.ome.tif", "/data/new.ome.tif", None])
def test_a_single_file_may_be_renamed(tmp_path: Path, own: int | None, said: str | None) -> None:
    write(tmp_path / "new.ome.tif", 7, ome_xml(pixels_xml([said]), own=own))
    assert values(tmp_path / "new.ome.tif") == [7]


def test_a_companion_holds_the_metadata_of_a_set(tmp_path: Path) -> None:
    meta = ome_xml(pixels_xml(NAMES[:2], 'PhysicalSizeX="0.5" PhysicalSizeY="0.25"'), own=3)
    (tmp_path / "s.companion.ome").write_text(meta)
    for n, name in enumerate(NAMES[:2]):
        binary = f'<BinaryOnly MetadataFile="s.companion.ome" UUID="{IDS[3]}"/>'
        write(tmp_path / name, 10 + n, f'{HEAD} UUID="{IDS[n]}">{binary}</OME>')
    for name in NAMES[:2]:
        assert values(tmp_path / name) == [10, 11]
    assert read(tmp_path / NAMES[0]).pixel_size_um == (0.25, 0.5)
    assert len(find(tmp_path)) == 1
    (tmp_path / "s.companion.ome").rename(tmp_path / "t.companion.ome")
    assert values(tmp_path / NAMES[0]) == [10, 11]
    (tmp_path / "t.companion.ome").unlink()
    [raster] = rasters_of(tmp_path / NAMES[0])
    assert raster.lengths == (4, 5)
    assert raster.notes == ("its metadata file s.companion.ome is missing: its pages are read without their meaning",)


def test_a_broken_companion(tmp_path: Path) -> None:
    (tmp_path / "s.companion.ome").write_text("<OME")
    write(tmp_path / "a.ome.tif", 1, f'{HEAD}><BinaryOnly MetadataFile="s.companion.ome"/></OME>')
    with pytest.raises(ContractileError, match=r"s\.companion\.ome: its XML cannot be read .*copy it again"):
        read(tmp_path / "a.ome.tif")


# names that lead elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret.tif", "sub/secret.tif", "{}/secret.tif", "..", "a\\secret.tif"])
def test_files_elsewhere_are_not_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "in" / "sub"):
        write(folder / "secret.tif", 99, ome_xml(pixels_xml(["secret.tif"], first=1), own=1))
    write(tmp_path / "in" / "a.ome.tif", 1, ome_xml(pixels_xml(["a.ome.tif", name.format(tmp_path)])))
    opened: set[str] = set()
    real = open
    monkeypatch.setattr("builtins.open", lambda file, *more, **some: opened.add(str(file)) or real(file, *more, **some))
    line = r"name a file outside its folder .* which is not opened; export the set again"
    with pytest.raises(ContractileError, match=line):
        find(tmp_path / "in" / "a.ome.tif")
    assert opened == {str(tmp_path / "in" / "a.ome.tif")}


def test_devices_and_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "zero.tif").symlink_to("/dev/zero")
    for name in ("pipe.tif", "zero.tif"):
        write(tmp_path / "a.ome.tif", 1, ome_xml(pixels_xml(["a.ome.tif", name])))
        with pytest.raises(ContractileError, match=rf"name '{name}', which is no regular file and is not opened"):
            read(tmp_path / "a.ome.tif")
    write(tmp_path / "b.ome.tif", 1, f'{HEAD}><BinaryOnly MetadataFile="../x.companion.ome"/></OME>')
    with pytest.raises(ContractileError, match="outside its folder"):
        read(tmp_path / "b.ome.tif")


# several images -------------------------------------------------------------------------------


def test_each_image_has_its_own_size_and_interval(tmp_path: Path) -> None:
    shapes = [(2, 6, 5), (3, 4, 5)]
    sizes = [("0.5", "um", "1", "min"), ("250", "nm", "100", "ms")]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for shape, (size, unit, time, time_unit) in zip(shapes, sizes, strict=True):
            facts = {
                "PhysicalSizeX": size,
                "PhysicalSizeXUnit": unit,
                "PhysicalSizeY": size,
                "PhysicalSizeYUnit": unit,
                "TimeIncrement": time,
                "TimeIncrementUnit": time_unit,
            }
            writer.write(np.zeros(shape, np.uint16), metadata={"axes": "TYX", **facts})
    rasters = rasters_of(tmp_path / "a.ome.tif")
    assert [raster.scale for raster in rasters] == [{"X": 0.5, "Y": 0.5}, {"X": 0.25, "Y": 0.25}]
    assert [raster.interval_s for raster in rasters] == pytest.approx([60, 0.1])
    sources = find(tmp_path / "a.ome.tif")
    assert [read(source).pixel_size_um for source in sources] == [(0.5, 0.5)] * 2 + [(0.25, 0.25)] * 3


def test_the_interval_comes_from_the_times_of_the_planes_where_nothing_else_gives_it(tmp_path: Path) -> None:
    pixels = pixels_xml(NAMES, order="T")
    times = "".join(f'<Plane TheC="0" TheZ="0" TheT="{t}" DeltaT="{30 * t}" DeltaTUnit="min"/>' for t in range(3))
    for n, name in enumerate(NAMES):
        write(tmp_path / name, n, ome_xml(pixels.replace("</Pixels>", f"{times}</Pixels>"), own=n))
    assert rasters_of(tmp_path / NAMES[0])[0].interval_s == 1800


def test_a_file_has_the_images_that_it_holds_planes_of(tmp_path: Path) -> None:
    xml = [pixels_xml([name], f'PhysicalSizeX="{n + 1}"', first=n) for n, name in enumerate(NAMES)]
    for n, name in enumerate(NAMES):
        write(tmp_path / name, 10 + n, ome_xml(*xml, own=n))
    (tmp_path / NAMES[0]).unlink()
    assert [raster.scale for raster in rasters_of(tmp_path / NAMES[1])] == [{"X": 2.0}]
    sources = find(tmp_path)
    assert [(source.name, values_of(source)) for source in sources] == [("s_C1", 11), ("s_C2", 12)]


def test_positions_in_files_for_each_channel(tmp_path: Path) -> None:
    names = [[f"p{position}_c{channel}.ome.tif" for channel in (0, 1)] for position in (0, 1)]
    xml = [pixels_xml(pair, first=2 * position) for position, pair in enumerate(names)]
    for n, name in enumerate([*names[0], *names[1]]):
        write(tmp_path / name, 10 + n, ome_xml(*xml, own=n))
    assert [values(source.path) for source in find(tmp_path)] == [[10, 11], [12, 13]]
    (tmp_path / names[0][1]).unlink()
    assert values(tmp_path / names[1][0]) == [12, 13]
    with pytest.raises(ContractileError, match=r"1 of the 2 files .* missing: p0_c1\.ome\.tif"):
        read(tmp_path / names[0][0])


def test_metadata_of_other_files(tmp_path: Path) -> None:
    write_set(tmp_path, NAMES)
    xml = ome_xml(pixels_xml(NAMES), own=None)
    write(tmp_path / "copy.ome.tif", 99, xml)
    with pytest.raises(ContractileError, match=r"its metadata are those of other files: s_C0.*; give it back its name"):
        read(tmp_path / "copy.ome.tif")
    write(tmp_path / "result.ome.tif", 99, ome_xml(pixels_xml([NAMES[0]], first=3), own=None))  # of one file: its own
    assert values(tmp_path / "result.ome.tif") == [99]


# planes that are not there --------------------------------------------------------------------


def test_fewer_pages_than_planes(tmp_path: Path) -> None:
    many = pixels_xml(["a.ome.tif"]).replace('SizeT="1"', 'SizeT="5"').replace('PlaneCount="1"', 'PlaneCount="3"')
    write(tmp_path / "a.ome.tif", 1, ome_xml(many), pages=3)
    with pytest.raises(
        ContractileError, match=r"a\.ome\.tif: 2 of its 5 planes are missing .40% of it.; export it again"
    ):
        find(tmp_path)
    write(tmp_path / "a.ome.tif", 1, ome_xml(many.replace('PlaneCount="3"', 'PlaneCount="5"')), pages=3)
    with pytest.raises(ContractileError, match=r"2 of its 5 planes are missing"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("listed", "line"),
    [(1, "99999999 of its 100000000 planes are missing"), (10**8, "has 100000000 pages; at most 1048576 are read")],
)
def test_planes_that_nobody_can_have(tmp_path: Path, listed: int, line: str) -> None:
    many = pixels_xml(["a.ome.tif"]).replace('SizeT="1"', 'SizeT="100000000"')
    write(tmp_path / "a.ome.tif", 1, ome_xml(many.replace('PlaneCount="1"', f'PlaneCount="{listed}"')))
    with pytest.raises(ContractileError, match=rf"a\.ome\.tif: .*{line}"):
        find(tmp_path)


def test_more_pages_than_planes_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    xml = ome_xml(pixels_xml(["a.ome.tif"]).replace('PlaneCount="1"', 'PlaneCount="3"'))
    write(tmp_path / "a.ome.tif", 1, xml, pages=3)
    with caplog.at_level(logging.WARNING):
        assert values(tmp_path / "a.ome.tif") == [1]
    assert "a.ome.tif: OME series expected 1 frames, got 3" in caplog.text


def test_metadata_that_do_not_fit_the_pages(tmp_path: Path) -> None:
    fits = pixels_xml(["a.ome.tif"])
    write(tmp_path / "a.ome.tif", 1, ome_xml(fits, fits.replace('SizeX="5"', 'SizeX="7"')))
    with pytest.raises(ContractileError, match="metadata describe 2 images, but its pages make up 1; export it again"):
        find(tmp_path)


def test_broken_metadata_are_said_and_the_pages_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.ome.tif", 1, "<OME><Image></OME>", pages=3)
    with caplog.at_level(logging.WARNING):
        assert len(find(tmp_path)) == 3
    assert "a.ome.tif: OME series raised ParseError" in caplog.text
    assert rasters_of(tmp_path / "a.ome.tif")[0].guessed
