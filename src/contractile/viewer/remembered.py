"""What the folder of a session says of itself: its task and classes, and where its images are."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from contractile.errors import ContractileError
from contractile.images import Source, stem
from contractile.storage import replacing

Task = Literal["objects", "classes"]

SESSION_FILE, IMAGES_FILE = "session.json", "images.json"
AGAIN = "name the images: contractile view images"


class Kept(NamedTuple):
    """An image of a session, or all pages of a stack: its name, its files (one for each channel, where there are
    several), and the letters of their axes where they had to be given.
    """

    name: str
    files: tuple[Path, ...]
    axes: str | None = None


class Remembered(NamedTuple):
    """The images of a session, their files, and the letters of their axes where all had to be given the same."""

    files: list[Path]
    axes: str | None = None
    images: tuple[Kept, ...] = ()


def is_session(place: str | Path) -> bool:
    """Whether a folder is that of a session."""
    return os.path.isfile(os.path.join(os.path.expanduser(place), SESSION_FILE))


def read_session(folder: Path) -> tuple[Task, dict[int, str]]:
    """The task of a session, and the names of its classes. Raises ContractileError where its file is damaged."""
    try:
        kept = json.loads((folder / SESSION_FILE).read_text(encoding="utf-8"))
        names = {int(one["value"]): str(one["name"]) for one in kept["classes"]}
        task = kept["task"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"this is no session that can be read ({type(error).__name__})"
        raise ContractileError(problem, AGAIN, where=folder / SESSION_FILE) from None
    return task, names


def remember(folder: Path, sources: Sequence[Source]) -> None:
    """Note in the folder of a session where its images are: beside it, so that both can be moved together."""
    files = {file.absolute(): None for source in sources for file in source.files}
    number = {file: place for place, file in enumerate(files)}
    images: dict[tuple[int, ...], dict[str, Any]] = {}
    for source in sources:
        own = tuple(number[file.absolute()] for file in source.files)
        images.setdefault(own, {"name": source.stem, "files": own, "axes": source.axes})
    places = [_beside(file, folder.absolute()) for file in files]
    kept = {"files": places, "axes": common_axes(sources), "images": list(images.values())}
    text = json.dumps(kept, indent=1) + "\n"
    path = folder / IMAGES_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def recall(folder: Path) -> Remembered:
    """What `remember` noted, or an earlier version, which did not note names: then each file is an image.

    Raises ContractileError where the note is missing or damaged.
    """
    path = folder / IMAGES_FILE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        files = [Path(os.path.normpath(folder.absolute() / place)) for place in kept["files"]]
        axes = _letters(kept.get("axes"))
        images = [_kept(one, files) for one in kept.get("images", ())]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        problem = "does not say where the images of this session are"
        raise ContractileError(problem, f"name them: contractile view IMAGES --out {folder}", where=path) from None
    return Remembered(files, axes, tuple(images or [Kept(stem(file), (file,), axes) for file in files]))


def common_axes(sources: Sequence[Source]) -> str | None:
    """The letters of the axes of all images, where somebody gave them."""
    found = {source.axes for source in sources}
    return found.pop() if len(found) == 1 else None


def _kept(noted: Any, files: Sequence[Path]) -> Kept:
    first, *others = noted["files"]
    return Kept(str(noted["name"]), tuple(files[number] for number in (first, *others)), _letters(noted["axes"]))


def _letters(axes: Any) -> str | None:
    return None if axes is None else str(axes)


def _beside(file: Path, folder: Path) -> str:
    try:
        return os.path.relpath(file, folder)
    except ValueError:  # another drive
        return str(file)
