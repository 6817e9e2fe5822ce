"""The images of a session in the learner's process, and the curves of their grey values."""

from __future__ import annotations

from functools import partial

from contractile.images import Image, open_image
from contractile.intensity import Intensity, Normalization
from contractile.viewer.learner.messages import Begin
from contractile.viewer.shelf import Shelf, lasting


class Images:
    """The images of a session and their curves. Few files are open at a time: a session may have thousands."""

    def __init__(self, begin: Begin) -> None:
        self._sources, self._shelf = begin.sources, Shelf()
        self._known: dict[int, Image] = {}  # what images are, without their pixels
        self._curves: dict[tuple[int, str], Intensity] = {}

    def open(self, number: int) -> Image:
        """An image, which is used until `close`, and not closed itself. Raises ContractileError, also when sliced."""
        if number not in self._known:
            self._known[number] = lasting(partial(self._shelf.use, number, partial(open_image, self._sources[number])))
        return self._known[number]

    def close(self) -> None:
        self._shelf.close()

    def curve(self, number: int, normalization: Normalization) -> Intensity:
        key = (number, normalization.model_dump_json())
        if key not in self._curves:
            self._curves[key] = normalization.fit(self.open(number))
        return self._curves[key]
