"""Files that hold shapes, or a pickle of masks, instead of pixels: which they are, and the labels that they draw."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import coco, geojson, labelme
from contractile.images.drawings import (
    SHOWN,
    Drawing,
    Numbering,
    count_elsewhere,
    count_pages,
    fill,
    find_numbering,
    on_page,
    refuse_elsewhere,
    refuse_outside,
    settle_numbers,
)
from contractile.images.json_text import fitting, load_json
from contractile.images.notes import say
from contractile.images.npy import pickled
from contractile.images.rois import read_rois
from contractile.images.seg_npy import read_masks

Kind = Literal["ROIs", "GeoJSON", "COCO", "LabelMe", "Cellpose"]
SHAPE_SUFFIXES = (".roi", ".zip", ".geojson", ".json", ".npy")  # of files whose content decides
SURE = {".roi": "ROIs", ".geojson": "GeoJSON"}
WORDS = re.compile(r"(^|[\s_.-])(roi[\s_-]?sets?|rois?|coco|objects|shapes|polygons)(?=$|[\s_.-])", re.IGNORECASE)

PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # that Label Studio puts in front of the name of each file


def shape_kind(path: Path) -> Kind | None:
    """The format of a file of shapes; None for other files, and for what cannot be opened."""
    suffix = path.suffix.lower()
    if suffix not in SHAPE_SUFFIXES:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    kind: Kind | None = _kind_of(path, suffix, found.st_ino, found.st_mtime_ns, found.st_size)
    return kind


@lru_cache(maxsize=2**14)
def _kind_of(path: Path, suffix: str, *_: int) -> Any:
    if suffix in SURE:
        return SURE[suffix]
    if suffix == ".npy":
        return "Cellpose" if path.stem.endswith("_seg") and pickled(path) else None
    if suffix == ".zip":
        with suppress(OSError, zipfile.BadZipFile, ValueError), zipfile.ZipFile(path) as packed:
            return "ROIs" if any(name.lower().endswith(".roi") for name in packed.namelist()) else None
        return None
    with suppress(ContractileError):
        found = _values(path)
        for kind, test in (("COCO", coco.is_coco), ("LabelMe", labelme.is_labelme), ("GeoJSON", geojson.is_geojson)):
            if test(found):
                return kind
    return None


def _values(path: Path) -> Any:
    found = path.stat()
    return _load(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=2)  # a large file of many images is asked for each of them
def _load(path: Path, *_: int) -> Any:
    return load_json(path)


def open_shapes(path: Path) -> list[Drawing]:
    """What a file of shapes holds: one drawing, or, of COCO, one for each image that it names.

    Raises NotFound, and ContractileError for a file that cannot be read.
    """
    kind = shape_kind(path)
    if kind == "COCO":
        return coco.drawings_of(_values(path), path)
    if kind == "LabelMe":
        found = _values(path)
        with fitting(path, "LabelMe's JSON", "save it again in LabelMe"):
            drawn: Sequence[Any] = labelme.shapes_of(found, path)
            return [_single(path, drawn, labelme.size_of(found))]
    return [_single(path, read_rois(path) if kind == "ROIs" else geojson.shapes_of(_values(path), path))]


def _single(path: Path, drawn: Sequence[Any], size: tuple[int, int] | None = None) -> Drawing:
    return Drawing(path.stem, size, tuple(one.kind for one in drawn), lambda: drawn)


def names_in(path: Path) -> list[str]:
    """The names of the images whose labels a file draws: that of the file, or, of COCO, those that it names.

    Raises as `open_shapes`, and ContractileError where several images of a COCO file have no name.
    """
    if shape_kind(path) != "COCO":
        return [WORDS.sub("", path.stem) or path.stem]
    paths = [PurePosixPath(one.name.replace("\\", "/")) for one in open_shapes(path)]
    stems = [one.stem for one in paths]
    if stems and all(PREFIX.match(one) for one in stems):
        stems = [PREFIX.sub("", one) for one in stems]
    if len(set(stems)) == len(stems):
        return stems
    if nameless := sum(not one.name for one in paths):
        problem = f"each image must have the name of a file as file_name, got {nameless} of {len(paths)} without one"
        raise ContractileError(problem, coco.CURE, where=path)
    return [str(one.with_suffix("")) for one in paths]


def draws_all_pages(path: Path) -> bool:
    """Whether the shapes in a file may lie in all pages of its image, and say in which."""
    return shape_kind(path) in ("ROIs", "GeoJSON", "Cellpose")


def numbering_of(files: Sequence[tuple[Path, int]], *, task: str | None = None) -> Numbering:
    """What the shapes of a dataset mean, given its files and which image of each is meant."""
    kinds = [kind for path, entry in files if shape_kind(path) != "Cellpose" for kind in open_shapes(path)[entry].kinds]
    return find_numbering(list(dict.fromkeys(kinds)), task=task)


@dataclass(frozen=True)
class Canvas:
    """The image that shapes lie in: its shape *S, and which page of its file it is, by number and by axes.

    `page` is None for the only page of a file. `lengths` are how many pages the file has along the axes T and Z, and
    along "" in all, as far as it is known. `counted` means that neither T nor Z counts the pages, so that the number
    says which it is, alone.
    """

    shape: tuple[int, ...]
    page: int | None = None
    place: tuple[tuple[str, int], ...] = ()
    counted: bool = False
    lengths: tuple[tuple[str, int], ...] = ()


def draw_labels(path: Path, entry: int, numbering: Numbering, canvas: Canvas | None) -> NDArray[np.int32]:
    """The labels (*S) of one image. Shapes that leave no pixel are named.

    Shapes with one number are one object in all planes of a volume. Others are joined where they overlap
    (`join_planes`). Raises ContractileError where no shape lies in the image, and where neither the file nor anybody
    says how large it is.
    """
    if shape_kind(path) == "Cellpose":
        return _masks(path, canvas)
    drawing = open_shapes(path)[entry]
    shape = canvas.shape if canvas is not None and (drawing.size is None or len(canvas.shape) == 3) else drawing.size
    if shape is None:
        problem = "holds shapes, which do not say how large their image is"
        cure = "contractile check images/ shapes/ --fix labels/ writes label images: give those"
        raise ContractileError(problem, cure, where=path)
    drawn = drawing.load()
    canvas = Canvas(shape) if canvas is None else canvas
    page, place, lengths = canvas.page or 0, dict(canvas.place), dict(canvas.lengths)
    if len(shape) == 2:
        drawn = count_pages(drawn) if canvas.counted else drawn
        if canvas.page is not None:
            place[""] = page
        elif (several := len({tuple(sorted(one.plane.items())) for one in drawn if one.plane})) > 1:
            say(f"its shapes lie on {several} planes, and the image has one: all are drawn on it", [path])
        _tell_elsewhere(path, drawn, lengths)
        [plane] = settle_numbers([on_page(drawn, place)])
        return _draw(path, plane, shape, numbering)
    place |= {"T": page} if canvas.counted else {}
    lengths |= {"T": lengths[""]} if canvas.counted and "" in lengths else {}
    pages = 1 if canvas.page is None else lengths.get("")
    lengths |= {"Z": shape[0]} | ({"": pages * shape[0]} if pages else {})
    _tell_elsewhere(path, drawn, lengths)
    planes = [on_page(drawn, {**place, "Z": depth, "": page * shape[0] + depth}) for depth in range(shape[0])]
    planes = settle_numbers(planes)
    known = max((one.number for plane in planes for one in plane), default=0)
    labels = np.stack([_draw(path, plane, shape[1:], numbering, known) for plane in planes])
    return labels if numbering.classes else join_planes(labels, known)


def _tell_elsewhere(path: Path, drawn: Sequence[Any], lengths: Mapping[str, int]) -> None:
    """Say what is known of planes that the image lacks. Raises ContractileError where all shapes lie in such."""
    elsewhere = count_elsewhere(drawn, lengths)
    if elsewhere and elsewhere == len(drawn):
        raise refuse_elsewhere(len(drawn), lengths, path)
    if elsewhere:
        say(f"{elsewhere} of {len(drawn)} shapes lie on other planes", [path])


def _masks(path: Path, canvas: Canvas | None) -> NDArray[np.int32]:
    masks = read_masks(path)
    if canvas is not None and len(canvas.shape) == 2 and masks.ndim == 3:
        if (canvas.page or 0) >= len(masks):
            problem = f"masks must have a plane for each page, got {len(masks)} planes for page {canvas.page}"
            raise ContractileError(problem, "give the stack that they were made on", where=path)
        plane: NDArray[np.int32] = masks[canvas.page or 0]
        return plane
    return masks


def _draw(
    path: Path, drawn: Sequence[Any], shape: tuple[int, ...], numbering: Numbering, known: int | None = None
) -> NDArray[np.int32]:
    with fitting(path, "a file of shapes that can be drawn", "export it again"):
        result = fill(drawn, (shape[0], shape[1]), numbering, known=known)
    if drawn and len(result.outside) == len(drawn):
        raise refuse_outside(len(drawn), shape, path)
    reasons = {
        "lie outside the image": result.outside,
        "have no pixel of their own": result.hidden,
        "are too small to hold the centre of a pixel": result.small,
    }
    for what, names in reasons.items():
        if names:
            more = " ..." if len(names) > SHOWN else ""
            say(f"{len(names)} of {len(drawn)} shapes {what} ({', '.join(names[:SHOWN])}{more})", [path])
    if result.unnamed:
        say(f"{result.unnamed} of {len(drawn)} shapes have no class, where others have one, and are left out", [path])
    return result.labels


def join_planes(labels: NDArray[np.int32], known: int = 0) -> NDArray[np.int32]:
    """Numbers of a volume (Z, Y, X). Those up to `known` stay; objects of larger ones were numbered plane by plane.

    Such an object is one with an object of the plane before, where they share more than half of the smaller one's
    pixels.
    """
    joined = labels.copy()
    last = known
    for depth in range(len(labels)):
        own = np.maximum(labels[depth] - known, 0)
        numbers = np.arange(int(own.max(initial=0)) + 1, dtype=np.int32)
        numbers[1:] += last
        if depth:
            _take_over(numbers, own, joined[depth - 1])
        last = max(last, int(numbers.max()))
        joined[depth] = np.where(own > 0, numbers[own], labels[depth])
    return joined


def _take_over(numbers: NDArray[np.int32], own: NDArray[np.int32], before: NDArray[np.int32]) -> None:
    """Give the objects of a plane the numbers of those in the plane `before` that they overlap."""
    shared = (own > 0) & (before > 0)
    pairs, counts = np.unique(np.stack([own[shared], before[shared]], axis=1), axis=0, return_counts=True)
    size = np.bincount(own[own > 0])
    size_before = dict(zip(*(each.tolist() for each in np.unique(before, return_counts=True)), strict=True))
    done: set[int] = set()
    taken: set[int] = set()
    for index in np.argsort(-counts, kind="stable"):
        one, other = map(int, pairs[index])
        if 2 * counts[index] > min(size[one], size_before[other]) and one not in done and other not in taken:
            numbers[one] = other
            done.add(one)
            taken.add(other)
