"""What the user is told about files that are read: each kind of remark once, not once per file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

Key = tuple[Path, str]  # folder and remark


@dataclass
class _Told:
    """The files that a remark was made about, and those for which it was held back, in order."""

    named: set[Path]
    held_back: dict[Path, None] = field(default_factory=dict)


_told: dict[Key, _Told] = {}


def say(remark: str, paths: Sequence[Path]) -> None:
    """Log `a.tif and 11 more: REMARK` as a warning, once for all files of a folder.

    About files that come later it is held back until somebody calls `say_rest` for them.
    """
    if not paths:
        return
    key = (paths[0].parent.absolute(), remark)
    told = _told.get(key)
    files = [path.absolute() for path in paths]
    if told is None:
        _told[key] = _Told(set(files))
        logger.warning("%s: %s", _some(files), remark)
    else:
        told.held_back |= {file: None for file in files if file not in told.named}


def say_rest(paths: Iterable[Path]) -> None:
    """Log `b.tif and 3 more, too: REMARK` for those of these files whose remarks were held back: all have been read."""
    files = {path.absolute() for path in paths}
    for (_, remark), told in _told.items():
        held_back = [file for file in told.held_back if file in files]
        if held_back:
            logger.warning("%s, too: %s", _some(held_back), remark)
            told.named.update(held_back)
            told.held_back = {file: None for file in told.held_back if file not in files}


def _some(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0].name}{more}"
