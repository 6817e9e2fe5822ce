"""What the user is told about files that are read: each kind of remark once, not once per file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

_said: set[tuple[Path, str]] = set()  # folder and remark


def say(remark: str, paths: Sequence[Path]) -> None:
    """Log `a.tif and 11 more: REMARK` as a warning, once in the life of the process for all files of a folder."""
    if not paths:
        return
    key = (paths[0].parent.absolute(), remark)
    if key in _said:
        return
    _said.add(key)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    logger.warning("%s%s: %s", paths[0].name, more, remark)
