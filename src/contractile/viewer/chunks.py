"""Decoded pieces of images that stay in memory, those that were used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from numpy.typing import NDArray

MOST = 2**26  # bytes


class Chunks:
    """Arrays by their keys, at most `most` bytes of them. Threads that want the same one at once wait for one read."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._bytes = most, 0
        self._held: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._coming: dict[Hashable, Future[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """What is held."""
        return self._bytes

    def get(self, key: Hashable, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array of this key, read-only, which `read` gives where it is not held. Raises what `read` raises."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            future, mine = self._coming.get(key), False
            if future is None:
                future, mine = Future(), True
                self._coming[key] = future
        if not mine:
            return future.result()
        try:
            value = read()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            future.set_exception(error)
            raise
        value.flags.writeable = False
        with self._lock:
            del self._coming[key]
            self._keep(key, value)
        future.set_result(value)
        return value

    def _keep(self, key: Hashable, value: NDArray[Any]) -> None:
        """Keep an array; those that were not used for the longest time make room."""
        if value.nbytes > self._most:
            return
        self._held[key] = value
        self._bytes += value.nbytes
        while self._bytes > self._most:
            _, gone = self._held.popitem(last=False)
            self._bytes -= gone.nbytes

    def clear(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._held.clear()
            self._bytes = 0
