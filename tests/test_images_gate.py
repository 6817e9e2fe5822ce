"""The gate in front of all readers: plain files alone are opened, and sizes are looked at before pixels are decoded."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import psutil
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError
from contractile.images import find, open_image, read, read_labels
from contractile.images.gate import (
    Limits,
    check_chunks,
    check_metadata,
    check_pages,
    check_piece,
    check_regular,
    check_size,
    check_xml,
    limited,
    limits,
    read_metadata,
)
from contractile.images.series import describe_planes, split_series

SMALL = 1000  # pixels


def numbered(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


@pytest.fixture
def narrow() -> Iterator[None]:
    with limited(pixels=SMALL):
        yield


# limits ---------------------------------------------------------------------------------------


def test_limits_hold_within_a_block_and_in_all_threads() -> None:
    seen: list[Limits] = []
    assert limits() == Limits(2**28, 2**20, 2**22, 2**26, False)
    with limited(pixels=5), limited(missing=True) as inner:
        thread = threading.Thread(target=lambda: seen.append(limits()))
        thread.start()
        thread.join()
        assert (inner.pixels, inner.missing) == (5, True)
    assert seen == [inner]
    assert limits() == Limits()
    with pytest.raises(RuntimeError), limited(pixels=5):
        raise RuntimeError
    assert limits() == Limits()


def test_a_limit_below_one() -> None:
    with pytest.raises(ContractileError, match="pixels must be at least 1, got 0; leave it out"), limited(pixels=0):
        pass
    assert limits() == Limits()


def test_what_is_said_of_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(ContractileError) as caught:
        check_piece("a tile of it", (2**15, 2**14), path)
    assert str(caught.value) == (
        f"{path}: a tile of it has 32768 x 16384 pixels; at most 268435456 pixels are decoded at once; "
        "if the file is what it should be, allow them with --max-pixels 536870912"
    )
    check_piece("a tile of it", (2**14, 2**14), path, pixel_bytes=8)
    with pytest.raises(ContractileError, match=r"has 16384 x 16384 pixels of 9 bytes; .* --max-pixels 536870912"):
        check_piece("a tile of it", (2**14, 2**14), path, pixel_bytes=9)
    with pytest.raises(
        ContractileError, match=r"has 1048577 pages; at most 1048576 are read from a file; .* save it as"
    ):
        check_pages(2**20 + 1, path)
    with pytest.raises(ContractileError, match=r"is stored in 4194305 strips; at most 4194304 .* with larger strips"):
        check_chunks("strips", 2**22 + 1, path)
    with pytest.raises(ContractileError, match="has 67108865 bytes of metadata; at most 67108864 are read; export"):
        check_metadata(2**26 + 1, path)


def test_a_file_that_is_too_large_for_a_picture(tmp_path: Path, narrow: None) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**26 + 8 * SMALL + 1)
    with pytest.raises(ContractileError, match="has 67116865 bytes, more than the 67116864 of the largest picture"):
        check_size(tmp_path / "a.png")


# plain files ----------------------------------------------------------------------------------

SUFFIXES = ("tif", "npy", "png", "jpg", "bmp", "unknown")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_never_opened(tmp_path: Path, suffix: str, linked: bool) -> None:
    path = tmp_path / f"a.{suffix}"
    os.mkfifo(tmp_path / "pipe" if linked else path)
    if linked:
        path.symlink_to(tmp_path / "pipe")
    link = r" \(by a link\)" if linked else ""
    for reader in (find, read, open_image, read_labels):
        with pytest.raises(ContractileError, match=rf"is a named pipe \(FIFO\){link}, not a file, and is not opened"):
            reader(path)


def test_devices_and_sockets_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zero.tif").symlink_to("/dev/zero")
    with pytest.raises(ContractileError, match=r"zero\.tif: is a device \(by a link\), not a file"):
        read(tmp_path / "zero.tif")
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("a.tif")
        with pytest.raises(ContractileError, match=r"a\.tif: is a socket, not a file"):
            read("a.tif")
    check_regular(tmp_path)
    check_regular(tmp_path / "absent")


def test_what_a_system_makes_up_is_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to("/proc/self/status")
    if (tmp_path / "a.tif").exists():
        with pytest.raises(ContractileError, match="an empty file, 0 bytes"):
            read(tmp_path / "a.tif")


def test_a_pipe_among_images_is_one_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(4, 5))
    os.mkfifo(tmp_path / "b.npy")
    with pytest.raises(ContractileError, match=r"b\.npy: is a named pipe"):
        find(tmp_path)


@pytest.mark.parametrize("name", ["c/0/0", "zarr.json"])
def test_pipes_within_a_zarr(tmp_path: Path, name: str) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=numbered(8, 8), chunks=(4, 4))
    (tmp_path / "a.zarr" / name).unlink()
    os.mkfifo(tmp_path / "a.zarr" / name)
    with pytest.raises(ContractileError, match=r"a named pipe \(FIFO\), not a file"):
        read(tmp_path / "a.zarr")


def test_pipes_beside_a_stack_of_micromanager(tmp_path: Path) -> None:
    from contractile.images.file_sets import check_sets

    class Stack:
        is_ndtiff, is_micromanager, is_mmstack = False, True, True
        micromanager_metadata: dict[str, Any] = {"IndexMap": np.array([[0, 1, 2, 0, 8]])}  # noqa: RUF012

    stack: Any = Stack()
    path = tmp_path / "a_MMStack_Pos0.ome.tif"
    check_sets(stack, path)
    stack.micromanager_metadata = {"IndexMap": np.array([[0, 0, 0, 2**30, 8]])}
    with pytest.raises(ContractileError, match="has 1073741825 pages; at most 1048576"):
        check_sets(stack, path)
    os.mkfifo(tmp_path / "a_MMStack_Pos1.ome.tif")
    with pytest.raises(ContractileError, match=r"a_MMStack_Pos1\.ome\.tif: is a named pipe"):
        check_sets(stack, path)


def test_the_index_of_an_ndtiff(tmp_path: Path) -> None:
    from contractile.images.file_sets import check_sets

    class Set:
        is_ndtiff, is_micromanager, is_mmstack = True, False, False

    tiff: Any = Set()

    def entry(axes: dict[str, int], name: str) -> bytes:
        parts = [json.dumps(axes).encode(), name.encode()]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts) + struct.pack("<8I", *range(8))

    check_sets(tiff, tmp_path / "a.tif")
    index = tmp_path / "NDTiff.index"
    index.write_bytes(entry({"time": 3}, "a.tif") + entry({"time": 2, "z": 5}, "a.tif"))
    check_sets(tiff, tmp_path / "a.tif")
    index.write_bytes(entry({"time": 2**30}, "a.tif"))
    with pytest.raises(ContractileError, match="has 1073741825 pages"):
        check_sets(tiff, tmp_path / "a.tif")
    index.write_bytes(entry({"time": 3}, "../secret.tif"))
    with pytest.raises(ContractileError, match="name a file outside its folder"):
        check_sets(tiff, tmp_path / "a.tif")
    index.unlink()
    os.mkfifo(index)
    with pytest.raises(ContractileError, match=r"NDTiff\.index: is a named pipe"):
        check_sets(tiff, tmp_path / "a.tif")


# pixels that are decoded at once --------------------------------------------------------------


def write(path: Path, pixels: NDArray[Any]) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, compression="zlib", tile=(48, 48) if "tile" in path.name else None)
    elif path.suffix == ".zarr":
        zarr.create_array(path, data=pixels, chunks=(40, 40))
    else:
        Pillow.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.png", "the picture has 40 x 50 pixels"),
        ("a.jpg", "the picture has 40 x 50 pixels"),
        ("a.bmp", "the picture has 40 x 50 pixels"),
        ("a.gif", "the picture has 40 x 50 pixels"),
        ("a.webp", "the picture has 40 x 50 pixels"),
        ("strip.tif", "a strip of it has 40 x 50 pixels"),
        ("tile.tif", "a tile of it has 48 x 48 pixels"),
        ("a.zarr", "a chunk of it has 40 x 40 pixels"),
    ],
)
def test_pieces_beyond_the_limit(tmp_path: Path, name: str, what: str) -> None:
    write(tmp_path / name, numbered(40, 50))
    shape = read(tmp_path / name).shape
    with limited(pixels=SMALL), pytest.raises(ContractileError, match=f"{what}; at most 1000 pixels are decoded"):
        read(tmp_path / name)
    with limited(pixels=48 * 48):
        assert read(tmp_path / name).shape == shape


def test_images_read_region_by_region_may_be_larger(tmp_path: Path, narrow: None) -> None:
    pixels = numbered(80, 90)
    tifffile.imwrite(tmp_path / "plain.tif", pixels)
    tifffile.imwrite(tmp_path / "tiles.tif", pixels, compression="zlib", tile=(16, 16))
    np.save(tmp_path / "a.npy", pixels)
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(16, 16))
    zarr.create_array(tmp_path / "shards.zarr", data=pixels, chunks=(16, 16), shards=(64, 64))
    for source in find(tmp_path):
        np.testing.assert_array_equal(read(source).pixels[0], pixels)


def test_heavy_pixels_count_as_several(tmp_path: Path, narrow: None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(20, 40, 3, dtype="float64"), compression="zlib", photometric="rgb")
    with pytest.raises(ContractileError, match=r"a strip of it has 20 x 40 pixels of 24 bytes; .* --max-pixels 2400"):
        read(tmp_path / "a.tif")


def png(width: int, height: int, data: bytes, depth: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    blocks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    checked = [(struct.pack(">I", len(body)), name + body) for name, body in blocks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(size + body + struct.pack(">I", zlib.crc32(body)) for size, body in checked)


def test_a_picture_of_few_bytes_and_many_pixels(tmp_path: Path) -> None:
    rows = 40000
    (tmp_path / "a.png").write_bytes(png(rows, rows, bytes(rows * (rows // 8 + 1) // 1000), depth=1))
    with pytest.raises(ContractileError, match="the picture has 40000 x 40000 pixels; at most 268435456 pixels"):
        find(tmp_path) and read(tmp_path / "a.png")


def test_a_png_of_a_million_blocks(tmp_path: Path) -> None:
    block = struct.pack(">I4sI", 0, b"teXt", zlib.crc32(b"teXt"))
    whole = png(4, 4, zlib.compress(bytes(20)))
    (tmp_path / "a.png").write_bytes(whole[:33] + block * (2**18 + 1) + whole[33:])
    with pytest.raises(ContractileError, match="it has more than 262144 blocks"):
        read(tmp_path / "a.png")


def test_a_jpeg_of_hundreds_of_scans(tmp_path: Path) -> None:
    Pillow.fromarray(numbered(64, 64)).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(data[:-2] + scan * 300 + b"\xff\xd9")
    with pytest.raises(ContractileError, match="it has more than 256 scans"):
        read(tmp_path / "a.jpg")


# pages and chunks -----------------------------------------------------------------------------


def test_pages_are_counted_before_they_are_listed(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(2**21, 64, 64), chunks=(64, 64, 64), dtype="uint8")
    with pytest.raises(ContractileError, match="has 2097152 pages; at most 1048576 are read from a file"):
        find(tmp_path / "a.zarr", labels=True)


def test_planes_of_volumes_are_counted_before_they_are_listed(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(2**21, 64, 64), chunks=(2**11, 64, 64), dtype="uint8")
    [series] = split_series(find(tmp_path / "a.zarr", dims=3), dims=3)
    with pytest.raises(ContractileError, match="has 2097152 pages"):
        describe_planes(series)


@pytest.mark.parametrize("shards", [None, (2**14, 2**14)])
def test_chunks_are_counted(tmp_path: Path, shards: tuple[int, int] | None) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(2**14, 2**14), chunks=(4, 4), shards=shards, dtype="uint8")
    with pytest.raises(ContractileError, match="is stored in 16777216 chunks; at most 4194304 are read"):
        find(tmp_path / "a.zarr")


# metadata -------------------------------------------------------------------------------------


def test_metadata_that_are_nested_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    for name in ("zarr.json", ".zarray"):
        path.mkdir(exist_ok=True)
        (path / name).write_text('{"a":' * 50_000)
        with pytest.raises(ContractileError, match=r"a\.zarr: its metadata are nested too deeply; export it again"):
            read(path)
        (path / name).unlink()
    zarr.create_array(path, data=numbered(4, 4), zarr_format=2)
    (path / ".zattrs").write_text("[" * 50_000)
    with pytest.raises(ContractileError, match="its metadata are nested too deeply"):
        read(path)


@pytest.mark.parametrize("name", ["zarr.json", ".zattrs"])
def test_metadata_without_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=numbered(4, 4), zarr_format=3 if name == "zarr.json" else 2)
    with (path / name).open("ab") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(ContractileError, match=r"67108865 bytes.*67108864"):
        read(path)


def test_a_file_of_metadata(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    assert read_metadata(tmp_path / "a") == b"text"
    os.mkfifo(tmp_path / "b")
    with pytest.raises(ContractileError, match="is a named pipe"):
        read_metadata(tmp_path / "b")


@pytest.mark.parametrize("text", ["<!DOCTYPE a>", "<!ENTITY a 'b'>"])
def test_xml_with_entities(tmp_path: Path, text: str) -> None:
    assert check_xml("<a/>", tmp_path) == "<a/>"
    with pytest.raises(ContractileError, match="its XML defines a document type or entities, which are not read"):
        check_xml(f"<?xml version='1.0'?>{text}<a/>", tmp_path)


def ome(doctype: str = "", name: str = "", **sizes: int) -> str:
    axes = {"X": 5, "Y": 4, "Z": 1, "C": 1, "T": 1} | sizes
    listed = " ".join(f'Size{axis}="{n}"' for axis, n in axes.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0" Name="{name}"><Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint8" {listed}>'
        '<Channel ID="C:0"/>{}<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )


def write_ome(path: Path, xml: str) -> Path:
    tifffile.imwrite(path, numbered(4, 5), description=xml.replace("{}", "").encode(), metadata=None)
    return path


@pytest.mark.parametrize(
    ("doctype", "name"),
    [
        ('<!DOCTYPE a [<!ENTITY a "AAAA"><!ENTITY b "&a;&a;">]>', "&b;"),
        ('<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/hostname">]>', "&a;"),
        ('<!DOCTYPE a SYSTEM "http://localhost/a.dtd">', ""),
    ],
)
def test_entities_in_the_metadata_of_ome(tmp_path: Path, doctype: str, name: str) -> None:
    path = write_ome(tmp_path / "a.ome.tif", ome(doctype, name))
    with pytest.raises(ContractileError, match=r"a\.ome\.tif: its XML defines a document type or entities"):
        read(path)


@pytest.mark.parametrize("tag", [270, 700])
def test_entities_in_other_texts(tmp_path: Path, tag: int) -> None:
    text = b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY a 'b'>]><a>&a;</a>"
    tifffile.imwrite(tmp_path / "a.tif", numbered(4, 5), extratags=[(tag, 7, len(text), text, True)], metadata=None)
    with pytest.raises(ContractileError, match="its XML defines a document type"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_entities_in_a_companion_of_any_encoding(tmp_path: Path, encoding: str) -> None:
    pointer = '<OME UUID="urn:uuid:1"><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:2"/></OME>'
    path = write_ome(tmp_path / "a.ome.tif", pointer)
    text = ome("<!DOCTYPE a>").replace("{}", "").replace("UTF-8", encoding)
    (tmp_path / "a.companion.ome").write_bytes(text.encode(encoding))
    with pytest.raises(ContractileError, match=r"a\.companion\.ome: its XML (defines a document type|cannot be read)"):
        read(path)


def test_a_companion_without_end(tmp_path: Path) -> None:
    pointer = '<OME UUID="urn:uuid:1"><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:2"/></OME>'
    path = write_ome(tmp_path / "a.ome.tif", pointer)
    with (tmp_path / "a.companion.ome").open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(ContractileError, match=r"a\.companion\.ome: has 67108865 bytes of metadata"):
        read(path)


@pytest.mark.parametrize(
    "more",
    [
        '<TiffData IFD="0" PlaneCount="1000000000"/>',
        '<TiffData IFD="0" PlaneCount="1000000"/><TiffData IFD="0" PlaneCount="1000000"/>',
        '<TiffData IFD="0" PlaneCount="-2000000"/>',
    ],
)
def test_planes_that_are_listed_without_being_there(tmp_path: Path, more: str) -> None:
    path = write_ome(tmp_path / "a.ome.tif", ome().replace("{}", more))
    with pytest.raises(ContractileError, match=r"pages; at most 1048576|planes are missing"):
        find(path)


def test_planes_that_are_promised_but_not_listed(tmp_path: Path) -> None:
    xml = ome(T=10**8).replace('<TiffData IFD="0" PlaneCount="1"/>', "")
    with pytest.raises(ContractileError, match="has 100000000 pages; at most 1048576"):
        find(write_ome(tmp_path / "a.ome.tif", xml))


@pytest.mark.parametrize("name", ["Image", "Pixels", "TiffData", "UUID"])
def test_elements_that_only_end_like_others(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.tif"
    tifffile.imwrite(secret, numbered(4, 5) + 100)
    folder = tmp_path / "in"
    folder.mkdir()
    uuid = f'<UUID FileName="{secret}">urn:uuid:9</UUID>'
    xml = ome().replace('<TiffData IFD="0" PlaneCount="1"/>', f'<TiffData IFD="0" PlaneCount="1">{uuid}</TiffData>')
    xml = xml.replace(f"<{name}", f"<My{name}").replace(f"</{name}", f"</My{name}")
    with pytest.raises(ContractileError, match=f"its XML has the unknown element .*My{name}"):
        read(write_ome(folder / "a.ome.tif", xml))


def test_a_modulo_without_end(tmp_path: Path) -> None:
    along = '<ModuloAlongT Type="lifetime" Start="0" End="1e12" Step="1"/>'
    notes = (
        f'<StructuredAnnotations><XMLAnnotation ID="A" Namespace="modulo"><Value><M>{along}</M></Value></XMLAnnotation>'
    )
    xml = ome().replace("</OME>", f"{notes}</StructuredAnnotations></OME>")
    with pytest.raises(ContractileError, match="has 1000000000001 pages"):
        find(write_ome(tmp_path / "a.ome.tif", xml))


# forms that nobody expects --------------------------------------------------------------------


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros((4, 5))}])
@pytest.mark.parametrize("packed", [False, True])
def test_archives_that_are_named_npy(tmp_path: Path, arrays: dict[str, Any], packed: bool) -> None:
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", **arrays)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ContractileError, match=r"a\.npy: (is an? |unreadable)"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr':'|u1','fortran_order':False,'shape':(100000,100000)}",
        "{'descr':'|u1','fortran_order':False,'shape':(-4,-5)}",
        "{'descr':'|u1','fortran_order':False,'shape':4}",
        "{'descr':[('a','|u1'),('b','<f4')],'fortran_order':False,'shape':(1,)}",
        "(" * 5000,
        "{'descr':'nonsense','fortran_order':False,'shape':(4,)}",
        "[1, 2]",
    ],
)
def test_headers_of_npy_that_make_no_sense(tmp_path: Path, header: str) -> None:
    text = header.encode() + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + bytes(64))
    for reader in (find, read):
        with pytest.raises(ContractileError, match=r"a\.npy: "):
            reader(tmp_path / "a.npy")


@pytest.mark.parametrize("head", [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0", b"II*\0\0\0\0\0"])
def test_tiffs_of_eight_bytes(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(head)
    for reader in (find, read):
        with pytest.raises(ContractileError, match=r"a\.tif: unreadable or truncated"):
            reader(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "multiscales",
    [
        {"0": {"datasets": [{"path": "0"}]}},
        "text",
        7,
        ["text"],
        [[]],
        [{}],
        [{"datasets": None}],
        [{"datasets": {"path": "0"}}],
        [{"datasets": [{"path": 3}]}],
        [{"datasets": [{}]}],
        [{"datasets": [{"path": "."}]}],
        [{"datasets": [{"path": ""}]}],
        [{"datasets": [{"path": "absent"}]}],
        [{"axes": 5, "datasets": [{"path": "0"}]}],
        [{"axes": [{"name": "y"}], "datasets": [{"path": "0"}]}],
        [{"axes": [{"name": ["y"], "type": {}}, {"name": "x"}], "datasets": [{"path": "0"}]}],
        [{"datasets": [{"path": "0", "coordinateTransformations": 5}], "axes": ["y", "x"]}],
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_multiscales_of_odd_forms(tmp_path: Path, zarr_format: int, multiscales: Any) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    group.create_array("0", data=numbered(4, 5))
    group.attrs.update({"multiscales": multiscales})
    with pytest.raises(ContractileError, match=r"a\.zarr.*: "):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize(
    "attributes",
    [
        {"well": {"images": [{"path": "."}]}},
        {"well": {"images": {"path": "0"}}},
        {"well": "text"},
        {"plate": {"wells": [7]}},
        {"plate": []},
        {"ome": {"multiscales": 5}},
        {"labels": 5},
    ],
)
def test_groups_of_odd_forms(tmp_path: Path, attributes: dict[str, Any]) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.attrs.update(attributes)
    with pytest.raises(ContractileError, match=r"a\.zarr: "):
        read(tmp_path / "a.zarr")


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (1, 1, 1), (1, 1, 3)])
def test_images_of_one_pixel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = numbered(*shape) + 1
    np.save(tmp_path / "a.npy", pixels)
    zarr.create_array(tmp_path / "b.zarr", data=pixels)
    zarr.create_array(tmp_path / "c.zarr", data=pixels, zarr_format=2)
    for name, more in (("d", {}), ("e", {"compression": "zlib"}), ("f", {"compression": "zlib", "tile": (16, 16)})):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="minisblack" if shape[-1] != 3 else None, **more)
    if len(shape) == 2:
        (tmp_path / "g.png").write_bytes(imagecodecs.png_encode(pixels))
        (tmp_path / "h.jpg").write_bytes(imagecodecs.jpeg8_encode(pixels, level=100))
    for source in find(tmp_path):
        found = read(source).pixels
        assert found.size, source
        if source.path.suffix != ".jpg":
            assert set(found.ravel().tolist()) <= set(pixels.ravel().tolist()), source


def test_an_image_larger_than_the_free_memory_is_not_read(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((1, 1000, 1000), np.uint16))
    monkeypatch.setattr("contractile.images.gate.SMALL", 10**6)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2**40, available=10**6))
    with pytest.raises(ContractileError, match=r"a: the image takes 0.0 GB of memory, and 0.0 GB are free; crop it"):
        read(tmp_path / "a.npy")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2**40, available=3 * 10**6))
    assert read(tmp_path / "a.npy").shape == (1, 1000, 1000)
