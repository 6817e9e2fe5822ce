"""Places that must not be one: where a run is written and its data; images to train on and images to validate on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images import list_files
from contractile.images.names import some

Place = str | Path | Sequence[str | Path]


def check_apart(out: str | Path, places: Sequence[Place]) -> None:
    """Raise ContractileError where the folder `out` is one that images or labels are read from."""
    folder = os.path.realpath(out)
    for place in places:
        if folder in {os.path.dirname(file) for file in _files(place)}:
            raise ContractileError(
                f"out must be a folder of its own, got {out}, which holds images or labels", "name another folder"
            )


def check_disjoint(images: Place, validation: Place) -> None:
    """Raise ContractileError where files to train on are to validate, too: the scores would mean nothing."""
    both = sorted(_files(images) & _files(validation))
    if both:
        names = some([os.path.basename(file) for file in both])
        problem = f"validation images must be others than those to train on, got {names} in both"
        raise ContractileError(problem, "leave them out of one, or let --val-fraction (val_fraction) hold some back")


def _files(place: Place) -> set[str]:
    """The files at a place, without links; none where they cannot be listed, of which whoever reads them complains."""
    try:
        return {os.path.realpath(file) for file in list_files(place)}
    except ContractileError:
        return set()
