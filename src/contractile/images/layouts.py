"""The folders of the field -> the files of images and of labels, each with the name that it is paired by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images.folders import (
    DEEPEST,
    Place,
    below_common,
    files_in,
    folder_of,
    folders_in,
    has_files,
    role_folder,
    role_of,
    shape_files_in,
    train_folder,
)
from contractile.images.names import bare, some
from contractile.images.notes import say
from contractile.images.shape_files import names_in, shape_kind
from contractile.images.sides import (
    apart,
    only_images,
    only_labels,
    same_files,
    separate,
    shapes_or_rasters,
    within_zarrs,
    without_shapes,
)
from contractile.images.sources import list_files, stem
from contractile.images.zarr_metadata import is_zarr

SEQUENCE = re.compile(r"\d\d")  # of the Cell Tracking Challenge


@dataclass(frozen=True)
class Item:
    """The files of one image, or of the labels of one; `name` is what they are paired by.

    Several files are `together` one image: each holds a channel of it, or one object of its labels. Labels that are
    shapes are the `entry` of this number in their file.
    """

    name: str
    files: tuple[Path, ...]
    together: bool = False
    entry: int | None = None


Items = tuple[list[Item], list[Item]]


def list_items(images: Place, labels: Place | None = None) -> Items:
    """(images, labels) at two places, not opened and not paired. One place given twice, or once, holds both.

    A place is what `find` takes, or a folder of folders of files. A folder that holds both has files that their names
    tell apart (`sides.apart`), a folder of images beside a folder of labels (`images` and `masks`, `imagesTr` and
    `labelsTr`, `raw` and `label`, `x` and `y`), a folder `train` that has these, sequences of the Cell Tracking
    Challenge (`01` and `01_GT`), or a folder for each image (`ID/images`, and `ID/masks` with one object in each file).
    Labels may lie within an OME-Zarr image or an HDF5 file, or be shapes (`shape_files`), in a file for each image or
    in one for all.

    Raises ContractileError where one file is image and labels at once and nothing tells them apart; and as `find` for
    places.
    """
    labels = images if labels is None else labels
    folder, other = folder_of(images), folder_of(labels)
    if folder is not None and other is not None and folder.samefile(other):
        return _dataset(folder, DEEPEST)
    image_files = without_shapes(files_in(_inner(images, labels=False)))
    label_files = shapes_or_rasters(files_in(_inner(labels, labels=True), shapes=True))
    image_files, label_files = separate(image_files, label_files)
    if len(image_files) > 1 and (cases := _cases(image_files, label_files)):
        return _together(cases)
    return list_images(image_files), list_labels(label_files)


def holds_both(place: Place) -> bool:
    """Whether one place holds images and their labels, as `list_items` tells them apart."""
    try:
        images, labels = list_items(place)
    except ContractileError:
        return False
    return bool(images and labels)


def list_images(files: Sequence[Path]) -> list[Item]:
    """The images among these files, each with its name."""
    return _items(only_images(files))


def list_labels(files: Sequence[Path]) -> list[Item]:
    """The labels among these files, each with its name."""
    return _items(only_labels(files))


def list_truth(place: Place) -> list[Item]:
    """The labels at one place, which may hold their images, too. Raises as `list_items`."""
    folder = folder_of(place)
    if folder is not None and _inner(place, labels=True) == folder and not has_files(folder, shapes=True):
        return _dataset(folder, DEEPEST)[1]
    files = shapes_or_rasters(files_in(_inner(place, labels=True), shapes=True))
    return list_labels(within_zarrs(files) or files)


def _inner(place: Place, *, labels: bool) -> Place:
    """The folder within a place that holds the files of this role, where the place itself holds none."""
    folder, role = folder_of(place), "labels" if labels else "images"
    for _ in range(DEEPEST):
        if folder is None:
            return place
        if labels and (folder / "SEG").is_dir():  # where the Cell Tracking Challenge keeps its masks
            return folder / "SEG"
        inner = None if has_files(folder, shapes=labels) else role_folder(folder, role) or train_folder(folder)
        if inner is None:
            break
        folder = inner
    return place if folder is None else folder


def _dataset(folder: Path, deep: int) -> Items:
    """What one folder holds of both, in this folder and in those within."""
    if has_files(folder):
        return _mixed(folder, deep)
    if sequences := _sequences(folder):
        return _together(sequences)
    if found := _two_folders(folder):
        return found
    inside = folders_in(folder)
    inner = train_folder(folder) or (inside[0] if len(inside) == 1 else None)
    if inner is not None and deep:
        found = _dataset(inner, deep - 1)
        if len(inside) > 1:
            others = some([path.name for path in inside if path != inner])
            say(f"holds the images and labels that are taken, and not {others}", [inner])
        return found
    together = _each(folder, deep) if deep else None
    if together is None:
        list_files(folder)  # raises, since it holds no images
        raise AssertionError(folder)
    return together


def _mixed(folder: Path, deep: int) -> Items:
    """A folder with files: images and labels beside one another, or images, with their labels in a folder within.

    Where it is neither, its files say nothing, and what counts is in the folders within.
    """
    files = list_files(folder)
    if sides := apart(files):
        return _items(sides[0]), _items(sides[1])
    if shapes := shape_files_in(folder):
        return list_images(files), _items(shapes)
    if found := _two_folders(folder):
        return found
    inner = role_folder(folder, "labels")
    if inner is not None and has_files(inner, shapes=True):
        return list_images(files), list_labels(list_files(inner, shapes=True))
    within = _each(folder, deep) if deep else None
    if within is None:
        raise same_files(files)
    return within


def _two_folders(folder: Path) -> Items | None:
    """A folder of images beside a folder of labels."""
    image_folder, label_folder = role_folder(folder, "images"), role_folder(folder, "labels")
    if image_folder is not None and label_folder is None:
        if shapes := shape_files_in(folder):
            return list_images(files_in(image_folder)), _items(shapes)
        drawn = [path for path in folders_in(folder) if not has_files(path) and shape_files_in(path)]
        label_folder = drawn[0] if len(drawn) == 1 else None
    if image_folder is None or label_folder is None:
        return None
    images, labels = list_items(image_folder, label_folder)
    return images, _one_label_image(images, labels)


def _one_label_image(images: Sequence[Item], labels: Sequence[Item]) -> list[Item]:
    """The labels of a single image, where they are many files of other names: each holds one object."""
    others = len(images) == 1 and len(labels) > 1 and all(bare(one.name) != bare(images[0].name) for one in labels)
    if not others:
        return list(labels)
    return [Item(images[0].name, tuple(file for one in labels for file in one.files), together=True)]


def _sequences(folder: Path) -> dict[str, Items]:
    """The sequences of the Cell Tracking Challenge in a folder: 01 with 01_GT or 01_ST, whichever has more masks."""
    found: dict[str, Items] = {}
    for one in folders_in(folder):
        truths = [folder / f"{one.name}_{kind}" / "SEG" for kind in ("GT", "ST")]
        truths = [truth for truth in truths if SEQUENCE.fullmatch(one.name) and has_files(truth)]
        if truths:
            sides = [list_items(one, truth) for truth in truths]
            largest = max(range(len(truths)), key=lambda number: len(sides[number][1]))
            if len(truths) > 1:
                say(f"the labels are those of {truths[largest].parent.name}", [one])
            found[one.name] = sides[largest]
    return found


def _each(folder: Path, deep: int) -> Items | None:
    """The images and labels of all folders in a folder; None where these hold nothing that can be told apart."""
    found: dict[str, Items] = {}
    bad: list[str] = []
    for inner in folders_in(folder):
        try:
            found[inner.name] = _dataset(inner, deep - 1)
        except ContractileError:
            bad.append(inner.name)
    if found and bad:
        say(f"left out, no images with labels in them: {some(bad)}", [folder])
    return _together(found) if found else None


def _cases(images: Sequence[Path], labels: Sequence[Path]) -> dict[str, Items]:
    """By case, where each image lies in CASE/images and its labels in CASE/masks; empty where they lie elsewhere."""
    roles = {role_of(file.parent.name) for file in images}, {role_of(file.parent.name) for file in labels}
    of_case = {file.parent.parent: file for file in images}
    masks: dict[Path, list[Path]] = {}
    for file in labels:
        masks.setdefault(file.parent.parent, []).append(file)
    if roles != ({"images"}, {"labels"}) or len(of_case) < len(images) or not masks.keys() <= of_case.keys():
        return {}
    found: dict[str, Items] = {}
    for name, (case, image) in zip(below_common(list(of_case)), of_case.items(), strict=True):
        items = _items([image]), _items(masks.get(case, []))
        found[name.as_posix()] = items[0], _one_label_image(*items)
    return found


def _together(found: dict[str, Items]) -> Items:
    """The images and labels of several folders. What is alone in its folder has the name of the folder."""
    if len(found) == 1:
        return next(iter(found.values()))
    objects = any(label.together for _, labels in found.values() for label in labels)
    images: list[Item] = []
    labels: list[Item] = []
    for place, (some_images, some_labels) in found.items():
        alone = len(some_images) == 1 and len(some_labels) == 1
        images += [replace(one, name=place if alone else f"{place}/{one.name}") for one in some_images]
        labels += [
            replace(one, name=place if alone else f"{place}/{one.name}", together=one.together or (objects and alone))
            for one in some_labels
        ]
    return images, labels


def _items(files: Sequence[Path]) -> list[Item]:
    """Files with their names: the stem, or where these are not unique the path without what all have in common."""
    owners = [_owner(file) for file in files]
    names = [stem(owner) for owner in owners]
    if len(set(names)) < len(names):
        names = ["/".join((*path.parts[:-1], stem(path))) for path in below_common(owners)]
    found = [
        _entries(file) if shape_kind(file) else [Item(name, (file,))] for name, file in zip(names, files, strict=True)
    ]
    return [item for items in found for item in items]


def _entries(file: Path) -> list[Item]:
    """The images whose labels a file of shapes draws."""
    return [Item(name, (file,), entry=entry) for entry, name in enumerate(names_in(file))]


def _owner(file: Path) -> Path:
    """The OME-Zarr image of labels in it (IMAGE.zarr/labels/NAME); any other file itself."""
    inside = file.parent.name == "labels" and is_zarr(file.parent.parent)
    return file.parent.parent if inside else file
