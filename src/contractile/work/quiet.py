"""Dask's libraries log much that is no news to a user: workers that end, connections that close."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

NOISY = ("asyncio", "bokeh", "distributed", "tornado")
NOTHING = logging.CRITICAL + 1


@contextmanager
def quiet() -> Iterator[None]:
    """Hear nothing of Dask's libraries inside the block; what matters is raised or logged by us."""
    known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in NOISY]
    loggers = [logging.getLogger(name) for name in {*NOISY, *known}]
    former = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(NOTHING)
    try:
        yield
    finally:
        for logger, level in former:
            logger.setLevel(level)
