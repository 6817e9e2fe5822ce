"""The metadata of OME-TIFF: which files an image is in, and which XML tifffile may trust.

tifffile opens whatever file the XML names, and makes black planes of what it does not find. So the names are settled
before it sees them: only plain names of regular files in the same folder are opened, a renamed file is found by its
identifier, and what is missing is named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import tifffile

from contractile.errors import ContractileError
from contractile.images.gate import check_pages, check_xml, limits, read_metadata
from contractile.images.names import some
from contractile.images.raster import FILL, one_clear_line

IDENTIFIER = re.compile(r"<(?:\w+:)?OME\b[^>]*?\sUUID\s*=\s*[\"']([^\"']+)[\"']")
COMPANION = ".companion.ome"
CHAIN = ("Image", "Pixels", "TiffData", "UUID")  # the elements that lead to the name of a file, each in the one before
EXPORT = "export it again, or crop it to the planes that are there"


@dataclass(frozen=True)
class Ome:
    """The <Image> elements that the file holds planes of, and what to tell the user.

    `xml` is the text for tifffile where that of the file does not do; None where it does.
    """

    images: tuple[Element, ...] = ()
    xml: str | None = None
    notes: tuple[str, ...] = ()


def settle_ome(text: str, path: Path) -> Ome:
    """Settle the XML of the OME-TIFF at `path`.

    Raises ContractileError where planes of its images lie in files that are missing, or that may not be opened.
    """
    try:
        root = ElementTree.fromstring(check_xml(text, path))
    except ElementTree.ParseError:
        return Ome()  # tifffile says that it cannot read the XML
    folder = _Folder(path)
    own = root.get("UUID")
    binary = root.find("{*}BinaryOnly")
    if binary is not None:
        companion = _find_companion(binary, folder)
        if companion is None:
            name = binary.get("MetadataFile")
            return Ome(notes=(f"its metadata file {name} is missing: its pages are read without their meaning",))
        root = _parse(companion)
        root.set("UUID", own or "")
    _check_form(root, path)
    return _settle(root, own, folder, changed=binary is not None)


def _settle(root: Element, own: str | None, folder: _Folder, *, changed: bool) -> Ome:
    """Only the images that the file holds planes of: others are found in the files that hold them."""
    everything = tuple(root.findall("{*}Image"))
    names = {_text(uuid): uuid.get("FileName") or None for uuid in _uuids(root)}
    own = _own(names, own, folder.path)
    images = tuple(image for image in everything if _holds(image, own))
    used = {_text(uuid) for image in images or everything for uuid in _uuids(image)}
    exact = own in names  # else identifiers are not kept, and only names can be trusted
    files = {uuid: folder.path if uuid == own else folder.find(names[uuid], uuid, exact) for uuid in used}
    notes = _leave_out(root, names, {uuid for uuid, file in files.items() if file is None}, len(files), folder.path)
    changed |= bool(notes)
    if not images and files:
        problem = (
            f"its metadata are those of other files: {some(sorted({file.name for file in files.values() if file}))}"
        )
        raise ContractileError(problem, "give it back its name, or export it again", where=folder.path)
    if not images:  # nothing says which page is what
        check_pages(sum(map(_count, everything)), folder.path)
        return Ome(everything)
    for image in everything:
        if image not in images:
            root.remove(image)
            changed = True
        else:
            notes += _check_planes(image, folder.path)
    check_pages(sum(map(_count, images)), folder.path)
    changed |= _write_names(root, own, files, folder.path)
    return Ome(images, ElementTree.tostring(root, "unicode") if changed else None, notes)


def _holds(image: Element, own: str | None) -> bool:
    """Whether planes of an image are in the file itself: those with its identifier, or without any."""
    uuids = [data.find("{*}UUID") for data in image.findall("{*}Pixels/{*}TiffData")]
    return any(uuid is None or _text(uuid) == own for uuid in uuids)


def _check_form(root: Element, path: Path) -> None:
    """Raise ContractileError for names of elements that tifffile, which looks at their ends, takes for others.

    It makes room for the planes along a modulo, too.
    """
    inside = [root]
    for name in CHAIN:
        inside = [one for element in inside for one in element if one.tag.endswith(name)]
        odd = next((tag for one in inside if (tag := one.tag.rpartition("}")[2]) != name), None)
        if odd is not None:
            raise ContractileError(f"its XML has the unknown element {odd!r:.60}", "export it again", where=path)
    for element in root.iter():
        if {"Start", "End"} <= element.attrib.keys():
            start, end, step = (float(element.get(key, 1)) for key in ("Start", "End", "Step"))
            check_pages(int(abs((end - start) / step)) + 1, path)


def _check_planes(image: Element, path: Path) -> tuple[str, ...]:
    """Raise ContractileError where the XML lists fewer planes than an image has. tifffile makes them of zeros.

    Where the gate allows that, it is noted.
    """
    pixels = image.find("{*}Pixels")
    assert pixels is not None
    try:
        planes = _planes(pixels)
        listed = sum(_planes_in(data, planes) for data in pixels.findall("{*}TiffData"))
    except (ValueError, ZeroDivisionError):
        return ()  # tifffile says what it cannot read
    if listed >= planes:
        return ()
    problem = f"{planes - listed} of its {planes} planes are missing ({1 - listed / planes:.0%} of it)"
    if limits().missing:
        return (f"{problem}; 0 is read in their place",)
    raise ContractileError(problem, f"{EXPORT}; {FILL}", where=path)


def _planes(pixels: Element) -> int:
    """The planes of an image by its axes."""
    channel = pixels.find("{*}Channel")
    samples = int(channel.get("SamplesPerPixel", 1)) if channel is not None else 1
    return math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT") // samples


def _planes_in(data: Element, all_planes: int) -> int:
    """The planes that a TiffData element stands for; without any number it is all of the file."""
    return int(data.get("PlaneCount", data.get("NumPlanes", all_planes if data.get("IFD") is None else 1)))


def _count(image: Element) -> int:
    """The planes that tifffile makes room for: those of the axes, those listed, and those in front of these."""
    total = 0
    for pixels in image.findall("{*}Pixels"):
        with suppress(ValueError, ZeroDivisionError):
            planes = _planes(pixels)
            listed = [abs(_planes_in(data, planes)) for data in pixels.findall("{*}TiffData")]
            total += max(planes, sum(listed))
    return total


def _leave_out(root: Element, names: dict[str, str | None], gone: set[str], of: int, path: Path) -> tuple[str, ...]:
    """Take the planes of missing files out of the XML, and say so. Raises ContractileError where the gate is closed."""
    if not gone:
        return ()
    missing = some(sorted(names[uuid] or uuid for uuid in gone))
    problem = f"{len(gone)} of the {of} files that hold this image are missing: {missing}"
    if not limits().missing:
        raise ContractileError(problem, f"put all files of the set into one folder; {FILL}", where=path)
    for pixels in root.findall("{*}Image/{*}Pixels"):
        for data in pixels.findall("{*}TiffData"):
            uuid = data.find("{*}UUID")
            if uuid is not None and _text(uuid) in gone:
                pixels.remove(data)
    return (f"{problem}; 0 is read in their place",)


def _uuids(element: Element) -> Iterator[Element]:
    """The names of files in an element; TiffData without such a name is in the file itself."""
    for data in element.iterfind(".//{*}TiffData"):
        uuid = data.find("{*}UUID")
        if uuid is not None:
            yield uuid


def _text(uuid: Element) -> str:
    return (uuid.text or "").strip()


def _own(names: dict[str, str | None], own: str | None, path: Path) -> str | None:
    """The identifier of the file itself, which may have lost it, or have been renamed."""
    here = path.name.casefold()
    by_name = [uuid for uuid, name in names.items() if re.split(r"[/\\]", name or "")[-1].casefold() == here]
    alone = [*names] if len(names) == 1 else []
    return own if own in names else next(iter([*by_name, *alone]), own)


def _write_names(root: Element, own: str | None, files: dict[str, Path | None], path: Path) -> bool:
    """Write the names that were found into the XML. Whether tifffile would have opened other files without that."""
    changed = own in files and root.get("UUID") != own
    if own is not None:
        root.set("UUID", own)
    for uuid in _uuids(root):
        file = files[_text(uuid)] or path
        changed |= uuid.text != _text(uuid) or (file != path and file.name != uuid.get("FileName"))
        uuid.text = _text(uuid)
        uuid.set("FileName", file.name)
    return changed


def _find_companion(binary: Element, folder: _Folder) -> Path | None:
    name, uuid = binary.get("MetadataFile", ""), binary.get("UUID")
    found = folder.named(name) if name else None
    if found is not None:
        return found
    return next((file for file in folder.companions if _identifier(_read(file)) == uuid), None)


def _parse(companion: Path) -> Element:
    try:
        return ElementTree.fromstring(check_xml(_read(companion), companion))
    except (ElementTree.ParseError, OSError, UnicodeError) as error:
        raise ContractileError(f"its XML cannot be read ({error})", "copy it again", where=companion) from error


def _read(companion: Path) -> str:
    return read_metadata(companion).decode("utf-8-sig")


def _identifier(xml: str) -> str | None:
    found = IDENTIFIER.search(xml)
    return found.group(1) if found else None


class _Folder:
    """The folder of an OME-TIFF, in which the other files of its set are looked up by name and by identifier."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def named(self, name: str) -> Path | None:
        """The file of this name. Raises ContractileError for a name that leads elsewhere, or to no regular file."""
        if name != Path(name).name or "\\" in name or "\0" in name or name == "..":
            problem = f"its metadata name a file outside its folder ({name!r}), which is not opened"
            raise ContractileError(problem, "export the set again, all files into one folder", where=self.path)
        file = self.path.parent / name
        if file.exists() and not file.is_file():
            problem = f"its metadata name {name!r}, which is no regular file and is not opened"
            raise ContractileError(problem, "remove it, or export the image again", where=self.path)
        return file if file.exists() else None

    def find(self, name: str | None, uuid: str, exact: bool) -> Path | None:
        """A file of the set, renamed or not. With `exact` a file of this name in another set does not count."""
        file = None if name is None else self.named(name)
        if file is not None and (_identifier_of(file) in (None, uuid) or not exact):
            return file
        return self.by_identifier.get(uuid)

    @cached_property
    def by_identifier(self) -> dict[str, Path]:
        """All TIFFs beside the file that have an identifier."""
        files = [file for file in self._regular(".tif", ".tiff", ".tf2", ".tf8", ".btf") if file != self.path]
        found: dict[str, Path] = {}
        for file in files:
            with suppress(ContractileError):  # whoever reads that file says what is wrong with it
                found[_identifier_of(file) or ""] = file
        return found

    @cached_property
    def companions(self) -> list[Path]:
        return self._regular(COMPANION)

    def _regular(self, *suffixes: str) -> list[Path]:
        entries = sorted(self.path.parent.iterdir())
        return [entry for entry in entries if entry.name.lower().endswith(suffixes) and entry.is_file()]


def _identifier_of(file: Path) -> str | None:
    """The identifier that an OME-TIFF has for itself. Raises ContractileError for a file that is no TIFF."""
    return _read_identifier(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4096)
def _read_identifier(file: Path, _: int) -> str | None:
    with one_clear_line(file), tifffile.TiffFile(file) as tiff:
        return _identifier(str(tiff.pages.first.description))


def check_names(names: Iterable[str], path: Path) -> None:
    """Raise ContractileError where the file at `path` names files that lie elsewhere, or are no regular files."""
    folder = _Folder(path)
    for name in {*names}:
        folder.named(name)
