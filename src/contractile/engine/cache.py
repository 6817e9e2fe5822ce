"""Where compiled networks are kept between starts; the folder may be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path

LARGEST_CACHE = 2**30  # bytes


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/contractile`, made and tidied; None where nothing can be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "contractile"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        prune(folder, LARGEST_CACHE)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def prune(folder: Path, limit: int) -> None:
    """Delete the oldest files until at most `limit` bytes are left."""
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= limit:
            return
        total -= path.stat().st_size
        path.unlink()
