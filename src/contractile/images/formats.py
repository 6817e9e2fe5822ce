"""A file -> rasters: arrays on disk with named axes, in the order of the file. Only slicing reads pixels."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from contractile.errors import ContractileError, NotFound
from contractile.images.content import DEVELOP, format_of
from contractile.images.gate import refuse_special, what_is
from contractile.images.known import BY_NAME, FORMATS, SUFFIXES, ZARR, Wanted
from contractile.images.naming import name_axes, note_on_picture
from contractile.images.raster import Raster, one_clear_line
from contractile.images.zarr_metadata import is_zarr

PICTURES = tuple(one.name for one in FORMATS if one.picture)  # one image each, whose axes are known
SUPPORTED = tuple(SUFFIXES)
MICROSCOPE = (".vsi", ".dv", ".mrc", ".zvi", ".ets", ".lof", ".xlef", ".stk", ".mvd2", ".vms")  # not read here
HOLLOW = (".vsi",)  # a TIFF of small pictures; the image lies in a folder beside it
# Many are TIFFs, whose first page is a small picture of the whole.
CAMERA = (
    *(".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".dng", ".orf", ".raf", ".rw2", ".pef", ".srw"),
    *(".3fr", ".iiq", ".kdc", ".dcr", ".erf", ".mos", ".mef", ".mrw", ".x3f", ".rwl"),
)
HEADERLESS = (".raw", ".bin", ".dat", ".data")


@contextmanager
def open_rasters(path: Path, *, dims: int, indices: bool = False, axes: str | None = None) -> Iterator[list[Raster]]:
    """The rasters of a file, with names for all axes. They can be used until the `with` block ends.

    With `indices` (for labels) a palette gives the number of each colour, not the colour, and no axis that the file
    does not name is channels. `axes` are letters that somebody gives for the axes of the file; a picture needs none,
    and gets a note where they do not fit.
    """
    with ExitStack() as files:
        kind = kind_of(path)
        opens = BY_NAME[kind].opens
        assert opens is not None, kind
        rasters = opens(path, Wanted(files, dims, indices))
        if BY_NAME[kind].picture:
            yield [_noted(one, path, kind, *note_on_picture(axes, one.axes)) for one in rasters]
            return
        name = partial(name_axes, axes=axes, dims=dims, file=str(path), pages_first=kind == "TIFF", labels=indices)
        yield [_noted(name(raster), path, kind) for raster in rasters]


def kind_of(path: Path) -> str:
    """The name of the format of a file, by its content; by its name where the content says nothing.

    Raises NotFound, and ContractileError for a format that is not read, and for a pipe or a device: none is opened.
    """
    with one_clear_line(path):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise _absent(path) from None
    what = what_is(found.st_mode)
    if what is not None:
        raise refuse_special(what, path)
    if stat.S_ISDIR(found.st_mode):
        if is_zarr(path):
            return ZARR
        raise ContractileError("is a folder, not an image", "use find() to list the images in it", where=path)
    suffix = path.suffix.lower()
    if suffix in (*CAMERA, *HOLLOW) or (suffix not in SUFFIXES and not found.st_size):
        raise unsupported(suffix, where=path)
    kind = _format_of(path, found.st_ino, found.st_mtime_ns, found.st_size) or SUFFIXES.get(suffix)
    if kind is None:
        raise unsupported(suffix, where=path)
    return kind


@lru_cache(maxsize=4096)
def _format_of(path: Path, *_: int) -> str | None:
    """`format_of` a file that has not changed: it is listed first and read later."""
    return format_of(path)


def _absent(path: Path) -> NotFound:
    if path.is_symlink():
        problem = f"is a link to {path.readlink()}, which is not there"
        return NotFound(problem, "copy the file itself (`git annex get` for git-annex)", where=path)
    return NotFound("no such file", "check the spelling and the working folder", where=path)


def misnamed(path: Path, kind: str) -> str | None:
    """What to tell about a file whose name promises another format than it has."""
    named = SUFFIXES.get(path.suffix.lower(), kind)
    return None if named == kind else f"named {path.suffix}, but the content is {kind}; it is read as {kind}"


def _noted(raster: Raster, path: Path, kind: str, *more: str) -> Raster:
    notes = (*filter(None, [misnamed(path, kind)]), *more)
    return replace(raster, notes=(*notes, *raster.notes)) if notes else raster


def refusal(path: Path) -> ContractileError:
    """The error for a file that is not read: by its content where that is known, else by its suffix."""
    if path.suffix.lower() not in MICROSCOPE and os.path.isfile(path):
        try:
            kind_of(path)
        except ContractileError as error:
            return error
    return unsupported(path.suffix, where=path)


def unsupported(suffix: str, *, where: object) -> ContractileError:
    """The error for a file with a suffix that is not read."""
    if suffix.lower() in MICROSCOPE:
        cure = "export it as OME-TIFF (Fiji: Bio-Formats Exporter)"
        return ContractileError(f"{suffix} is a microscope maker's format", cure, where=where)
    if suffix.lower() in CAMERA:
        return ContractileError(f"{suffix} is a raw format of cameras", DEVELOP, where=where)
    if suffix.lower() in HEADERLESS:
        cure = "import it in Fiji (File > Import > Raw) and save it as TIFF"
        return ContractileError(f"{suffix} does not say what size and type its pixels have", cure, where=where)
    problem = f"unknown format {suffix or '(no suffix)'}"
    return ContractileError(problem, f"the formats read are {' '.join(SUPPORTED)}: convert it", where=where)
