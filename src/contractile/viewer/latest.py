"""The newest predictions of images, as many as there is room for."""

from __future__ import annotations

from contractile.viewer.learner.messages import Shown

BYTES = 2**28  # of all predictions that are kept; one of 2048 x 2048 pixels has 25 MB


class Latest:
    """What was predicted of images, by number. Where it becomes too much, what came first goes; the newest stays.

    The page and the learner each keep one, of the same messages in the same order. What is only looked at does not
    change that order: what the learner still has, and therefore does not predict again, the page has, too.
    """

    def __init__(self, most: int = BYTES) -> None:
        """Keep at most so many bytes."""
        self._most, self._bytes = most, 0
        self._shown: dict[int, Shown] = {}  # the oldest first

    def get(self, image: int) -> Shown | None:
        """The newest prediction of an image; None where there is none, or no longer."""
        return self._shown.get(image)

    def put(self, shown: Shown) -> None:
        """Keep a prediction in place of the earlier one of its image."""
        self._drop(shown.image)
        self._shown[shown.image] = shown
        self._bytes += _bytes(shown)
        while self._bytes > self._most and len(self._shown) > 1:
            self._drop(next(iter(self._shown)))

    def clear(self) -> None:
        """Forget all."""
        self._shown.clear()
        self._bytes = 0

    def _drop(self, image: int) -> None:
        shown = self._shown.pop(image, None)
        if shown is not None:
            self._bytes -= _bytes(shown)


def _bytes(shown: Shown) -> int:
    return shown.labels.nbytes + shown.inside.nbytes + shown.certainty.nbytes
