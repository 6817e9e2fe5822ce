"""Small files in the formats of makers of microscopes, written by hand: what the tests read.

Pixels are (T, Z, C, Y, X) unless a docstring says otherwise.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

Numbers = NDArray[Any]


def pixels(*shape: int, dtype: str = "u2") -> Numbers:
    """Numbers that differ from one pixel to the next."""
    count = int(np.prod(shape))
    return (np.arange(count) * 7 % 251).astype(dtype).reshape(shape)


# LIF ------------------------------------------------------------------------------------------

DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "L": 5, "M": 10}


def lif_image(
    name: str, axes: str, values: Numbers, *, tags: Sequence[int] = (), reach: Callable[[str, int], float] | None = None
) -> tuple[str, bytes]:
    """An image of a LIF: its XML, in which `{block}` stands for the name of its block, and its bytes.

    `axes` names those of `values` as they are stored; C are channels, with ChannelTags `tags`. `reach` gives the length
    of an axis in metres or seconds, 1e-6 for each step where nobody says.
    """
    steps = dict(zip(axes, values.strides, strict=True))
    counts = dict(zip(axes, values.shape, strict=True))
    luts, kind = ("Green", "Red", "Blue", "Gray"), 1 if values.dtype.kind == "f" else 0
    channels = "".join(
        f'<ChannelDescription DataType="{kind}" ChannelTag="{tags[n] if tags else 0}" '
        f'Resolution="{8 * values.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="{luts[n]}" '
        f'IsLUTInverted="0" BytesInc="{n * steps.get("C", 0)}" BitInc="0">'
        f"<ChannelProperty><Key>DyeName</Key><Value>dye {n}</Value></ChannelProperty></ChannelDescription>"
        for n in range(counts.get("C", 1))
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{counts[axis]}" Origin="0" '
        f'Length="{reach(axis, counts[axis]) if reach else 1e-6 * (counts[axis] - 1)}" '
        f'Unit="{"s" if axis == "T" else "m"}" BitInc="0" BytesInc="{steps[axis]}"/>'
        for axis in axes
        if axis != "C"
    )
    xml = (
        f'<Element Name="{name}" UniqueID="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{values.nbytes}" MemoryBlockID="{{block}}"/></Element>'
    )
    return xml, np.ascontiguousarray(values).tobytes()


def write_lif(path: Path, *images: tuple[str, bytes], version: int = 2) -> None:
    names = [f"MemBlock_{number}" for number in range(len(images))]
    inside = "".join(xml.replace("{block}", name) for name, (xml, _) in zip(names, images, strict=True))
    xml = (
        f'<LMSDataContainerHeader Version="{version}"><Element Name="{path.stem}"><Data><Experiment/></Data>'
        f'<Memory Size="0" MemoryBlockID="none"/><Children>{inside}</Children></Element></LMSDataContainerHeader>'
    )
    parts = [_lif_chunk(struct.pack("<Bi", 0x2A, len(xml)) + xml.encode("utf-16-le"))]
    for name, (_, data) in zip(names, images, strict=True):
        size = struct.pack("<q" if version == 2 else "<i", len(data))
        head = b"\x2a" + size + struct.pack("<Bi", 0x2A, len(name)) + name.encode("utf-16-le")
        parts += [_lif_chunk(head), data]
    path.write_bytes(b"".join(parts))


def _lif_chunk(body: bytes) -> bytes:
    return struct.pack("<ii", 0x70, len(body)) + body


# CZI ------------------------------------------------------------------------------------------

CZI_PIXELS = {("u1", 1): 0, ("u2", 1): 1, ("f4", 1): 2, ("u1", 3): 3, ("u2", 3): 4, ("u1", 4): 9, ("i4", 1): 12}
PACKING: dict[int, Callable[[Numbers], bytes]] = {
    0: lambda values: values.tobytes(),
    1: lambda values: bytes(imagecodecs.jpeg8_encode(values.squeeze(), level=100)),
    2: lambda values: bytes(imagecodecs.lzw_encode(values.tobytes())),
    4: lambda values: bytes(imagecodecs.jpegxr_encode(values.squeeze(), level=1.0)),
    5: lambda values: bytes(imagecodecs.zstd_encode(values.tobytes())),
    6: lambda values: b"\3\1\1" + bytes(imagecodecs.zstd_encode(_apart(values))),
}
CZI_XML = """<ImageDocument><Metadata>
<Information><Image><Dimensions>
<Channels><Channel Id="Channel:0" Name="DAPI"/><Channel Id="Channel:1" Name="GFP"/></Channels>
<T><Positions><Interval><Increment>2.5</Increment></Interval></Positions></T>
</Dimensions></Image></Information>
<Scaling><Items><Distance Id="X"><Value>2e-07</Value></Distance><Distance Id="Y"><Value>3e-07</Value></Distance>
<Distance Id="Z"><Value>1e-06</Value></Distance></Items></Scaling>
<DisplaySetting><Channels><Channel Id="Channel:0"><Color>#FF0000FF</Color></Channel>
<Channel Id="Channel:1"><Color>#FF00FF00</Color></Channel></Channels></DisplaySetting>
</Metadata></ImageDocument>"""

CziBlock = tuple[dict[str, int], Numbers, int]


def czi_block(values: Numbers, factor: int = 1, **starts: int) -> CziBlock:
    """A rectangle of pixels (Y, X) or (Y, X, S) that lies at `starts`; one pixel stands for `factor` along Y and X."""
    return starts, values, factor


def _apart(values: Numbers) -> bytes:
    """The low bytes of 16-bit numbers, then the high ones."""
    return values.view(np.uint8).reshape(-1, 2).T.tobytes()


def write_czi(
    path: Path, blocks: Sequence[CziBlock], *, compression: int = 0, xml: str = CZI_XML, part: int = 0
) -> None:
    text = xml.encode()
    out = bytearray(b"\0" * (32 + 512))
    entries = []
    for starts, values, factor in blocks:
        entry = _czi_entry(starts, values, factor, len(out), compression)
        samples = values[..., None] if values.ndim == 2 else values
        stored = (
            samples if compression == 4 or samples.shape[-1] == 1 else samples[..., [2, 1, 0, 3][: samples.shape[-1]]]
        )
        data = PACKING[compression](np.ascontiguousarray(stored))
        head = struct.pack("<iiq", 8, 0, len(data)) + entry
        out += _segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + b"<M></M> " + data)
        entries.append(entry)
    directory = len(out)
    out += _segment(b"ZISRAWDIRECTORY", struct.pack("<i", len(entries)).ljust(128, b"\0") + b"".join(entries))
    metadata = len(out)
    out += _segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0).ljust(256, b"\0") + text)
    head = struct.pack("<2i8x16s16siqqiq", 1, 0, b"a" * 16, b"a" * 16, part, directory, metadata, 0, 0)
    out[: 32 + 512] = _segment(b"ZISRAWFILE", head.ljust(512, b"\0"))
    path.write_bytes(bytes(out))


def _segment(name: bytes, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 32)
    return struct.pack("<16sqq", name, len(body), len(body)) + body


def _czi_entry(starts: dict[str, int], values: Numbers, factor: int, place: int, compression: int) -> bytes:
    rows, columns = values.shape[:2]
    kind = CZI_PIXELS[values.dtype.str[1:], values.shape[2] if values.ndim == 3 else 1]
    sizes = {"X": (columns * factor, columns), "Y": (rows * factor, rows)}
    letters = ["X", "Y", *(letter for letter in starts if letter not in "XY")]
    head = struct.pack("<2siqiiB5xi", b"DV", kind, place, 0, compression, 2 * (factor > 1), len(letters))
    return head + b"".join(
        struct.pack("<4siifi", letter.encode(), starts.get(letter, 0), *_sizes(sizes.get(letter, (1, 1))))
        for letter in letters
    )


def _sizes(pair: tuple[int, int]) -> tuple[int, float, int]:
    return pair[0], 0.0, pair[1]


# ND2 ------------------------------------------------------------------------------------------

ND2_MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"


def write_nd2(
    path: Path,
    values: Numbers,
    loops: str,
    *,
    step_um: float | None = 0.25,
    probe: bool = True,
    compressed: bool = False,
    leave_out: Sequence[int] = (),
) -> None:
    """Planes (*loops, Y, X, C) as NIS-Elements stores them; `loops` has letters T, P, Z. Three C are colours."""
    *counts, rows, columns, components = values.shape
    coloured = components == 3
    facts = {
        "uiWidth": columns,
        "uiWidthBytes": columns * components * values.itemsize,
        "uiHeight": rows,
        "uiComp": components,
        "uiBpcInMemory": 8 * values.itemsize,
        "uiBpcSignificant": 8 * values.itemsize,
        "uiSequenceCount": int(np.prod(counts)),
        "eCompression": 0 if compressed else 2,
    }
    dye = {"pFluorescentProbe": {"sName": "a dye"}} if probe else {}
    planes = {
        f"a{n}": {"uiCompCount": 3 if coloured else 1, "sDescription": f"dye {n}", "uiColor": 0xFF << 8 * n, **dye}
        for n in range(1 if coloured else components)
    }
    picture = {
        "bCalibrated": step_um is not None,
        "dCalibration": step_um or 1.0,
        "sPicturePlanes": {"uiCount": len(planes), "sPlaneNew": planes},
    }
    chunks = [
        (b"ImageAttributesLV!", _lite("SLxImageAttributes", facts)),
        (b"ImageMetadataSeqLV|0!", _lite("SLxPictureMetadata", picture)),
    ]
    if loops:
        chunks.append((b"ImageMetadataLV!", _lite("SLxExperiment", _nd2_loops(loops, counts))))
    for number, plane in enumerate(values.reshape(-1, rows, columns, components)):
        data = plane.tobytes()
        if number not in leave_out:
            content = zlib.compress(data) if compressed else data
            chunks.append((b"ImageDataSeq|%d!" % number, bytes(8) + content))
    out = bytearray(_nd2_chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32))
    parts = b""
    for name, data in chunks:
        parts += name + struct.pack("<QQ", len(out), len(data))
        out += _nd2_chunk(name, data, 4072)
    place = len(out)
    out += _nd2_chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", parts + ND2_MAP + struct.pack("<QQ", 0, 0), 32)
    path.write_bytes(bytes(out) + ND2_MAP + struct.pack("<Q", place))


def _nd2_chunk(name: bytes, data: bytes, room: int) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, room, len(data)) + name.ljust(room, b"\0") + data


def _nd2_loops(loops: str, counts: Sequence[int]) -> dict[str, Any]:
    """Loops within one another, the first one outside."""
    kind = {"T": 1, "P": 2, "Z": 4}[loops[0]]
    count = counts[0]
    settings: dict[str, dict[str, Any]] = {
        "T": {"uiCount": count, "dStart": 0.0, "dPeriod": 4000.0, "dDuration": 0.0, "dAvgPeriodDiff": 5000.0},
        "P": {
            "uiCount": count,
            "Points": {f"a{n}": {"dPosX": 10.0 * n, "dPosY": 0.0, "dPosZ": 0.0} for n in range(count)},
        },
        "Z": {"uiCount": count, "dZStep": 1.5, "dZLow": 0.0, "dZHigh": 1.5 * (count - 1)},
    }
    found: dict[str, Any] = {"eType": kind, "uLoopPars": settings[loops[0]]}
    if loops[1:]:
        found["ppNextLevelEx"] = {"a0": _nd2_loops(loops[1:], counts[1:])}
    return found


def _lite(name: str, value: Any) -> bytes:
    """A named value in Nikon's binary form of tables."""
    letters = name.encode("utf-16-le") + b"\0\0"
    if isinstance(value, dict):
        body = b"".join(_lite(key, one) for key, one in value.items())
        head = struct.pack("<BB", 11, len(letters) // 2) + letters
        length = len(head) + 12 + len(body)
        return head + struct.pack("<IQ", len(value), length) + body + bytes(8 * len(value))
    kind, data = {
        bool: lambda: (1, struct.pack("<B", value)),
        int: lambda: (3, struct.pack("<I", value)),
        float: lambda: (6, struct.pack("<d", value)),
        str: lambda: (8, value.encode("utf-16-le") + b"\0\0"),
    }[type(value)]()
    return struct.pack("<BB", kind, len(letters) // 2) + letters + data


# OIF and OIB ----------------------------------------------------------------------------------


def olympus_files(values: Numbers, letters: str, *, skip: Sequence[int] = ()) -> tuple[str, dict[str, bytes]]:
    """The settings of an OIF and its TIFFs by their names; `values` are (*letters, Y, X), such as "TZC"."""
    *counts, rows, columns = values.shape
    order = f"XY{letters[::-1]}"
    sizes = dict(zip(order, (columns, rows, *counts[::-1]), strict=True))
    steps = {"Z": ("Interval=500", "nm"), "T": ("Interval=2000", "ms"), "X": ("", "um"), "Y": ("", "um")}
    lines = ["[ProfileSaveInfo]", 'Name="FLUOVIEW"', 'Version="1.0"', "[Axis Parameter Common]", f'AxisOrder="{order}"']
    for number, code in enumerate("XYCZTALP"):
        step, unit = steps.get(code, ("", ""))
        lines += [f"[Axis {number} Parameters Common]", f'AxisCode="{code}"', f"MaxSize={sizes.get(code, 0)}", step]
        lines += [f'UnitName="{unit}"', f'PixUnit="{unit}"']
    lines += ["[Reference Image Parameter]", "WidthConvertValue=0.2", 'WidthUnit="um"', "ValidBitCounts=12"]
    lines += ["HeightConvertValue=0,3.0", 'HeightUnit="um"']
    for number in range(sizes.get("C", 1)):
        lines += [f"[Channel {number + 1} Parameters]", f'DyeName="dye {number}"', f'CH Name="CH{number + 1}"']
    names = "CZTLAP"
    files = {}
    for number, place in enumerate(np.ndindex(*counts)):
        at = dict(zip(letters, place, strict=True))
        name = "s_" + "".join(f"{letter}{at[letter] + 1:03d}" for letter in names if letter in at) + ".tif"
        if number not in skip:
            files[name] = as_tiff(values[place])
    files["s_C001-R001.tif"] = as_tiff(values[(0,) * len(counts)][:2])  # a reference image
    files["s_C001.lut"] = b"[Main]\r\n"
    return "\r\n".join(lines), files


def as_tiff(values: Numbers) -> bytes:
    held = io.BytesIO()
    tifffile.imwrite(held, values, metadata=None)
    return held.getvalue()


def write_oif(path: Path, values: Numbers, letters: str, *, skip: Sequence[int] = (), wide: bool = True) -> None:
    text, files = olympus_files(values, letters, skip=skip)
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le") if wide else text.encode())
    folder = path.with_name(f"{path.name}.files")
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_oib(path: Path, values: Numbers, letters: str, *, skip: Sequence[int] = ()) -> None:
    text, files = olympus_files(values, letters, skip=skip)
    info = ["[OibSaveInfo]", "Version=2.0.0.0", "Name=FileInformation", "MainFileName=Stream00000", "Stream00000=a.oif"]
    info.append("Storage00001=a.oif.files")
    inside = {}
    for number, (name, content) in enumerate(files.items(), start=1):
        info.append(f"Stream{number:05d}=Storage00001/{name}")
        inside[f"Stream{number:05d}"] = content
    outside = {
        "OibInfo.txt": b"\xff\xfe" + "\r\n".join(info).encode("utf-16-le"),
        "Stream00000": b"\xff\xfe" + text.encode("utf-16-le") + b"\r\0\n\0",
    }
    path.write_bytes(compound(outside, inside))


def compound(outside: dict[str, bytes], inside: dict[str, bytes]) -> bytes:
    """A compound document with files, and with files in a folder Storage00001."""
    contents = [*outside.values(), *inside.values()]
    sectors: list[bytes] = []
    following: list[int] = []

    def put(data: bytes) -> int:
        """Write data sector by sector; each next one lies behind the last one."""
        first, count = len(sectors), -(-len(data) // 512)
        for number in range(count):
            sectors.append(data[512 * number : 512 * (number + 1)].ljust(512, b"\0"))
            following.append(first + number + 1 if number + 1 < count else 0xFFFFFFFE)
        return first if count else 0xFFFFFFFE

    small, small_following, starts = b"", [], []
    for content in contents:
        if len(content) >= 4096:
            starts.append(put(content))
            continue
        count = -(-len(content) // 64)
        first = len(small_following)
        starts.append(first if count else 0xFFFFFFFE)
        small_following += [first + n + 1 if n + 1 < count else 0xFFFFFFFE for n in range(count)]
        small += content.ljust(64 * count, b"\0")
    root = put(small)
    minifat = put(np.array(small_following, "<u4").tobytes().ljust(-(-4 * len(small_following) // 512) * 512, b"\xff"))
    total, folder = 2 + len(contents), 1 + len(outside)
    entries = [_entry("Root Entry", 5, child=1, start=root, size=len(small))]
    for number, name in enumerate([*outside, "", *inside], start=1):
        place = number - 1 if number < folder else number - 2
        last = number in (folder, total - 1)
        right = 0xFFFFFFFF if last else number + 1
        if number == folder:
            entries.append(_entry("Storage00001", 1, child=folder + 1 if inside else 0xFFFFFFFF))
        else:
            entries.append(_entry(name, 2, right=right, start=starts[place], size=len(contents[place])))
    directory = put(b"".join(entries).ljust(-(-len(entries) * 128 // 512) * 512, b"\0"))
    tables = next(n for n in range(1, 109) if 128 * n >= len(sectors) + n)
    table = [*following, *[0xFFFFFFFD] * tables]
    table += [0xFFFFFFFF] * (128 * tables - len(table))
    places = [len(sectors) + n for n in range(tables)] + [0xFFFFFFFF] * (109 - tables)
    numbers = (0, tables, directory, 0, 4096, minifat, -(-4 * len(small_following) // 512), 0xFFFFFFFE, 0)
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H6x9I", 0x3E, 3, 0xFFFE, 9, 6, *numbers)
    return head + np.array(places, "<u4").tobytes() + b"".join(sectors) + np.array(table, "<u4").tobytes()


def _entry(
    name: str, kind: int, *, child: int = 0xFFFFFFFF, right: int = 0xFFFFFFFF, start: int = 0, size: int = 0
) -> bytes:
    letters = name.encode("utf-16-le") + b"\0\0"
    head = letters.ljust(64, b"\0") + struct.pack("<HBBIII", len(letters), kind, 1, 0xFFFFFFFF, right, child)
    return head + bytes(36) + struct.pack("<IQ", start, size)


# HDF5 and Imaris ------------------------------------------------------------------------------


def write_h5(path: Path, datasets: dict[str, Numbers], axes: str = "", **options: Any) -> None:
    """Datasets as ilastik writes them; `axes` are the keys of their axistags, `options` those of h5py."""
    import h5py

    size = options.pop("element_size_um", None)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            dataset = file.create_dataset(name, data=values, **options)
            if axes:
                tags = [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in axes]
                dataset.attrs["axistags"] = json.dumps({"axes": tags})
            if size is not None:
                dataset.attrs["element_size_um"] = size


def write_ims(path: Path, *levels: Numbers) -> None:
    """Resolutions (T, C, Z, Y, X) as Imaris stores them: in volumes that are longer than the image."""
    import h5py

    def letters(text: str) -> Numbers:
        return np.array([*text], "S1")

    with h5py.File(path, "w") as file:
        for number, level in enumerate(levels):
            for t, c in np.ndindex(*level.shape[:2]):
                group = file.create_group(f"DataSet/ResolutionLevel {number}/TimePoint {t}/Channel {c}")
                padded = np.pad(level[t, c], [(0, -n % 8) for n in level.shape[2:]])
                group.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")
                for axis, n in zip("ZYX", level.shape[2:], strict=True):
                    group.attrs[f"ImageSize{axis}"] = letters(str(n))
        image = file.create_group("DataSetInfo/Image")
        times, channels, *sides = levels[0].shape
        for number, (n, size) in enumerate(zip(sides[::-1], (0.2, 0.3, 1.0), strict=True)):
            image.attrs[f"ExtMin{number}"], image.attrs[f"ExtMax{number}"] = letters("10"), letters(f"{10 + n * size}")
        image.attrs["Unit"] = letters("um")
        for c in range(channels):
            channel = file.create_group(f"DataSetInfo/Channel {c}")
            channel.attrs["Name"], channel.attrs["Color"] = letters(f"dye {c}"), letters(f"{c} 1.000 0.000")
        time = file.create_group("DataSetInfo/TimeInfo")
        time.attrs["DatasetTimePoints"] = letters(str(times))
        for t in range(times):
            time.attrs[f"TimePoint{t + 1}"] = letters(f"2020-01-01 00:00:{4 * t:02d}.000")
