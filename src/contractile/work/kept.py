"""Costly values that are made once in a process, and kept there for the next blocks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")

MOST = 16  # values: more than the models that work together, and few enough for a worker that lives for weeks

_kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()  # place -> the key and the value of the last one
_locks: dict[Hashable, threading.RLock] = {}
_guard = threading.Lock()


def once(key: Hashable, make: Callable[[], Value], *, place: Hashable = None) -> Value:
    """The value of this key in this process; the first call makes it, while other threads wait for it.

    The key must change where the value does: use a hash of its content, and for a file that may be replaced the name of
    one call. Where `make` raises an error, nothing is kept. Values with the same `place` take the place of one another:
    the former one is let go before the next one is made. The 16 values that were used last are kept.
    """
    place = key if place is None else place
    with _guard:
        lock = _locks.setdefault(place, threading.RLock())
    with lock:
        with _guard:
            if place in _kept and _kept[place][0] == key:
                _kept.move_to_end(place)
                found: Value = _kept[place][1]
                return found
            _kept.pop(place, None)
        value = make()
        with _guard:
            _kept[place] = key, value
            while len(_kept) > MOST:
                _locks.pop(_kept.popitem(last=False)[0], None)
    return value


def forget() -> None:
    """Drop all values that `once` keeps in this process."""
    with _guard:
        _kept.clear()
        _locks.clear()
