"""The images of a session in the learner's process, and the curves of their grey values."""

from __future__ import annotations

from contractile.images import Image, open_image
from contractile.intensity import Intensity, Normalization
from contractile.viewer.learner.messages import Begin


class Images:
    """The images of a session and their curves, opened and found once."""

    def __init__(self, begin: Begin) -> None:
        self._sources = begin.sources
        self._open: dict[int, Image] = {}
        self._curves: dict[tuple[int, str], Intensity] = {}

    def open(self, number: int) -> Image:
        if number not in self._open:
            self._open[number] = open_image(self._sources[number])
        return self._open[number]

    def close(self) -> None:
        for image in self._open.values():
            image.close()

    def curve(self, number: int, normalization: Normalization) -> Intensity:
        key = (number, normalization.model_dump_json())
        if key not in self._curves:
            self._curves[key] = normalization.fit(self.open(number))
        return self._curves[key]
