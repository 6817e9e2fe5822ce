"""How far the prediction of a file is."""

from __future__ import annotations

from collections.abc import Callable

from contractile.images.series import Series

FileProgress = Callable[[str, int, int], None]


class Ticker:
    """Tells how many tiles of a file are done, from the tiles of its blocks and the blocks of its pages."""

    def __init__(self, progress: FileProgress | None, series: Series, page: int) -> None:
        self._progress, self._name = progress, series.path.name
        self._page, self._pages = page, len(series.pages)
        self._done, self._blocks = 0, 1

    def begin(self, done: int, blocks: int) -> None:
        """Say how many blocks the page has, and how many of them are done."""
        self._done, self._blocks = done, blocks
        if done:
            self.tile(0, 1)

    def block(self) -> None:
        """Say that a block is done."""
        self._done += 1

    def tile(self, done: int, tiles: int) -> None:
        """Say that `done` of the `tiles` of the present block are done."""
        if self._progress is not None:
            blocks = self._page * self._blocks + self._done
            self._progress(self._name, blocks * tiles + done, self._pages * self._blocks * tiles)
