"""The only room that imports numba: it compiles sequential loops to machine code, cached on disk between runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

logger = logging.getLogger(__name__)


def compiled(function: Function, **options: Any) -> Function:
    """Compile `function` at its first call and cache the result on disk; it runs without the interpreter lock.

    `options` are those of `numba.njit`, such as fastmath. Where nothing can be kept on disk (a read-only installation
    without a home folder, a full disk, a cache of somebody else), each process compiles anew.
    """
    try:
        dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
    except (RuntimeError, OSError):  # numba: "cannot cache function: no locator available"
        return cast(Function, numba.njit(nogil=True, **options)(function))
    cache = getattr(dispatcher, "_cache", None)
    for name in ("load_overload", "save_overload"):
        if hasattr(cache, name):
            setattr(cache, name, _forgiving(getattr(cache, name)))
    return cast(Function, dispatcher)


def _forgiving(use: Callable[..., Any]) -> Callable[..., Any]:
    """A use of the cache that gives None where it fails: numba then compiles, or keeps the result in memory alone."""

    @wraps(use)
    def attempt(*arguments: Any) -> Any:
        try:
            return use(*arguments)
        except Exception as error:  # a damaged file may raise anything
            logger.info("compiled code is not kept: %s", error)
            return None

    return attempt
