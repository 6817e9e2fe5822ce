"""What the folder of a session says of itself: its task and classes, and where its images are."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from contractile.errors import ContractileError
from contractile.images import Source
from contractile.storage import replacing

Task = Literal["objects", "classes"]

SESSION_FILE, IMAGES_FILE = "session.json", "images.json"
AGAIN = "name the images: contractile view images"


class Remembered(NamedTuple):
    """The files of the images of a session, and the letters of their axes where they had to be given."""

    files: list[Path]
    axes: str | None = None


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
    files = dict.fromkeys(file.absolute() for source in sources for file in source.files)
    places = [_beside(file, folder.absolute()) for file in files]
    text = json.dumps({"files": places, "axes": common_axes(sources)}, indent=1) + "\n"
    path = folder / IMAGES_FILE
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def recall(folder: Path) -> Remembered:
    """What `remember` noted. Raises ContractileError where the note is missing or damaged."""
    path = folder / IMAGES_FILE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        files = [Path(os.path.normpath(folder.absolute() / place)) for place in kept["files"]]
        return Remembered(files, None if kept.get("axes") is None else str(kept["axes"]))
    except (OSError, ValueError, KeyError, TypeError):
        problem = "does not say where the images of this session are"
        raise ContractileError(problem, f"name them: contractile view IMAGES --out {folder}", where=path) from None


def common_axes(sources: Sequence[Source]) -> str | None:
    """The letters of the axes of all images, where somebody gave them."""
    found = {source.axes for source in sources}
    return found.pop() if len(found) == 1 else None


def _beside(file: Path, folder: Path) -> str:
    try:
        return os.path.relpath(file, folder)
    except ValueError:  # another drive
        return str(file)
