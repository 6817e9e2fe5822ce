"""ROIs of ImageJ: one file, or a zip of them, as the ROI Manager saves them. They need `contractile[rois]`.

An object of one ring is a traced ROI, one of several rings a composite one, so that it stays one object
(`roifile` has the layout of the file, which is that of ij.io.RoiDecoder).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.gate import check_regular, limits
from contractile.images.notes import say
from contractile.images.raster import one_clear_line
from contractile.images.shapes import Shape, number_in
from contractile.labels import Ring
from contractile.storage import replacing

INSTALL = "pip install 'contractile[rois]'"
LARGEST = 2**15 - 1  # coordinates are 16 bits
GROUPS = 255  # 8 bits; 0 is no group
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0  # steps of a path
AREAS = ("POLYGON", "RECT", "OVAL", "FREEHAND", "TRACED")
MOST = 10**6  # ROIs in a zip


def write_rois(path: Path, shapes: Iterable[Shape], *, groups: Mapping[str, int] | None = None) -> None:
    """Write shapes whose corners are whole numbers as a zip of ROIs, each under a name of its own.

    `groups` has a number 1 ... 255 for each class, which its shapes have as their group. Classes with other numbers
    have no group, which is said. Raises ContractileError for corners that ImageJ cannot hold, NotWritten, NotWritable,
    and where roifile is missing.
    """
    roifile = _load()
    kept = {kind: number for kind, number in (groups or {}).items() if 0 < number <= GROUPS}
    if groups and len(kept) < len(groups):
        say(f"ROIs have groups 1 to {GROUPS}: {len(groups) - len(kept)} of {len(groups)} classes have none", [path])
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as out:
        seen: dict[str, int] = {}
        for number, shape in enumerate(shapes, start=1):
            name = _unique(shape.name or f"{number:04d}", seen)
            out.writestr(f"{name}.roi", _pack(roifile, shape, name, kept.get(shape.kind, 0), path))


def _unique(name: str, seen: dict[str, int]) -> str:
    """A name that no ROI before has: in a zip, the second of one name would hide the first.

    `seen` are the names so far, and how often each was wanted.
    """
    plain = "".join(letter if letter.isprintable() and letter not in '/\\:*?"<>|' else "_" for letter in name)
    found, number = plain, seen.get(plain.casefold(), 1)
    while found.casefold() in seen:
        number += 1
        found = f"{plain} ({number})"
    seen[plain.casefold()] = number
    seen.setdefault(found.casefold(), 1)
    return found


def _pack(roifile: Any, shape: Shape, name: str, group: int, path: Path) -> bytes:
    corners = np.concatenate(shape.rings)
    if corners.min() < 0 or corners.max() > LARGEST:
        worst = int(min(corners.min(), 0) or corners.max())
        problem = f"ROIs of ImageJ must lie within 0 to {LARGEST} pixels, got {worst}"
        raise ContractileError(problem, "save labels, GeoJSON or COCO instead", where=path)
    top, left = (int(value) for value in corners.min(axis=0))
    bottom, right = (int(value) for value in corners.max(axis=0))
    places = {f"{axis.lower()}_position": shape.plane[axis] + 1 for axis in "TZ" if axis in shape.plane}
    if "" in shape.plane:
        places = {"position": shape.plane[""] + 1}
    box = {"top": top, "left": left, "bottom": bottom, "right": right, "name": name, "group": group, **places}
    if len(shape.rings) == 1:
        points = (shape.rings[0] - (top, left))[:, ::-1].astype(np.int32)
        kind = roifile.ROI_TYPE.TRACED
        roi = roifile.ImagejRoi(roitype=kind, n_coordinates=len(points), integer_coordinates=points, **box)
    else:
        along = _path(shape.rings)
        kind = roifile.ROI_TYPE.RECT
        roi = roifile.ImagejRoi(roitype=kind, shape_roi_size=len(along), multi_coordinates=along, **box)
    packed: bytes = roi.tobytes()
    return packed


def _path(rings: Iterable[Ring]) -> NDArray[np.float32]:
    steps: list[float] = []
    for ring in rings:
        for number, (y, x) in enumerate(ring.tolist()):
            steps += [LINE if number else MOVE, x, y]
        steps.append(CLOSE)
    return np.array(steps, np.float32)


def read_rois(path: Path) -> list[Shape]:
    """The shapes of a ROI file or of a zip of them. Lines and points have no area and are left out, which is said.

    The class of a shape is the group that the ROI Manager gave it, where it did. Raises NotFound, and ContractileError
    for a file that holds no ROIs, is too large, or where roifile is missing.
    """
    roifile = _load()
    check_regular(path)
    found = []
    with one_clear_line(path):
        packed = list(_packed(path))
    for name, data in packed:
        try:
            found.append(roifile.ImagejRoi.frombytes(data))
        except Exception as error:  # roifile raises what the bytes lead to
            problem = f"ROI {name} cannot be read ({type(error).__name__}: {error})"
            raise ContractileError(
                problem, "save it again in ImageJ (ROI Manager > More > Save)", where=path
            ) from error
    areas = [roi for roi in found if roi.roitype.name in AREAS]
    if len(areas) < len(found):
        say(f"{len(found) - len(areas)} of {len(found)} ROIs have no area and are left out", [path])
    return [_shape(roi) for roi in areas]


def _packed(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each ROI."""
    data = path.read_bytes() if path.stat().st_size <= limits().metadata else b""
    if not data:
        problem = f"ROIs must have at most {limits().metadata:,} bytes, got {path.stat().st_size:,}"
        raise ContractileError(problem, "split them into a file for each image", where=path)
    if data[:4] == b"Iout":
        yield path.stem, data
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            members = [one for one in packed.infolist() if one.filename.lower().endswith(".roi")]
            total = sum(one.file_size for one in members)
            if not members or len(members) > MOST or total > limits().metadata:
                problem = f"must hold 1 to {MOST:,} ROIs of at most {limits().metadata:,} bytes"
                problem = f"{problem}, got {len(members):,} of {total:,} bytes"
                raise ContractileError(problem, "give a zip that the ROI Manager saved", where=path)
            for one in members:
                yield one.filename, packed.read(one)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ContractileError(f"is not a zip of ROIs ({error})", "save it again in ImageJ", where=path) from error


def _shape(roi: Any) -> Shape:
    rings = (
        tuple(np.asarray(ring, np.float64)[:, ::-1] for ring in roi.coordinates(multi=True)) if roi.composite else ()
    )
    rings = rings or (np.asarray(roi.coordinates(), np.float64)[:, ::-1],)
    plane = {axis: int(place) - 1 for axis, place in (("T", roi.t_position), ("Z", roi.z_position)) if place > 0}
    if not plane and roi.position > 0:  # of a stack that is no hyperstack
        plane = {"": int(roi.position) - 1}
    kind, name = f"group {roi.group}" if roi.group else "", str(roi.name)
    return Shape(rings, kind=kind, name=name, plane=plane, number=number_in(name))


def check_rois() -> None:
    """Raise ContractileError where ROIs cannot be read or written."""
    _load()


def _load() -> Any:
    try:
        import roifile
    except ImportError:
        raise ContractileError("ROIs of ImageJ need the package roifile", INSTALL) from None
    return roifile
