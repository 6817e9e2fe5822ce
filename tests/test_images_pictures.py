"""Pictures: what their pixels mean in every format, and what is said where part of a file is missing or damaged."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from scipy import ndimage

from contractile.errors import ContractileError
from contractile.images import read, read_labels
from contractile.images.jpeg import decode_jpeg
from contractile.images.jpeg_markers import scan_jpeg
from contractile.images.pictures import BEHIND, CMYK, TRANSPARENT, TURNED, WHITE_FIRST, open_picture, turn

COPY = "copy the file again or re-export it"
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [10, 200, 30]], np.uint8)


def numbered(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def rough(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Texture with dark and bright parts, grey (Y, X) or colour (Y, X, 3)."""
    noise = np.random.default_rng(seed).random(shape)
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0)[: len(shape)])
    return ((smooth - 0.5) * 1200 + 120).clip(0, 255).astype(np.uint8)


def saved(pixels: NDArray[Any] | Pillow.Image, form: str, **options: Any) -> bytes:
    picture = pixels if isinstance(pixels, Pillow.Image) else Pillow.fromarray(pixels)
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def opened(path: Path, data: bytes, *, labels: bool = False) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The pixels and the notes of a picture with this content."""
    path.write_bytes(data)
    raster = open_picture(path, labels)
    return raster.load(), raster.notes


def block(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(rows: list[bytes], size: tuple[int, int], bits: int, colour: int, *blocks: bytes) -> bytes:
    """A PNG of rows as they are stored; `size` is (height, width)."""
    header = block(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, 0))
    body = block(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(blocks) + body + block(b"IEND", b"")


def palette_picture(numbers: NDArray[np.uint8], colours: NDArray[np.uint8] = COLOURS) -> Pillow.Image:
    picture = Pillow.fromarray(numbers).convert("L")
    picture = Pillow.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(colours.tobytes())
    return picture


# what a file is -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
@pytest.mark.parametrize("form", ["png", "bmp", "gif", "webp", "jpeg"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, form: str, name: str) -> None:
    pixels = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    options = {"webp": {"lossless": True}, "jpeg": {"quality": 95, "subsampling": 0}}.get(form, {})
    found, notes = opened(tmp_path / name, saved(pixels, form, **options))
    np.testing.assert_allclose(found.astype(int), pixels, atol=2)
    assert (found.shape, found.dtype, notes) == (pixels.shape, np.uint8, ())


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no picture at all"])
def test_content_that_is_no_picture(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(
        ContractileError, match=r"is no picture that is read here.*no PNG, JPEG, BMP, GIF or WebP; convert"
    ):
        opened(tmp_path / "a.png", content)


@pytest.mark.parametrize("form", ["gif", "webp", "png"])
def test_animations_are_refused(tmp_path: Path, form: str) -> None:
    frames = [Pillow.fromarray(rough(16, 24, 3, seed=seed)) for seed in range(3)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    with pytest.raises(ContractileError, match=r"a\.png: is an animation of 3 pictures; save its pictures as a TIFF"):
        opened(tmp_path / "a.png", data)


# orientation ----------------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_turning_is_what_pillow_does(orientation: int, height: int, width: int, colour: bool) -> None:
    pixels = numbered(height, width, 3) if colour else numbered(height, width)
    picture, exif = Pillow.fromarray(pixels), Pillow.Exif()
    exif[0x0112] = orientation
    upright = ImageOps.exif_transpose(Pillow.open(io.BytesIO(saved(picture, "png", exif=exif))))
    np.testing.assert_array_equal(turn(pixels, orientation), np.asarray(upright))


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_images_and_labels(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255
    data = saved(pixels, form, exif=exif, **({"lossless": True} if form == "webp" else {}))
    for labels in (False, True):
        found, notes = opened(tmp_path / "a.png", data, labels=labels)
        assert notes == (TURNED,)
        assert found.shape == ((16, 24, 3) if orientation == 3 else (24, 16, 3))
        assert (found[4, -4] if orientation == 6 else found[-4, -4]).min() > 250
        assert found[4, 4].max() < 5


def test_orientation_of_label_numbers_and_of_16_bits(tmp_path: Path) -> None:
    exif = block(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0")
    data = png([b"\0\1\2", b"\3\2\1"], (2, 3), 8, 3, block(b"PLTE", COLOURS.tobytes()), exif)
    (tmp_path / "a.png").write_bytes(data)
    assert read_labels(tmp_path / "a.png").tolist() == [[2, 1], [1, 2], [0, 3]]
    data = png([b"\0\1\1\0"], (1, 2), 16, 0, exif)
    assert opened(tmp_path / "a.png", data)[0].tolist() == [[256], [1]]


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*", b"Exif\0\0nonsense" * 3, b"MM\0*\0\0\xff\xff"])
def test_exif_that_says_nothing(tmp_path: Path, exif: bytes) -> None:
    assert opened(tmp_path / "a.jpg", saved(rough(16, 24), "jpeg", exif=exif))[1] == ()


# colours --------------------------------------------------------------------------------------


def test_cmyk_with_black_alone(tmp_path: Path) -> None:
    black = np.zeros((16, 32), np.uint8)
    black[:, :16] = 255
    none = Pillow.new("L", (32, 16))
    picture = Pillow.merge("CMYK", (none, none, none, Pillow.fromarray(black)))
    found, notes = opened(tmp_path / "a.jpg", saved(picture, "jpeg", quality=95))
    assert (found.shape, notes) == ((16, 32, 3), (CMYK,))
    assert found[:, :12].max() < 5
    assert found[:, 20:].min() > 250


@pytest.mark.parametrize("form", ["Adobe's YCCK", "plain CMYK"])
def test_cmyk_of_others(tmp_path: Path, form: str) -> None:
    colour = rough(32, 48, 3)
    data = saved(Pillow.fromarray(colour).convert("CMYK"), "jpeg", quality=95)
    place = data.index(b"Adobe")
    if form == "plain CMYK":  # without Adobe's mark the inks are not inverted
        data = data[: place - 4] + data[place + 12 :]
    else:
        data = data[: place + 11] + b"\2" + data[place + 12 :]
    found, _ = opened(tmp_path / "a.jpg", data)
    expected = np.asarray(Pillow.open(tmp_path / "a.jpg").convert("RGB"))
    np.testing.assert_array_equal(found, expected)


def test_rgb_jpeg_without_conversion_and_12_bits(tmp_path: Path) -> None:
    colour = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    found, _ = opened(tmp_path / "a.jpg", saved(colour, "jpeg", keep_rgb=True, quality=100))
    np.testing.assert_allclose(found.astype(int), colour, atol=1)
    deep = np.full((16, 24), 3000, np.uint16)
    found, _ = opened(tmp_path / "a.jpg", imagecodecs.jpeg8_encode(deep, level=95, bitspersample=12))
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found.astype(int), 3000, atol=8)


@pytest.mark.parametrize("samples", [3, 4])
def test_16_bit_colour_stays_16_bits(tmp_path: Path, samples: int) -> None:
    pixels = numbered(6, 5, samples, dtype="uint16") * 500
    found, notes = opened(tmp_path / "a.png", imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(found, pixels)
    assert notes == ((TRANSPARENT,) if samples == 4 else ())


@pytest.mark.parametrize(
    ("bits", "row", "numbers"),
    [
        (1, b"\xa5", [1, 0, 1, 0, 0, 1, 0, 1]),
        (2, b"\x1b", [0, 1, 2, 3]),
        (4, b"\x0f\x71", [0, 15, 7, 1]),
        (8, b"\0\x80\xff", [0, 128, 255]),
        (16, b"\0\1\xff\xff", [1, 65535]),
    ],
)
def test_grey_of_few_bits_is_stretched_in_images_alone(
    tmp_path: Path, bits: int, row: bytes, numbers: list[int]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png([row], (1, len(numbers)), bits, 0))
    assert read_labels(path).tolist() == [numbers]
    step = 255 // (2**bits - 1) if bits < 8 else 1
    assert read(path).pixels.tolist() == [[[number * step for number in numbers]]]


def test_black_and_white_bmp(tmp_path: Path) -> None:
    data = saved(Pillow.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1"), "bmp")
    assert opened(tmp_path / "a.bmp", data)[0].tolist() == [[0, 255, 255]]
    assert opened(tmp_path / "a.bmp", data, labels=True)[0].astype(int).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("form", ["png", "bmp", "gif"])
def test_palettes_are_colours_in_images_and_numbers_in_labels(tmp_path: Path, form: str) -> None:
    numbers = numbered(6, 7) % 4
    path = tmp_path / f"a.{form}"
    path.write_bytes(saved(palette_picture(numbers), form))
    np.testing.assert_array_equal(read_labels(path), numbers)
    np.testing.assert_array_equal(np.moveaxis(read(path).pixels, 0, -1), COLOURS[numbers])


@pytest.mark.parametrize(("bits", "row"), [(1, b"\x60"), (2, b"\x6c"), (4, b"\x12\x30"), (8, b"\1\2\3\0")])
def test_palettes_of_any_number_of_bits(tmp_path: Path, bits: int, row: bytes) -> None:
    clear = block(b"tRNS", b"\x80\xff")
    data = png([row], (1, 4), bits, 3, block(b"PLTE", COLOURS[: 2**bits].tobytes()), clear)
    expected = [[0, 1, 1, 0]] if bits == 1 else [[1, 2, 3, 0]]
    found, notes = opened(tmp_path / "a.png", data, labels=True)
    assert (found.tolist(), notes) == (expected, ())
    found, notes = opened(tmp_path / "a.png", data)
    np.testing.assert_array_equal(found[..., :3], COLOURS[np.array(expected)])
    assert notes == (TRANSPARENT,)


@pytest.mark.parametrize("form", ["png", "bmp", "gif"])
def test_a_palette_that_begins_with_white_is_said_of_labels(tmp_path: Path, form: str) -> None:
    picture = palette_picture(numbered(4, 4) % 2, np.array([[255] * 3, [0] * 3], np.uint8))
    found, notes = opened(tmp_path / "a.png", saved(picture, form), labels=True)
    assert (found[0].tolist(), notes) == ([0, 1, 0, 1], (WHITE_FIRST,))
    assert opened(tmp_path / "a.png", saved(picture, form))[1] == ()


# transparency ---------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_transparency_is_left_out_and_said(tmp_path: Path, samples: int, dtype: str) -> None:
    pixels = numbered(6, 5, samples, dtype=dtype)
    for last, notes in ((np.iinfo(dtype).max, ()), (0, (TRANSPARENT,)), (pixels[..., -1], (TRANSPARENT,))):
        pixels[..., -1] = last
        path = tmp_path / "a.png"
        assert opened(path, imagecodecs.png_encode(pixels))[1] == notes
        np.testing.assert_array_equal(read(path).pixels, np.moveaxis(pixels[..., :-1], -1, 0))


def test_a_transparent_grey_level(tmp_path: Path) -> None:
    data = png([b"\1\2\3\2"], (1, 4), 8, 0, block(b"tRNS", b"\0\2"))
    assert opened(tmp_path / "a.png", data)[1] == (TRANSPARENT,)
    assert read(tmp_path / "a.png").pixels.tolist() == [[[1, 2, 3, 2]]]
    assert opened(tmp_path / "a.png", data, labels=True)[1] == ()
    assert read_labels(tmp_path / "a.png").tolist() == [[1, 2, 3, 2]]


# whole JPEGs ----------------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {},
    {"optimize": True},
    {"progressive": True},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 3},
    {"subsampling": 0},
    {"subsampling": 1},
]
FILL = [None, 0, 128, 255]


@settings(max_examples=60)
@given(
    st.sampled_from(OPTIONS),
    st.sampled_from(FILL),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([5, 50, 95]),
    st.booleans(),
    st.sampled_from([b"", bytes(9000), b"\xff\xd9" * 3000, b"SEFT" + bytes(range(256)) * 40]),
)
def test_a_whole_jpeg_is_read_whatever_lies_behind_it(
    options: dict[str, Any], fill: int | None, height: int, width: int, quality: int, colour: bool, behind: bytes
) -> None:
    shape = (height, width, 3) if colour else (height, width)
    pixels = rough(*shape) if fill is None else np.full(shape, fill, np.uint8)
    data = saved(pixels, "jpeg", quality=quality, **options)
    expected = np.asarray(imagecodecs.jpeg8_decode(data))
    for whole in (data + behind, data[:-2]):  # the end marker itself holds no pixels
        np.testing.assert_array_equal(decode_jpeg(scan_jpeg(whole)), expected)


def test_a_second_picture_behind_the_first_is_said(tmp_path: Path) -> None:
    first, second = (Pillow.fromarray(rough(64, 48, 3, seed=seed)) for seed in (1, 2))
    data = saved(first, "mpo", save_all=True, append_images=[second])
    found, notes = opened(tmp_path / "a.jpg", data)
    assert (found.shape, notes) == ((64, 48, 3), (BEHIND,))


# broken JPEGs ---------------------------------------------------------------------------------


def pieces(data: bytes) -> tuple[bytes, bytes]:
    """The header of a JPEG and its compressed data."""
    scans = scan_jpeg(data).scans
    return data[: scans[0].start], data[scans[0].start : scans[-1].stop]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9", b"\xff\xd9" + bytes(8000)])
@pytest.mark.parametrize("shape", [(200, 160), (200, 160, 3)])
def test_a_jpeg_that_is_cut_off(tmp_path: Path, options: dict[str, Any], end: bytes, shape: tuple[int, ...]) -> None:
    head, body = pieces(saved(rough(*shape), "jpeg", quality=90, **options))
    for kept in (0.05, 0.5, 0.95):
        with pytest.raises(ContractileError, match=r"a\.jpg: unreadable or truncated \(.+\); " + COPY):
            opened(tmp_path / "a.jpg", head + body[: int(kept * len(body))] + end)


@pytest.mark.parametrize("missing", [0.25, 0.5, 0.75])
def test_the_share_that_is_cut_off(tmp_path: Path, missing: float) -> None:
    head, body = pieces(saved(rough(400, 160), "jpeg", quality=90))
    with pytest.raises(ContractileError) as caught:
        opened(tmp_path / "a.jpg", head + body[: int((1 - missing) * len(body))] + b"\xff\xd9")
    said = caught.value.problem.partition("about ")[2]
    assert said.endswith("% of its rows are missing)")
    assert abs(int(said.partition("%")[0]) - 100 * missing) <= 5


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\xaa", b"The data of another file. "])
def test_a_jpeg_with_a_hole(tmp_path: Path, options: dict[str, Any], fill: bytes) -> None:
    head, body = pieces(saved(rough(300, 260, 3), "jpeg", quality=90, **options))
    start, length = len(body) // 3, len(body) // 3
    hole = (fill * length)[:length]
    with pytest.raises(ContractileError, match="unreadable or truncated") as caught:
        opened(tmp_path / "a.jpg", head + body[:start] + hole + body[start + length :] + b"\xff\xd9")
    if options in ({}, {"optimize": True}) and fill == b"\0":
        assert re.fullmatch(r".*\(at least 3[123]% of its data are overwritten\)", caught.value.problem)


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"progressive": True}])
def test_a_jpeg_with_a_piece_taken_out(tmp_path: Path, options: dict[str, Any]) -> None:
    head, body = pieces(saved(rough(300, 260, 3), "jpeg", quality=90, **options))
    with pytest.raises(ContractileError, match="unreadable or truncated"):
        opened(tmp_path / "a.jpg", head + body[: len(body) // 3] + body[len(body) // 3 + 4096 :] + b"\xff\xd9")


def test_missing_restart_pieces_are_counted(tmp_path: Path) -> None:
    head, body = pieces(saved(rough(160, 160), "jpeg", quality=90, restart_marker_rows=1))
    half = body.index(b"\xff\xd1", body.index(b"\xff\xd7"))  # the tenth of twenty pieces ends here
    with pytest.raises(ContractileError, match=r"\(50% of its data are missing: 10 of 20 pieces\)"):
        opened(tmp_path / "a.jpg", head + body[:half] + b"\xff\xd9")
    swapped = body.replace(b"\xff\xd1", b"\xff\xd2", 1)
    with pytest.raises(ContractileError, match=r"\(its data are damaged: 20 of 20 pieces\)"):
        opened(tmp_path / "a.jpg", head + swapped + b"\xff\xd9")


def test_a_jpeg_that_declares_more_than_it_can_hold(tmp_path: Path) -> None:
    data = saved(rough(16, 16), "jpeg")
    place = data.index(b"\xff\xc0") + 5
    with pytest.raises(ContractileError, match=r"bytes of data cannot hold 65500 x 65500 pixels"):
        opened(tmp_path / "a.jpg", data[:place] + struct.pack(">HH", 65500, 65500) + data[place + 4 :])


@pytest.mark.parametrize("length", [3, 30, 160])
def test_a_jpeg_that_ends_in_its_header(tmp_path: Path, length: int) -> None:
    with pytest.raises(ContractileError, match=r"unreadable or truncated \(it ends before its pixels begin\)"):
        opened(tmp_path / "a.jpg", saved(rough(16, 16), "jpeg")[:length])


# broken PNGs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("kept", [0.25, 0.5, 0.9])
def test_a_png_that_is_cut_off(tmp_path: Path, kept: float, labels: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 300), dtype=np.uint8)
    data = saved(noise, "png")
    with pytest.raises(ContractileError, match=rf"unreadable or truncated \(cut off: .* missing\); {COPY}") as caught:
        opened(tmp_path / "a.png", data[: int(kept * len(data))], labels=labels)
    said = caught.value.problem.partition("cut off: ")[2]
    assert abs(int(said.partition("%")[0]) - 100 * (1 - kept)) <= 2


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("width", [1, 3000])
def test_a_png_with_damage(tmp_path: Path, mode: str, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 300), dtype=np.uint8)
    picture = Pillow.fromarray(noise) if mode == "L" else palette_picture(noise, np.repeat(COLOURS, 64, axis=0))
    data = bytearray(saved(picture, "png"))
    damage = rf"damaged: the checksum of block \d \(IDAT, bytes \d+ to \d+ of {len(data)}\) does not fit\);"
    middle = len(data) // 2
    data[middle : middle + width] = bytes(255 - byte for byte in data[middle : middle + width])
    for labels in (False, True):
        with pytest.raises(ContractileError, match=damage):
            opened(tmp_path / "a.png", bytes(data), labels=labels)


def test_a_png_with_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(ContractileError, match=r"\(incomplete: 60% of its rows are missing\)"):
        opened(tmp_path / "a.png", png([b"\1\2\3\4"] * 2, (5, 4), 8, 0))


@pytest.mark.parametrize("labels", [False, True])
def test_harmless_extras_of_a_png(tmp_path: Path, labels: bool) -> None:
    data = png([b"\1\2\3\4"] * 2, (2, 4), 8, 0)
    for whole in (data + bytes(9000), data + data, data[:-12]):
        found, notes = opened(tmp_path / "a.png", whole, labels=labels)
        assert (found.tolist(), notes) == ([[1, 2, 3, 4]] * 2, ())


def test_what_libpng_finds_names_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(saved(rough(40, 30), "png"))
    data[20:24] = (39).to_bytes(4)  # a row less than there are
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    (tmp_path / "a.png").write_bytes(data)
    assert read(tmp_path / "a.png").shape == (1, 39, 30)
    assert caplog.messages == [f"{tmp_path / 'a.png'}: PNG warning: IDAT: Too much image data"]
    assert {record.name.split(".")[0] for record in caplog.records} == {"contractile"}


def test_blocks_that_no_pixel_depends_on_are_not_worth_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = saved(rough(40, 30), "png")
    odd = block(b"iCCP", b"x\0\0" + zlib.compress(b"nonsense")) + block(b"pHYs", b"\0") + block(b"tIME", b"\0")
    pixels, _ = opened(tmp_path / "a.png", data[:33] + odd + data[33:])
    np.testing.assert_array_equal(pixels, rough(40, 30))
    assert caplog.records == []


def test_an_interlaced_png(tmp_path: Path) -> None:
    rows = [b"\1", b"\3", b"\5\6", b"\2", b"\7", b"\4\x08\x09"]  # 3 x 3 pixels in seven passes; two are empty
    data = bytearray(png(rows, (3, 3), 8, 0))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    for labels in (False, True):
        found, _ = opened(tmp_path / "a.png", bytes(data), labels=labels)
        assert found.tolist() == [[1, 2, 3], [4, 8, 9], [5, 7, 6]]


def test_a_png_that_declares_more_than_it_can_hold(tmp_path: Path) -> None:
    with pytest.raises(ContractileError, match=r"13 bytes of data cannot hold 100000 x 100000 pixels"):
        opened(tmp_path / "a.png", png([b"\1\2\3\4"], (100_000, 100_000), 8, 0))


def test_a_png_whose_rows_make_no_sense(tmp_path: Path) -> None:
    data = png([b"\1\2\3\4\x99\1\2\3\4"], (2, 4), 8, 0)  # the second row has a filter that does not exist
    with pytest.raises(ContractileError, match=r"unreadable or truncated \(damaged \(.*filter"):
        opened(tmp_path / "a.png", data)


def test_a_png_with_far_too_many_rows(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    with pytest.raises(ContractileError, match=r"its data are \d+ times as long as its pixels"):
        opened(tmp_path / "a.png", png([noise], (10, 10), 8, 0))


@pytest.mark.parametrize("length", [8, 20, 28])
def test_a_png_that_ends_in_its_header(tmp_path: Path, length: int) -> None:
    with pytest.raises(ContractileError, match=r"unreadable or truncated \(it ends within its header\)"):
        opened(tmp_path / "a.png", png([b"\1"], (1, 1), 8, 0)[:length])


# other broken pictures ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bmp", "gif", "webp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_other_pictures_that_are_cut_off(tmp_path: Path, form: str, kept: float) -> None:
    data = saved(rough(100, 120, 3), form)
    with pytest.raises(ContractileError, match=r"unreadable or truncated \(.+\); " + COPY):
        opened(tmp_path / "a.png", data[: int(kept * len(data))])
