"""Folders that hold folders: what they hold by their names, and the files in all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images.formats import SUPPORTED
from contractile.images.names import bare, holds_images, holds_labels, some
from contractile.images.notes import say
from contractile.images.shape_files import shape_kind
from contractile.images.sources import list_files, natural
from contractile.images.zarr_metadata import is_zarr

Place = str | Path | Sequence[str | Path]
TRAIN = re.compile(r"(stage1_)?train(ing)?([_-]?(set|data))?", re.IGNORECASE)
HELD_OUT = {"ts", "test", "tests", "testing", "val", "valid", "validation"}
DEEPEST = 3  # folders within the folder that was given


def list_image_files(place: Place) -> list[Path]:
    """The files of the images at one place, as `list_files` gives them: labels may be among them (`leave_out_labels`).

    Of a folder that holds only folders they are the files in those of images, however deep (ID/images, ID/masks).
    Raises as `find` for places.
    """
    files: list[str | Path] = []
    for given in [place] if isinstance(place, str | Path) else place:
        files += _in_image_folders(given) or [given]
    return list_files(files)


def named_files(place: Place) -> set[Path]:
    """The files at a place that are given by their own names, and not by a folder or a pattern."""
    given = [place] if isinstance(place, str | Path) else place
    return {path for path in (Path(os.path.expanduser(one)) for one in given) if path.is_file() or is_zarr(path)}


def _in_image_folders(place: Place) -> list[Path]:
    folder = folder_of(place)
    if folder is None or has_files(folder):
        return []
    found = [file for file in tree(folder, DEEPEST) if holds_images(file.relative_to(folder).parts[:-1])]
    if found:
        say("taken, since they lie in folders of images; other files are not", found)
    return found


def folder_of(place: Place) -> Path | None:
    """The folder that is meant; None for files, patterns, lists and Zarr images."""
    path = Path(os.path.expanduser(place)) if isinstance(place, str | Path) else None
    return path if path is not None and os.path.isdir(path) and not is_zarr(path) else None


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in natural order, but Zarr images and hidden ones."""
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted((path for path in inside if not is_zarr(path)), key=natural)


def files_in(place: Place, *, shapes: bool = False) -> list[Path]:
    """The files at a place; where it is a folder that holds folders alone, those in all of these.

    With `shapes` files of shapes are among them.
    """
    folder = folder_of(place)
    below = [] if folder is None or has_files(folder, shapes=shapes) else tree(folder, DEEPEST, shapes=shapes)
    return below or list_files(place, shapes=shapes)


def tree(folder: Path, deep: int, *, shapes: bool = False) -> list[Path]:
    inside = list_files(folder, shapes=shapes) if has_files(folder, shapes=shapes) else []
    return inside + [file for one in folders_in(folder) if deep for file in tree(one, deep - 1, shapes=shapes)]


def has_files(folder: Path, *, shapes: bool = False) -> bool:
    """Whether a folder holds files that may be images; with `shapes` also whether it holds files of shapes."""
    if not folder.is_dir():
        return False
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if any(is_zarr(path) if path.is_dir() else path.suffix.lower() in SUPPORTED for path in shown):
        return True
    return shapes and bool(shape_files_in(folder))


def shape_files_in(folder: Path) -> list[Path]:
    """The files of shapes in a folder, in natural order."""
    found = [path for path in folder.iterdir() if not path.name.startswith(".") and shape_kind(path) is not None]
    return sorted(found, key=natural)


def below_common(paths: Sequence[Path]) -> list[Path]:
    """Each path as it is seen from the folder that holds all of them; whole where there is none (several drives)."""
    whole = [path.absolute() for path in paths]
    try:
        shared = os.path.commonpath([path.parent for path in whole])
    except ValueError:  # also where there are no paths
        return whole
    return [path.relative_to(shared) for path in whole]


def role_of(name: str) -> str:
    """What a folder of this name holds: "images", "labels", or "" where the name does not say, or says test images."""
    if HELD_OUT & set(bare(name).split("_")):
        return ""
    if holds_labels(name):
        return "labels"
    return "images" if holds_images([name]) else ""


def role_folder(folder: Path, role: str) -> Path | None:
    """The folder in `folder` that holds images, or labels. Raises ContractileError where it may be any of several."""
    found = [path for path in folders_in(folder) if role_of(path.name) == role]
    plain = [path for path in found if bare(path.name) in ("", "tr", "train")]
    found = plain if len(plain) == 1 else found
    if len(found) > 1:
        problem = f"several folders may hold the {role}: {some([path.name for path in found])}"
        raise ContractileError(problem, f"give the folder of the {role} itself", where=folder)
    return found[0] if found else None


def train_folder(folder: Path) -> Path | None:
    found = [path for path in folders_in(folder) if TRAIN.fullmatch(path.name)]
    return found[0] if len(found) == 1 else None
