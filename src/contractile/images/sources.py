"""Places where images are (a folder, a glob, a file, a stack of pages) -> one Source per image."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contractile.errors import ContractileError, NotFound
from contractile.images.axes import arrange
from contractile.images.formats import PICTURES, SUPPORTED, open_rasters, unsupported
from contractile.images.image import Stack
from contractile.images.raster import one_clear_line
from contractile.images.zarrs import is_zarr


@dataclass(frozen=True)
class Source:
    """One image on disk.

    `page` counts the images in a file from 0; it is None for a file with a single image. `name` is the stem of the
    file, followed by the page where there is one: `stack_0007`. `axes` are the letters that somebody gave for the axes
    of the file; None leaves them to what the file says. `stack` says what the pages of the file are.
    """

    name: str
    path: Path
    page: int | None = None
    axes: str | None = None
    stack: Stack | None = None


def find(where: str | Path | Sequence[str | Path], *, dims: int = 2) -> list[Source]:
    """The images at a folder, glob, file, or list of those, in natural order (t2 before t10).

    With `dims` 2 each plane of a stack is an image; with 3 each volume is one. TIFFs are opened to count their pages.
    A truncated one is found here only where that costs nothing; `read` finds all.

    Raises NotFound where nothing is there, and ContractileError for an empty folder, a format that is not read, a
    truncated file, or axes that make no image of `dims` dimensions.
    """
    return [source for path in list_files(where) for source in _sources_in(path, dims)]


def list_files(where: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that `find` looks into, not opened. Raises as `find` does for places, not for what files hold."""
    places = [where] if isinstance(where, str | Path) else list(where)
    if not places:
        raise ContractileError("where must name at least one folder or file, got an empty list", "give one")
    return [path for place in places for path in _files_at(place)]


def stem(path: Path) -> str:
    """The name of a file without the suffixes of its format: a.ome.tif -> a."""
    return re.sub(r"(\.ome)?\.[^.]+$", "", path.name, flags=re.IGNORECASE) or path.name


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts digits as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.lower()) for part in parts]


def _files_at(place: str | Path) -> list[Path]:
    path = Path(place).expanduser()
    if path.is_dir() and not is_zarr(path):
        return _files_in(path)
    if path.exists():
        return [path]
    if not glob.has_magic(str(place)):
        raise NotFound("nothing there", "check the spelling and the working folder", where=place)
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]
    if not matches:
        raise NotFound("no file matches", "check the pattern and the working folder", where=place)
    readable = [match for match in matches if _is_readable(match)]
    if not readable:
        raise unsupported(matches[0].suffix, where=place)
    return sorted(readable, key=natural)


def _files_in(folder: Path) -> list[Path]:
    with one_clear_line(folder):
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    readable = [entry for entry in entries if _is_readable(entry)]
    if readable:
        return sorted(readable, key=natural)
    if not entries:
        raise ContractileError("the folder is empty", "give the folder that holds the images", where=folder)
    folders = sorted(entry.name for entry in entries if entry.is_dir())
    if folders:
        problem = f"no image in it, only folders ({', '.join(folders[:3])})"
        raise ContractileError(problem, "give one of those", where=folder)
    [(suffix, count)] = Counter(entry.suffix for entry in entries).most_common(1)
    error = unsupported(suffix, where=folder)
    raise ContractileError(f"no image in it, only {count} file(s): {error.problem}", error.cure, where=folder)


def _is_readable(path: Path) -> bool:
    return is_zarr(path) if path.is_dir() else path.suffix.lower() in SUPPORTED


def _sources_in(path: Path, dims: int) -> list[Source]:
    name = stem(path)
    if path.suffix.lower() in PICTURES:  # one page each
        return [Source(name, path)]
    with open_rasters(path, dims=dims) as rasters:
        pages = sum(arrange(one.axes, one.lengths, dims=dims, file=str(path)).pages for one in rasters)
    return [Source(name, path)] if pages == 1 else [Source(f"{name}_{page:04d}", path, page) for page in range(pages)]
