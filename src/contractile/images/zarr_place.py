"""Where a label image lies in an OME-Zarr of others: IMAGE.zarr/labels/NAME, and the list of such names."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.images.zarr_metadata import is_zarr
from contractile.storage import amend

logger = logging.getLogger(__name__)

LABELS = "labels"  # the folder, and the name of the list in it


def place_inside(image: Path, name: str) -> Path:
    """The folder of the label image `name` inside the OME-Zarr `image`. Nothing is written.

    Raises ContractileError for a folder that is no OME-Zarr image, and for a name that no folder in it may have.
    """
    if not name or name.startswith(".") or set(name) & set("/\\:\0"):
        problem = f"name must be that of a folder, without /, \\ and :, and without a dot in front, got {name!r}"
        raise ContractileError(problem, "use letters, digits, - and _")
    from contractile.images.zarrs import image_group

    return image_group(image) / LABELS / name


def container_of(path: Path) -> Path | None:
    """The OME-Zarr image that a label image lies in; None where it stands by itself."""
    return path.parents[1] if path.parent.name == LABELS and is_zarr(path.parents[1]) else None


def version_in(container: Path) -> str:
    """The version of OME-Zarr that all in this container has: 0.4 for Zarr 2, 0.5 for Zarr 3."""
    return "0.5" if (container / "zarr.json").exists() else "0.4"


def register(path: Path) -> None:
    """Enter a label image into the list of those in its container; other entries stay.

    Inside of `Claim.together` at its end. Raises ContractileError where the list cannot be read, and as `amend`.
    """
    container = path.parents[1]
    if version_in(container) == "0.5":
        amend(path.parent / "zarr.json", _entering(path, _list_in_ome, {"zarr_format": 3, "node_type": "group"}))
    else:
        amend(path.parent / ".zgroup", lambda old: old or json.dumps({"zarr_format": 2}).encode())
        amend(path.parent / ".zattrs", _entering(path, lambda table: table, {}))
    if _is_consolidated(container):
        say = "%s: holds a copy of all its metadata, without labels/%s; zarr.consolidate_metadata renews it"
        logger.warning(say, container, path.name)


def check_list(path: Path) -> None:
    """Raise ContractileError, before any work, where `register` could not read the list that it would change."""
    old = version_in(path.parents[1]) == "0.4"
    file = path.parent / (".zattrs" if old else "zarr.json")
    if file.exists():
        _entering(path, (lambda table: table) if old else _list_in_ome, {})(file.read_bytes())


def _entering(
    path: Path, find: Callable[[dict[str, Any]], dict[str, Any]], empty: dict[str, Any]
) -> Callable[[bytes | None], bytes]:
    """A change of the metadata of a folder of labels; `find` gives the table in them that holds the list."""

    def change(old: bytes | None) -> bytes:
        try:
            table = json.loads(old) if old is not None else dict(empty)
            found = find(table)
            names = found.setdefault(LABELS, [])
            if path.name in names:
                return old or b""
            names.append(path.name)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            problem = f"the list of labels in its metadata cannot be read ({error})"
            raise ContractileError(problem, "correct it, or write beside the image", where=path.parent) from error
        return json.dumps(table, indent=2).encode()

    return change


def _list_in_ome(table: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = table.setdefault("attributes", {}).setdefault("ome", {"version": "0.5"})
    return found


def _is_consolidated(container: Path) -> bool:
    if version_in(container) == "0.4":
        return (container / ".zmetadata").exists()
    try:
        return bool(json.loads((container / "zarr.json").read_bytes()).get("consolidated_metadata"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
