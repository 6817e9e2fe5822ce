"""Which files are images and which are labels, where both lie in one place."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images.folders import below_common
from contractile.images.hdf5 import holds_image_and_labels
from contractile.images.known import SUFFIXES
from contractile.images.names import bare, holds_images, holds_labels, is_image_word, label_words, some, without_other
from contractile.images.notes import say
from contractile.images.shape_files import names_in, shape_kind
from contractile.images.sources import stem
from contractile.images.zarr_metadata import label_groups

PAGE = re.compile(r"_\d{4}$")
CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net's names: CASE_0000 is the first channel of the image of CASE
WEAK = re.compile(r"(?:(?:^|.*[\s_.\-])([il]|[xy])|([xy])[\s_.\-].*)", re.IGNORECASE)  # a3_i, a_l; X_train, y_train
OF_LABELS, OF_TILES = ".png", (".jpg", ".jpeg", ".tif", ".tiff")  # QuPath writes tiles, and their labels beside them
Sides = tuple[list[Path], list[Path]]


def _tell_apart(files: Sequence[Path]) -> Sides | None:
    """(images, labels): the files of one place by what their names say; None where nothing tells them apart.

    Labels are the files with a word such as mask, labels or seg. Where there is no such word, they are the files
    CASE beside CASE_0000, those without a word such as img beside as many that have one, those that end in _l beside
    _i (or _y beside _x), or the PNG files of the same names as files of another format, one by one.
    """
    rest = without_by_products(files)
    for find_labels, how in WAYS.items():
        found = find_labels(rest)
        images, labels = [file for file in rest if file not in found], [file for file in rest if file in found]
        if images and labels:
            if how:
                say(f"taken for labels of {images[0].name} by {how} alone", labels)
            return images, labels
    return None


def without_shapes(files: Sequence[Path]) -> list[Path]:
    """The files that hold pixels."""
    return [file for file in files if shape_kind(file) is None]


def shapes_or_rasters(files: Sequence[Path]) -> list[Path]:
    """Of files that are given as labels those of one kind, where some hold shapes and others pixels; others are said.

    Files of pixels are taken for labels, but for images where none has a word such as mask, the folder has none, and
    each has shapes of its own name.
    """
    rasters = without_shapes(files)
    shapes = [file for file in files if file not in rasters]
    if not rasters or not shapes:
        return list(files)
    names = {bare(name) for file in shapes for name in names_in(file)}
    named = any(label_words(stem(file)) or holds_labels(file.parent.name) for file in rasters)
    if not named and all(bare(stem(file)) in names for file in rasters):
        say("taken for images, since shapes of that name lie beside them", rasters)
        return shapes
    say("left out, since labels lie beside these shapes", shapes)
    return rasters


def only_images(files: Sequence[Path]) -> list[Path]:
    """The images among files that are given as images: without labels that lie beside them, and by-products."""
    rest = without_by_products(files)
    return _without(rest, _beside_images(rest))


def leave_out_labels(files: Sequence[Path], *, named: Collection[Path] = ()) -> list[Path]:
    """As `only_images`, and without folders of labels beside those of images. What is left out is said.

    Files that somebody `named` one by one stay where only the one letter of a folder, such as y, says that they are
    labels.
    """
    rest = without_by_products(files)
    beside = _beside_images(rest)
    say("left out, since they are named like labels of images beside them", beside)
    rest = _without(rest, beside)
    in_folders = _in_label_folders(rest, named)
    folders = list(dict.fromkeys(str(file.parent) for file in in_folders))
    say(f"left out, since they lie in folders of labels ({some(folders)})", in_folders)
    return _without(rest, in_folders)


def _beside_images(files: Sequence[Path]) -> list[Path]:
    """Labels such as a_mask.tif where there is an a.tif, or channels of it."""
    labels = _with_label_words(files)
    names = {bare(name) for file in files if file not in labels for name in (stem(file), _case(file))}
    return [file for file in files if file in labels and bare(stem(file)) in names]


def _case(file: Path) -> str:
    match = CHANNEL.fullmatch(stem(file))
    return match[1] if match else stem(file)


def _in_label_folders(files: Sequence[Path], named: Collection[Path]) -> list[Path]:
    """Files in folders such as masks, where others are in folders such as images; of y only those not `named`."""
    folders = {file: below.parts[:-1] for file, below in zip(files, below_common(files), strict=True)}
    if not any(map(holds_images, set(folders.values()))):
        return []
    return [
        file
        for file in files
        if any(holds_labels(part) and (len(part) > 1 or file not in named) for part in folders[file])
    ]


def only_labels(files: Sequence[Path]) -> list[Path]:
    """The labels among files that are given as labels: without images that lie beside them, and by-products."""
    return without_images(without_by_products(files))


def without_images(files: Sequence[Path]) -> list[Path]:
    """The files without those, such as a.tif, that have labels beside them, such as a_mask.tif."""
    labels = _with_label_words(files)
    names = {bare(stem(file)) for file in labels}
    images = [file for file in files if file not in labels and bare(stem(file)) in names]
    say("left out, since labels of that name lie beside it", images)
    return _without(files, images)


def without_by_products(files: Sequence[Path]) -> list[Path]:
    """The files without those such as a_flows.tif and a_overlay.png, where there is an a.tif or an a_mask.tif."""
    of = {file: without_other(stem(file)) for file in files}
    names = {bare(name) for file in files if of[file] is None for name in (stem(file), _case(file))}
    left_out = [file for file, name in of.items() if name and {name, PAGE.sub("", name)} & names]
    say("left out, since such files hold neither images nor labels", left_out)
    return _without(files, left_out)


def _without(files: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    gone = set(others)
    return [file for file in files if file not in gone]


def _with_label_words(files: Sequence[Path]) -> set[Path]:
    """The files with a label word that not all of them have."""
    words = {file: label_words(stem(file)) for file in files}
    shared = frozenset.intersection(*words.values()) if words else frozenset()
    return {file for file in files if words[file] - shared}


def _beside_channels(files: Sequence[Path]) -> set[Path]:
    cases = {match[1] for file in files if (match := CHANNEL.fullmatch(stem(file)))}
    found = {file for file in files if stem(file) in cases}
    return found if all(CHANNEL.fullmatch(stem(file)) for file in files if file not in found) else set()


def _without_image_words(files: Sequence[Path]) -> set[Path]:
    """The files without a word such as img or raw, where as many others have one."""
    found = {file for file in files if not is_image_word(stem(file))}
    return found if 2 * len(found) == len(files) else set()


def _with_weak_words(files: Sequence[Path]) -> set[Path]:
    """The files that end in _l where the others end in _i, as many as those; the same with y and x at an end."""
    ends = {file: (match[1] or match[2]).lower() for file in files if (match := WEAK.fullmatch(stem(file)))}
    for image, label in ("il", "xy"):
        found = {file for file in files if ends.get(file) == label}
        if 2 * len(found) == len(files) and set(ends.values()) == {image, label} and len(ends) == len(files):
            return found
    return set()


def _of_other_format(files: Sequence[Path]) -> set[Path]:
    """The PNG files, where all others are JPEG or TIFF and each PNG has the name of exactly one of them."""
    labels = {file for file in files if file.suffix.lower() == OF_LABELS}
    others = [file for file in files if file not in labels]
    names = {stem(file) for file in others if file.suffix.lower() in OF_TILES}
    return labels if len(names) == len(others) and {stem(file) for file in labels} <= names else set()


# How labels are found among files, and what is said where that is a guess.
WAYS = {
    _with_label_words: "",
    _beside_channels: "",
    _without_image_words: "their names",
    _with_weak_words: "a letter of their names",
    _of_other_format: "their format",
}


def apart(files: Sequence[Path]) -> Sides | None:
    """(images, labels) of one place: what names tell apart, or images and the labels within them; else None.

    Labels lie within OME-Zarr, and within HDF5, of which the same file is then on both sides.
    """
    rasters = without_shapes(files)
    if sides := _tell_apart(rasters):
        return sides
    if len(rasters) < len(files):
        return (only_images(rasters), [file for file in files if file not in rasters]) if rasters else None
    if labels := within_zarrs(files):
        return list(files), labels
    return (list(files), list(files)) if files and all(map(_is_both, files)) else None


def _is_both(file: Path) -> bool:
    """Whether one file is image and labels; only of HDF5."""
    return SUFFIXES.get(file.suffix.lower()) == "HDF5" and holds_image_and_labels(file)


def separate(images: list[Path], labels: list[Path]) -> Sides:
    """The same files, each on one side. A file that was given for both goes where names say, links followed.

    One that holds both stays on both sides.
    """
    keys = {file: _identity(file) for file in (*images, *labels)}
    of_images, of_labels = {keys[file] for file in images}, {keys[file] for file in labels}
    if not of_images & of_labels:
        return images, labels
    all_files = list({keys[file]: file for file in keys}.values())
    for sides in (apart(all_files), _by_longer_names(images, labels, keys)):
        if sides is not None:
            pictures = [file for file in sides[0] if keys[file] in of_images]
            truths = [file for file in sides[1] if file not in keys or keys[file] in of_labels]
            if pictures and truths:
                return pictures, truths
    raise same_files([file for file in images if keys[file] in of_labels])


def _identity(file: Path) -> tuple[int, int]:
    """The same for all links to one file; a file that is not there has one of its own."""
    try:
        found = os.stat(file)
    except OSError:
        return -1, hash(file)
    return found.st_dev, found.st_ino


def _by_longer_names(images: list[Path], labels: list[Path], keys: dict[Path, tuple[int, int]]) -> Sides | None:
    """Images without the labels among them, where the name of each label file is that of an image and more."""
    of_labels = {keys[file] for file in labels}
    rest = [file for file in images if keys[file] not in of_labels]
    names = tuple(stem(file) for file in rest)
    longer = names and all(stem(file).startswith(names) or stem(file).endswith(names) for file in labels)
    return (rest, labels) if longer else None


def within_zarrs(files: Sequence[Path]) -> list[Path]:
    """The labels within OME-Zarr images: IMAGE.zarr/labels/NAME. Raises ContractileError where one holds several."""
    labels: list[Path] = []
    for file in files:
        groups = label_groups(file)
        if len(groups) > 1:
            problem = f"holds several label images: {some([path.name for path in groups])}"
            cure = f"give the labels as {file.parent / '*.zarr' / 'labels' / groups[0].name}"
            raise ContractileError(problem, cure, where=file)
        labels += groups
    return labels


def same_files(files: Sequence[Path]) -> ContractileError:
    """The error for files that would be images and labels at once."""
    problem = f"images and labels are the same files: {some([file.name for file in files])}"
    cure = "give the labels names such as a_mask.tif beside a.tif, or a folder of their own"
    return ContractileError(problem, cure, where=files[0].parent)
