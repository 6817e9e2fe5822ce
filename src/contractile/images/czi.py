"""CZI of Zeiss -> rasters: one for each scene, read tile by tile, with the lower resolutions of its pyramid.

No library is needed: the readers with a licence that fits are old (they do not know Zstandard, which ZEN writes now)
or bring compilers along. Where tiles overlap, the one with the higher number in the mosaic wins; where a scene has no
tile, it is 0.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.grid import Region, as_slices
from contractile.images.channel_names import of_argb
from contractile.images.czi_blocks import Block, read_block, read_directory
from contractile.images.gate import check_pages, check_xml, limits
from contractile.images.image import Channel
from contractile.images.known import Wanted
from contractile.images.raster import AGAIN, FILL, Damaged, Raster, one_clear_line
from contractile.images.scale import in_micrometres, in_seconds

OUTER = "VHIRBTCZ"  # letters of the axes that count planes, in the order of the raster
HELD = 2**27  # bytes of decoded tiles that stay in memory

Place = tuple[int, ...]


def open_czi(path: Path, wanted: Wanted) -> list[Raster]:
    """The scenes of a file. Raises ContractileError where it is cut off or damaged, and for what is not read."""
    with one_clear_line(path):
        file = wanted.files.enter_context(path.open("rb"))
        blocks, text = read_directory(file, path)
        metadata = ElementTree.fromstring(check_xml(text, path)) if text else Element("none")
        tiles = _Tiles(file, path)
        blocks = sorted(blocks, key=lambda block: block.starts.get("S", -1))
        scenes = [list(some) for _, some in groupby(blocks, key=lambda block: block.starts.get("S", -1))]
        scenes = [scene for scene in scenes if any(block.factor == 1 for block in scene)]
        if not scenes:
            raise Damaged("no pixels in the full resolution")
        return [_raster(scene, metadata, tiles, path) for scene in scenes]


class _Tiles:
    """The decoded tiles of a file. The last ones are kept; threads may read at once."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._lock = file, path, threading.Lock()
        self._held: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def read(self, block: Block) -> NDArray[Any]:
        with self._lock:
            if block.place in self._held:
                self._held.move_to_end(block.place)
                return self._held[block.place]
            pixels = read_block(self._file, block, self._path)
            self._held[block.place] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > HELD and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
            return pixels


@dataclass(frozen=True)
class _Scene:
    """What all resolutions of a scene share: `letters` of axes that count planes, and the `ends` along every axis."""

    letters: str
    ends: dict[str, tuple[int, int]]
    samples: int
    dtype: np.dtype[Any]

    @property
    def outer(self) -> Place:
        return tuple(self.ends[letter][1] - self.ends[letter][0] for letter in self.letters)

    def shape(self, factor: int) -> tuple[int, ...]:
        """(*outer, Y, X[, S]) of a resolution that is `factor` times lower."""
        sides = (math.ceil((end - start) / factor) for start, end in (self.ends["Y"], self.ends["X"]))
        return (*self.outer, *sides, *((self.samples,) if self.samples > 1 else ()))

    def place(self, block: Block) -> Place:
        return tuple(block.starts.get(letter, 0) - self.ends[letter][0] for letter in self.letters)


class _Mosaic:
    """The tiles of one scene in one resolution as an array (*outer, Y, X[, S])."""

    def __init__(self, scene: _Scene, tiles: _Tiles, blocks: Sequence[Block], factor: int) -> None:
        self.shape, self.dtype = scene.shape(factor), scene.dtype
        self._scene, self._tiles, self._factor = scene, tiles, factor
        self.blocks: dict[Place, list[Block]] = {}
        for block in sorted(blocks, key=lambda block: block.starts.get("M", 0)):
            self.blocks.setdefault(scene.place(block), []).append(block)
        self._boxes = {place: self._places(some) for place, some in self.blocks.items()}
        tile = (max(block.stored[axis] for block in blocks) for axis in (0, 1))
        self.chunks = (*(1,) * len(scene.outer), *tile, *self.shape[len(scene.outer) + 2 :])

    def __getitem__(self, region: Region) -> NDArray[Any]:
        parts, taken = as_slices(region, self.shape)
        count = len(self._scene.outer)
        places = [range(part.start, part.stop, part.step) for part in parts[:count]]
        rows, columns, *samples = parts[count:]
        window = [max(0, part.stop - part.start) for part in (rows, columns)]
        found = np.zeros((*map(len, places), *window, *self.shape[count + 2 :]), self.dtype)
        for index in np.ndindex(*map(len, places)):
            place = tuple(along[number] for along, number in zip(places, index, strict=True))
            for number in self._touched(place, rows, columns):
                self._paste(place, number, found[index], (rows.start, columns.start))
        inner = (slice(None, None, rows.step), slice(None, None, columns.step), *samples)
        part: NDArray[Any] = found[(*[slice(None)] * count, *inner)][taken]
        return part

    def _places(self, blocks: Sequence[Block]) -> NDArray[np.int64]:
        """Where tiles lie in the array: first row, first column, and those behind the last, (N, 4)."""
        corner = [self._scene.ends[axis][0] for axis in "YX"]
        starts = np.array([[block.starts[axis] for axis in "YX"] for block in blocks], np.int64)
        first = (starts - corner) // self._factor
        return np.hstack([first, first + [block.stored for block in blocks]])

    def _touched(self, place: Place, rows: slice, columns: slice) -> list[int]:
        """The numbers of the tiles of a plane that lie in a window."""
        boxes = self._boxes.get(place)
        if boxes is None:
            return []
        inside = (boxes[:, :2] < (rows.stop, columns.stop)) & (boxes[:, 2:] > (rows.start, columns.start))
        numbers: list[int] = np.flatnonzero(inside.all(axis=1)).tolist()
        return numbers

    def _paste(self, place: Place, number: int, out: NDArray[Any], corner: tuple[int, int]) -> None:
        """Write what a tile has of a plane whose first row and column are `corner`."""
        y, x, *ends = (int(one) for one in self._boxes[place][number] - np.array(corner * 2))
        y0, x0, y1, x1 = max(0, y), max(0, x), min(out.shape[0], ends[0]), min(out.shape[1], ends[1])
        pixels = self._tiles.read(self.blocks[place][number])[y0 - y : y1 - y, x0 - x : x1 - x]
        out[y0:y1, x0:x1] = pixels if out.ndim == 3 else pixels[..., 0]


def _raster(blocks: Sequence[Block], metadata: Element, tiles: _Tiles, path: Path) -> Raster:
    full = [block for block in blocks if block.factor == 1]
    samples = {block.samples for block in full}
    if len(samples) > 1:
        problem = "holds grey and colour channels in one image"
        raise ContractileError(problem, "save them as files of their own in ZEN", where=path)
    ends = {
        letter: (
            min(block.starts.get(letter, 0) for block in full),
            max(block.starts.get(letter, 0) + block.sizes.get(letter, 1) for block in full),
        )
        for letter in f"{OUTER}YX"
    }
    letters = "".join(letter for letter in OUTER if ends[letter][1] - ends[letter][0] > 1)
    scene = _Scene(letters, ends, samples.pop(), np.result_type(*(block.dtype for block in full)))
    check_pages(math.prod(scene.outer), path)
    array = _Mosaic(scene, tiles, full, 1)
    axes = f"{letters}YX{'S' if scene.samples > 1 else ''}"
    scale, interval = _scale(metadata)
    return Raster.of(
        axes,
        array,
        alpha=1 if scene.samples == 4 else 0,
        scale=scale,
        interval_s=interval,
        notes=_missing(array, math.prod(scene.outer), path),
        lower=partial(_lower, axes, scene, tiles, blocks),
        channels=_channels(metadata),
    )


def _lower(axes: str, scene: _Scene, tiles: _Tiles, blocks: Sequence[Block]) -> list[Raster]:
    """The lower resolutions of a scene, as far as they have all of its planes."""
    factors = sorted({block.factor for block in blocks} - {1})
    alike = [[block for block in blocks if block.factor == factor] for factor in factors]
    arrays = [_Mosaic(scene, tiles, some, factor) for some, factor in zip(alike, factors, strict=True)]
    whole = [one for one in arrays if len(one.blocks) >= math.prod(scene.outer)]
    return [Raster.of(axes, one) for one in whole]


def _missing(array: _Mosaic, planes: int, path: Path) -> tuple[str, ...]:
    """What to tell about planes without any tile. Raises ContractileError, unless the gate allows them."""
    missing = planes - len(array.blocks)
    if missing <= 0:
        return ()
    problem = f"{missing} of its {planes} planes are missing (an acquisition that was stopped?)"
    if not limits().missing:
        raise ContractileError(problem, f"{AGAIN}; {FILL}", where=path)
    return (f"{problem}; 0 is read in their place",)


def _scale(metadata: Element) -> tuple[dict[str, float], float | None]:
    """The size of pixels in micrometres, and the time between frames in seconds."""
    found = {one.get("Id"): one.findtext("Value") for one in metadata.iterfind(".//Scaling/Items/Distance")}
    sizes = {axis: in_micrometres(found.get(axis), "m") for axis in "XYZ"}
    interval = metadata.findtext(".//Information/Image/Dimensions/T/Positions/Interval/Increment")
    return {axis: size for axis, size in sizes.items() if size}, in_seconds(interval, "s")


def _channels(metadata: Element) -> tuple[Channel, ...]:
    """Names and colours. Those for the display come first, since they are what a person sees and may change."""
    found = metadata.findall(".//Information/Image/Dimensions/Channels/Channel")
    shown = {one.get("Id"): one for one in metadata.iterfind(".//DisplaySetting/Channels/Channel")}
    return tuple(of_argb(one, shown.get(one.get("Id"))) for one in found)
