"""The places of a call to train: each is one, and those that must not be the same are not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError, WrongType, shown
from contractile.images import list_files
from contractile.images.names import some

Place = str | Path | Sequence[str | Path]


def check_places(images: Any, labels: Any, *, out: Any, validation: Any = None) -> None:
    """Check the places of files before they are looked at: what `training.train` takes under these names.

    Raises WrongType for what is no place; ContractileError where the folder `out` is one that images or labels are read
    from, and where files to train on are to validate, too.
    """
    if not isinstance(out, str | Path) or "\0" in str(out):
        raise WrongType(f"out must be the path of a folder, got {shown(out)}", 'give e.g. "run"')
    if not str(out):
        raise ContractileError("out must not be empty, got ''", "name a folder; . is the working folder")
    if validation is not None and (isinstance(validation, str) or not _is_pair(validation)):
        problem = f"validation must be two places, of images and of their labels, got {shown(validation)}"
        raise WrongType(problem, 'give e.g. ("more/images", "more/labels")')
    named = {"images": images, "labels": labels}
    if validation is not None:
        named |= {"validation images": validation[0], "validation labels": validation[1]}
    for name, place in named.items():
        _check_place(name, place)
    _check_apart(os.path.expanduser(out), list(named.values()))
    if validation is not None:
        _check_disjoint(images, validation[0])


def _is_pair(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 2


def _check_place(name: str, place: object) -> None:
    some_files = isinstance(place, list | tuple) and place and all(isinstance(one, str | Path) for one in place)
    if not some_files and not isinstance(place, str | Path):
        found = type(place).__name__ if hasattr(place, "shape") else shown(place)
        problem = f"{name} must be a folder, a pattern, a file or a list of files, got {found}"
        raise WrongType(problem, "write arrays into files first, e.g. with tifffile.imwrite")


def _check_apart(out: str | Path, places: Sequence[Place]) -> None:
    folder = os.path.realpath(out)
    if any(folder in {os.path.dirname(file) for file in _files(place)} for place in places):
        problem = f"out must be a folder of its own, got {out}, which holds images or labels"
        raise ContractileError(problem, "name another folder")


def _check_disjoint(images: Place, validation: Place) -> None:
    both = sorted(_files(images) & _files(validation))
    if both:
        names = some([os.path.basename(file) for file in both])
        problem = f"validation images must be others than those to train on, got {names} in both"
        raise ContractileError(problem, "name others, or none: val_fraction of the images is held out then")


def _files(place: Place) -> set[str]:
    """The files at a place, without links; none where they cannot be listed, of which whoever reads them complains."""
    try:
        return {os.path.realpath(file) for file in list_files(place)}
    except ContractileError:
        return set()
