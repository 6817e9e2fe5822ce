"""Images that are open, those that were used last: a session may have more of them than files can be open."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.grid import Region
from contractile.images import Image

MOST = 12  # images
BYTES = 2**30  # that open images may hold: pictures are decoded whole, strips are kept
ONE = 2**28  # bytes that one image on disk holds at most


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)  # is held while it is opened
    image: Image | None = None
    users: int = 0
    bytes: int = 0


class Shelf:
    """Open images by their keys. Several threads may use one at once; none waits until another image is opened."""

    def __init__(self, most: int = MOST, most_bytes: int = BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def use(self, key: Hashable, opener: Callable[[], Image]) -> Iterator[Image]:
        """The image of this key, opened by `opener` where it is not open. It stays open while the block runs.

        Raises ContractileError after `close`, and what `opener` raises.
        """
        with self._lock:
            if self._closed:
                raise ContractileError("the images are closed", "open the session again")
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            place.users += 1
        try:
            with place.lock:
                if place.image is None:
                    image = opener()
                    place.bytes = min(ONE, math.prod(image.shape) * image.dtype.itemsize)
                    place.image = image
            yield place.image
        finally:
            with self._lock:
                place.users -= 1
                closing = self._surplus()
            for one in closing:
                one.close()

    def close(self) -> None:
        """Close all images; those in use when their use ends."""
        with self._lock:
            self._closed = True
            closing = self._surplus()
        for one in closing:
            one.close()

    def _surplus(self) -> list[Image]:
        """Take images that nobody uses out of the shelf: the oldest of too many, and what could not be opened."""
        gone: list[Image] = []
        total, count = sum(place.bytes for place in self._places.values()), len(self._places)
        for key, place in list(self._places.items()):
            newest = key == next(reversed(self._places)) and not self._closed
            full = self._closed or count > self._most or (total > self._most_bytes and not newest)
            if place.users or not (full or place.image is None):
                continue
            del self._places[key]
            total, count = total - place.bytes, count - 1
            if place.image is not None:
                gone.append(place.image)
        return gone


def lasting(use: Callable[[], AbstractContextManager[Image]]) -> Image:
    """An image as it is in its file, which `use` gives from a shelf: it is opened again where it was closed.

    It is not closed itself. Raises what `use` raises, then and when it is sliced.
    """
    with use() as image:
        through = _Through(image, use)
        return Image(image.name, through, image.pixel_size_um, origin_um=image.origin_um, channels=image.channels)


class _Through:
    """Pixels (C, Y, X) of an image that is opened again where it was closed."""

    def __init__(self, image: Image, use: Callable[[], AbstractContextManager[Image]]) -> None:
        self.shape, self.dtype, self.unit, self._use = image.shape, image.dtype, image.unit, use

    def __getitem__(self, region: Region) -> NDArray[Any]:
        with self._use() as image:
            return image[region]
