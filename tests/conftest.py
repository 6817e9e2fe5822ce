"""What all tests share: no deadlines (machines differ), the same examples on every run, a cache of their own."""

import os
import tempfile
from pathlib import Path

from hypothesis import settings

from contractile.storage import MANIFEST

settings.register_profile("contractile", deadline=None, derandomize=True)
settings.load_profile("contractile")


def pytest_configure(config):
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name


def entries(folder: str | Path) -> list[Path]:
    """What is in a folder, hidden files included, but without the manifest that each writing leaves there."""
    return sorted(path for path in Path(folder).iterdir() if path.name != MANIFEST)
