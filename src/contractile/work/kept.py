"""Costly values that are made once in a process, and kept there for the next blocks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")

MOST = 16  # values: more than the models that work together, and few enough for a worker that lives for weeks

_kept: OrderedDict[Hashable, Any] = OrderedDict()
_locks: dict[Hashable, threading.RLock] = {}
_guard = threading.Lock()


def once(key: Hashable, make: Callable[[], Value]) -> Value:
    """The value of this key in this process; the first call makes it, while other threads wait for it.

    The key must change where the value does: use a hash of its content. Where `make` raises an error, nothing is kept.
    The 16 values that were used last are kept.
    """
    with _guard:
        lock = _locks.setdefault(key, threading.RLock())
    with lock:
        with _guard:
            if key in _kept:
                _kept.move_to_end(key)
                found: Value = _kept[key]
                return found
        value = make()
        with _guard:
            _kept[key] = value
            while len(_kept) > MOST:
                _locks.pop(_kept.popitem(last=False)[0], None)
    return value


def forget() -> None:
    """Drop all values that `once` keeps in this process."""
    with _guard:
        _kept.clear()
        _locks.clear()
