"""What a file holds, by its first bytes. The content decides which reader opens a file, not its name."""

from __future__ import annotations

import io
import re
import zlib
from contextlib import suppress
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images.gate import check_regular
from contractile.images.known import FORMATS
from contractile.images.raster import one_clear_line

DEVELOP = "develop it, with the same settings for all, to 16-bit TIFF (RawTherapee, darktable)"
TO_PNG = "convert it to PNG or TIFF"
TO_TIFF = "save the image in it as TIFF or OME-Zarr"
UNPACK = "unpack it and give what is inside"
AGAIN = "download the file again, from the link to the file itself"
# (what the file is, its first bytes, what to do); the first that fits counts
REFUSED: tuple[tuple[str, bytes, str], ...] = (
    ("an .npz archive of arrays", rb"PK\x03\x04.{26}[^/]{1,80}?\.npy", "save each array in it as .npy or TIFF"),
    (
        "a zip of ImageJ's ROIs",
        rb"PK\x03\x04.{26}[^/]{1,80}?\.roi",
        "give the image; these are labels, in a file named .zip",
    ),
    (
        "a packed Zarr",
        rb"PK\x03\x04.{26}[^/]{0,80}?/?(\.zgroup|\.zarray|\.zattrs|zarr\.json)",
        "unpack it into a folder",
    ),
    ("a zip archive", rb"PK\x03\x04", UNPACK),
    ("a gzip archive", rb"\x1f\x8b", UNPACK),
    ("a 7z archive", rb"7z\xbc\xaf\x27\x1c", UNPACK),
    ("a RAR archive", rb"Rar!", UNPACK),
    ("an xz archive", rb"\xfd7zXZ\0", UNPACK),
    ("a bzip2 archive", rb"BZh[1-9]1AY&SY", UNPACK),
    ("a Zstandard archive", rb"\x28\xb5\x2f\xfd", UNPACK),
    ("a tar archive", rb".{257}ustar", UNPACK),
    ("an AVI film", rb"RIFF.{4}AVI ", "export its frames as TIFF"),
    ("a camera's raw file", rb"II\*\0.{4}CR\x02|.{4}ftypcrx |FUJIFILMCCD-RAW|II(RO|RS|U\0)|FOVb|\0MRM", DEVELOP),
    ("a HEIC or AVIF picture", rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1|avif|avis)", TO_PNG),
    ("a film", rb".{4}ftyp|\x1aE\xdf\xa3", "export its frames as TIFF"),
    ("a JPEG 2000 picture", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", TO_PNG),
    ("a JPEG XL picture", rb"\xff\x0a|\0\0\0\x0cJXL ", TO_PNG),
    ("an OpenEXR picture", rb"\x76\x2f\x31\x01", TO_PNG),
    ("a Photoshop file", rb"8BPS", TO_PNG),
    ("a PNM picture", rb"P[1-7]\s", TO_PNG),
    ("a PDF document", rb"%PDF", "export the image itself from the program that made it"),
    ("a PostScript file", rb"%!PS|\xc5\xd0\xd3\xc6", "export the image itself from the program that made it"),
    ("a MATLAB file", rb"MATLAB 5\.0", TO_TIFF),
    ("a DICOM file", rb".{128}DICM", TO_TIFF),
    ("a NIfTI file", rb".{344}n[i+]1\0", TO_TIFF),
    ("an NRRD file", rb"NRRD0", TO_TIFF),
    ("an MRC file", rb".{208}MAP[ \0]", TO_TIFF),
    ("a FITS file", rb"SIMPLE  =", TO_TIFF),
    ("an ROI of ImageJ", rb"Iout", "give the image; this is a label, in a file named .roi"),
    ("a pickle of Python", rb"\x80[\x02-\x05]", "save the array in it as TIFF or .npy"),
    ("a side file of macOS, without pixels", rb"\0\x05\x16\x07", "give the file whose name lacks the ._ in front"),
    ("a pointer of Git LFS, not the image", rb"version https://git-lfs", "fetch the image with `git lfs pull`"),
    ("a pointer of git-annex, not the image", rb"/?annex/objects/", "fetch the image with `git annex get`"),
    ("a web page, not an image", rb"(?i:\s*(<!--.*?-->\s*)?(<!doctype html|<html|<head))", AGAIN),
    ("an answer of a web server, not an image", rb"(?i:\s*<\?xml[^>]*>\s*<error|\s*\{\s*\"(message|error))", AGAIN),
    ("an SVG drawing", rb"(?is:\s*(<\?xml.*?)?<svg)", TO_PNG),
    ("nothing but zeros (a copy that broke off?)", rb"\0{512}", "copy the file again or re-export it"),
)
LONGEST = 512  # bytes that the patterns look at
GZIP = 16 + zlib.MAX_WBITS  # zlib's name for the header of a gzip archive
CUT = 3  # bytes that one letter may lack
SHOWN = 24  # characters of a text in a message


def format_of(path: Path) -> str | None:
    """The name of the format of a file that a reader here opens; None where the content says nothing.

    Raises ContractileError, with a cure, for an empty file and for content that no reader here opens.
    """
    check_regular(path)
    with one_clear_line(path):
        size = path.stat().st_size
        with path.open("rb") if size else io.BytesIO() as file:  # what a system makes up, as in /proc, has no size
            head = file.read(LONGEST)
    if not head:
        problem = "unreadable or truncated (an empty file, 0 bytes)"
        raise ContractileError(problem, "copy the file again or re-export it", where=path)
    for one in FORMATS:
        own = one.own_magic if path.suffix.lower() in one.suffixes else None
        if any(re.match(pattern, head, re.DOTALL) for pattern in (one.magic, own) if pattern):
            return one.name
    refused = _refused(head)
    if refused is not None:
        what, cure = refused
        inside = _refused(_unpacked(head))
        if inside is not None and inside[1] == TO_TIFF:  # a .nii.gz: to unpack it would not help
            what, cure = f"{what} of {inside[0]}", TO_TIFF
        raise ContractileError(f"is {what}", cure, where=path)
    begin = _text(head)
    if begin:
        raise ContractileError(f"is text, not an image (it begins with {begin!r})", "give the image itself", where=path)
    return None


def _refused(head: bytes) -> tuple[str, str] | None:
    """What a file is that no reader here opens, and what to do; None for others."""
    fits = ((what, cure) for what, pattern, cure in REFUSED if re.match(pattern, head, re.DOTALL))
    return next(fits, None)


def _unpacked(head: bytes) -> bytes:
    """The first bytes of what a gzip archive holds; empty where it is none, or damaged."""
    with suppress(zlib.error):
        return zlib.decompressobj(GZIP).decompress(head, LONGEST)
    return b""


def _text(head: bytes) -> str | None:
    """How the file begins, on one line, where that is text; else None."""
    cut = CUT if len(head) == LONGEST else 0  # the last letter may have been cut in pieces
    try:
        text = head[: len(head) - cut].decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    line = " ".join(text.split())
    return line[:SHOWN] if line.isprintable() else None
